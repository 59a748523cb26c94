"""Triton's kernels run on the CPU where there is no GPU; Triton reads this when it is imported, so before any test of this room."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
