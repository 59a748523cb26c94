"""Settings of other changes on purpose: a long tail that is cut into the training images, and copies that are added to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bilp.config.base import Fraction, Frozen, Positive, Seed


class LongTailConfig(Frozen):
    """Training images that are left out so that classes have fewer and fewer: class c of C keeps n * imbalance^(-c / (C - 1)) of its n
    (Cui et al. 2019)."""

    imbalance: Annotated[float, Field(ge=1.0)] = 1.0
    """How many times fewer images the last class keeps than the first, where both had as many; 1 leaves all."""
    seed: Seed = 0
    """Seed of which are left out; a larger imbalance leaves out what a smaller one does, and more."""


class DuplicatesAddedConfig(Frozen):
    """Training images that are added again, with the label that they have."""

    share: Fraction = 0.0
    """Share of the training images that copies are made of."""
    times: Positive = 1
    """How many copies are made of each."""
    jitter: Annotated[int, Field(ge=0, le=255)] = 2
    """Most levels, of 255, by which a pixel of a copy differs; 0 makes equal images."""
    seed: Seed = 0
    """Seed of which images are copied, and of the differences."""
