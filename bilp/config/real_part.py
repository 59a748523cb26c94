"""Settings of the real part of a synthetic set: real training images that stay as they are beside the distilled ones."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, ClassVar

from pydantic import Field

from bilp.config.base import Frozen


class RealPartConfig(Frozen):
    """Some images of each class may be real ones, which count as the others do but are never moved (SelMatch, Lee & Chung 2024)."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"share", "window"})

    share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each class's synthetic images that are real ones as they are, rounded up: 1 - alpha of SelMatch; 0 for none."""
    window: Annotated[float, Field(ge=0.0)] | None = None
    """Take the images that a class starts from, its real part first, from a window of its ranking by prune.criterion, hardest first: from
    here on, as a multiple of ipc (beta of SelMatch). Empty takes them as init says."""

    @property
    def active(self) -> bool:
        """Whether anything differs from a set without a real part that starts as init says."""
        return self.share > 0 or self.window is not None

    def real(self, ipc: int) -> int:
        """Real images of a class of `ipc` images; the share is the number that was written down."""
        return math.ceil(Fraction(repr(self.share)) * ipc)

    def first(self, ipc: int) -> int:
        """Place in a class's ranking, from 0, at which the window begins. Raises ValueError without one."""
        if self.window is None:
            raise ValueError("there is no window")
        return math.floor(Fraction(repr(self.window)) * ipc)
