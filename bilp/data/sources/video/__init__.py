"""Sets of clips: where their files lie, and which class and split each has."""
