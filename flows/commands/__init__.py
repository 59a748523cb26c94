"""The commands of the program `bilp`: their table, and those that are no stage."""
