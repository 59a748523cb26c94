"""Suspects: training samples whose label is probably wrong, ranked for a person who decides."""
