"""Work on a storage as a whole."""
