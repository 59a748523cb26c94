"""Settings of decoding, for the methods whose stored images stand for several ones."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bilp.config.base import Frozen, Positive


class DecodeConfig(Frozen):
    """Decoding: how one stored image becomes the images that networks see (multi-formation)."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"factor"})

    factor: Annotated[int, Field(ge=1, le=8)] = 1
    """Stored images are cut into factor x factor parts, each of which is enlarged to a whole image; 1 uses them as they are."""
    kind: Literal["single", "multi", "bound", "bound_idc"] = "single"
    """Parts of this factor alone, of all factors from 1 up, or of the largest factors with which a class stays within bound;
    bound_idc shares bound out as IDC's program does, which leaves some of it unused."""
    bound: Positive = 128
    """Decoded images per class: budget of the kinds bound, and most in one image step of idc and dream (a random choice beyond)."""

    def count(self, stored: int) -> int:
        """Decoded images of a class with `stored` images."""
        if self.kind == "single":
            return stored * self.factor**2
        if self.kind == "multi":
            return stored * sum(factor**2 for factor in range(1, self.factor + 1))
        return sum(number * factor**2 for factor, number in self.shares(stored))

    def shares(self, stored: int) -> list[tuple[int, int]]:
        """Kinds bound: pairs (factor, how many of a class's images it decodes), the first images with the largest factor.

        As many as leave at least one decoded image to each of the others; with more than `bound` images all have factor 1.
        IDC's program divides what is left by factor^2 (condense.py:148), although an image that is decoded is no longer one of
        those others; beyond `bound` images it decodes more than `bound`, which is not followed.
        """
        left, room, result = stored, self.bound, []
        spared = 1 if self.kind == "bound" else 0
        for factor in range(self.factor, 0, -1):
            fitting = left if factor == 1 else min(left, max(0, room - left) // (factor**2 - spared))
            left, room = left - fitting, room - fitting * factor**2
            if fitting:
                result.append((factor, fitting))
        return result
