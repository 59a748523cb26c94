"""How much of the data is enough: the smallest share of it that teaches as well as all of it, for each criterion."""
