"""The atlas: tables of scores with where they come from, in a folder or bucket that others use by its URI."""
