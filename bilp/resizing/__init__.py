"""Resizing: a smaller synthetic set out of a finished one, without distilling again (YOCO, He et al. 2023)."""
