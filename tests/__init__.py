"""The suite. A package, so that another package of this name on the path, which some distributions ship, cannot hide it."""
