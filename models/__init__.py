"""Networks for small pictures, by name."""
