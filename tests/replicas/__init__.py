"""Small copies of public data sets, generated in every layout in which people have them, with the damage that the real ones have."""
