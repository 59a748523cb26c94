"""Both levels of pruning with every method: what is expected of the study that comes with the program, and what came out."""
