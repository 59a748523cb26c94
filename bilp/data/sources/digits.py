"""scikit-learn's handwritten digits: 1,797 grey pictures of 8 x 8, shipped with the package, no test split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import Contents, Group, Labels, SplitName

GROUP = 256


class Digits:
    """The digits, values 0..16 mapped to uint8 as round(value * 255 / 16)."""

    name = "digits"

    def signature(self) -> str:
        """Digest of the pixels and labels, so that it does not depend on scikit-learn's version."""
        images, labels = self._arrays
        return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()

    def read(self) -> Contents:
        """All pictures as one split, in scikit-learn's order; classes '0' to '9'."""
        return Contents(tuple(str(digit) for digit in range(10)), {"train": self._arrays[1]}, self._groups)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.uint8], Labels]:
        from sklearn.datasets import load_digits  # slow to import, and only needed here

        images, labels = load_digits(return_X_y=True)
        pixels = np.rint(images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
        return pixels, labels.astype(np.int64)

    def _groups(self, split: SplitName) -> Iterator[Group]:
        images, _ = self._arrays
        for start in range(0, len(images), GROUP):
            part = images[start : start + GROUP]
            yield Group([f"digits/{start + i:04d}" for i in range(len(part))], part)
