"""Data that grow: which version of a source came before, what came in since, and what is suspicious among it."""
