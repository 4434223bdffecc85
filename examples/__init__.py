"""Programs to start from; a package, so that another of this name that is installed does not take its place."""
