"""Norm, ReLU and pooling computed at once on a GPU: what `gpu=fused` makes of a network."""

from __future__ import annotations

from bilp.nets.fused.body import FusedBody, fuse
from bilp.nets.fused.needed import require_triton

__all__ = ["FusedBody", "fuse", "require_triton"]
