"""Files: their names, how they are written, and when they count as good."""
