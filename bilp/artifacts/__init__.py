"""Artifacts: results that are published once, found by their key, checked when they are read."""
