"""Networks for small pictures and for tables, by name."""
