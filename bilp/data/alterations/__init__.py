"""Changes of a train split on purpose: a long tail, wrong labels, added copies; and a person's corrections. The test split stays."""
