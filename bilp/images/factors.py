"""What some sets are stored as in place of their images: tensors that many images share, from which all of them follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ingredient:
    """One tensor that an image is made of, to be shown."""

    words: str
    """What it is, such as 'memory 3, weight 0.52'."""
    values: Tensor
    """`[C, h, w]` of an image, `[T, C, h, w]` of a clip: no pixels, with whatever range they have."""


def nothing(factors: Mapping[str, Tensor], number: int) -> Sequence[Ingredient]:
    """No ingredients that a page could show."""
    return ()


def one(factors: Mapping[str, Tensor]) -> int:
    """Every image has ingredients of its own."""
    return 1


@dataclass(frozen=True)
class Factors:
    """Of one method."""

    names: tuple[str, ...]
    """The tensors."""
    rendered: Callable[[Mapping[str, Tensor], Sequence[int]], Tensor]
    """The images `[M, C, H, W]`, normalized, that they make, for an image of shape (C, H, W) or a clip of (T, C, H, W)."""
    fit: Callable[[Mapping[str, Tensor], Sequence[int]], bool]
    """Whether images of a shape `[M, C, H, W]` are what they make."""
    ingredients: Callable[[Mapping[str, Tensor], int], Sequence[Ingredient]] = nothing
    """What image number m is made of, what matters most first."""
    together: Callable[[Mapping[str, Tensor]], int] = one
    """How many images, one after the other, are made of the same ingredients."""
    heading: str = ""
    """What a page calls the ingredients of an image."""
    meaning: str = ""
    """What a page says of them, in sentences."""
