"""Scripts that measure; a package, so that others of this name that are installed do not take its place."""
