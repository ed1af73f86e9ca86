"""Image sets of any size: planned in chunks, worked on here or on a Ray cluster, gone on with after any stop."""
