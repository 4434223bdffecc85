"""From a grid of cells to finished runs, and from finished runs back to cells."""
