"""The definition of the causal effect, and the paper's first-order form: what the estimators in use are compared with."""
