"""What some sets are stored as in place of their images: tensors that many images share, from which all of them follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Factors:
    """Of one method."""

    names: tuple[str, ...]
    """The tensors."""
    rendered: Callable[[Mapping[str, Tensor], Sequence[int]], Tensor]
    """The images `[M, C, H, W]`, normalized, that they make, for an image of shape (C, H, W) or a clip of (T, C, H, W)."""
    fit: Callable[[Mapping[str, Tensor], Sequence[int]], bool]
    """Whether images of a shape `[M, C, H, W]` are what they make."""
