"""Dataset distillation with bi-level data pruning (BiLP): the science, free of orchestration."""
