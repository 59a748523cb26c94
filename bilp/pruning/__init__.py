"""Pruning: static cuts by score once (`static`, `stage`), adaptive trims by causal effect while distilling (`adaptive`)."""
