"""Units of work that any worker can carry out."""
