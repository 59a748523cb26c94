"""scikit-learn's handwritten digits: 1,797 gray pictures of 8 x 8, shipped with the package, no test split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.data.contents import Contents, Group, Labels
from bilp.data.items import Items
from bilp.errors import ConfigError

GROUP = 256


class Digits:
    """The digits, values 0..16 mapped to uint8 as round(value * 255 / 16)."""

    def __init__(self, config: IngestConfig) -> None:
        """`config` names the digits; there is nothing to choose."""
        self.name = config.source

    def signature(self) -> str:
        """Digest of the pixels and labels, so that it does not depend on scikit-learn's version."""
        images, labels = self._arrays
        return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()

    def read(self) -> Contents:
        """All pictures as one split, in scikit-learn's order; classes '0' to '9'."""
        return Contents(tuple(str(digit) for digit in range(10)), {"train": Items.of_rows(self._arrays[1], "digits")})

    def groups(self, items: Items) -> Iterator[Group]:
        """The pixels of these digits."""
        for start, stop in items.rows(GROUP):
            yield Group([f"digits/{row:04d}" for row in range(start, stop)], self._arrays[0][start:stop])

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.uint8], Labels]:
        package = find_spec("sklearn")  # its file is read without importing it: that alone takes longer than all the rest
        if package is None or package.origin is None:
            raise ConfigError(
                "data set digits lies in the package scikit-learn, which is not installed: python -m pip install 'scikit-learn>=1.6'"
            )
        table = np.loadtxt(Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz", delimiter=",", dtype=np.int64)
        pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
        return pixels, table[:, -1]
