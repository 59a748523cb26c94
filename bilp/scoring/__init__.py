"""Static scoring: short training trials that record what networks make of the samples, and the criteria computed from that."""
