"""From cells to evidence: attacks on every cell, intervals, comparisons, transfer, exposure, and their tables."""
