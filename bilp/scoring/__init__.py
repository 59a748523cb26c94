"""Static scoring: short training trials that record every sample's loss, and the criteria computed from the records."""
