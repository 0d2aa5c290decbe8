"""The suite. A package, since a library of the test extra ships a top-level package of this name, which would hide ours."""
