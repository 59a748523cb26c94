"""Studies: a grid of settings, several arms and paired seeds, as a file; what was computed of it, and the page with its tables."""
