"""Arrays that this process holds, as a source: its signature is their content, so the same data are the same source everywhere.

`ingest.uri` is arrays://DIGEST. Whoever has no more than that finds what was ingested; to ingest, the arrays must be held.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.contents import Contents, Group, Labels, SplitName
from bilp.data.items import Items
from bilp.errors import DataError

GROUP = 256
SCHEME = "arrays://"
DIGITS = 32
"""Hexadecimal digits of a digest in a URI."""


@dataclass(frozen=True)
class Side:
    """The images of a split, uint8 `[N, H, W]` gray or `[N, H, W, 3]` RGB, their labels `[N]`, and whether they were `items` of a
    data set rather than rows of an array."""

    images: NDArray[np.uint8]
    labels: Labels
    items: bool = False


@dataclass(frozen=True)
class Arrays:
    """Images and labels of one split or of both, and the names of the classes in label order."""

    class_names: tuple[str, ...]
    sides: Mapping[SplitName, Side]

    @cached_property
    def uri(self) -> str:
        """The address that stands for the content, as it was when it was asked for first."""
        return self.address()

    def address(self) -> str:
        """The address that stands for the content as it is now: these are the caller's arrays, who may write to them."""
        content = hashlib.sha256(json.dumps(self.class_names).encode())
        for split, side in self.sides.items():
            content.update(json.dumps([split, side.images.shape]).encode())
            content.update(np.ascontiguousarray(side.images).tobytes())
            content.update(np.ascontiguousarray(side.labels, dtype="<i8").tobytes())
        return SCHEME + content.hexdigest()[:DIGITS]


_held: WeakValueDictionary[str, Arrays] = WeakValueDictionary()


def hold(arrays: Arrays) -> str:
    """The URI under which a source finds the arrays, for as long as somebody holds them."""
    _held[arrays.uri] = arrays
    return arrays.uri


class HeldArrays:
    """The arrays that `config.uri` stands for."""

    def __init__(self, config: IngestConfig) -> None:
        """Nothing is looked for."""
        self.name = config.source
        self._uri = config.uri or ""

    def signature(self) -> str:
        """The digest of the content."""
        return self._uri.removeprefix(SCHEME)

    def read(self) -> Contents:
        """The arrays. Raises DataError if this process does not hold them, or something was written to them since they were given."""
        arrays = self._arrays()
        if arrays.address() != self._uri:
            raise DataError("something was written to the arrays since they were given: give them again, or a copy")
        return Contents(arrays.class_names, {split: Items.of_rows(side.labels, split) for split, side in arrays.sides.items()})

    def groups(self, items: Items) -> Iterator[Group]:
        """The rows of a split's array. Raises DataError if this process does not hold them."""
        (split,) = items.files
        side = {str(name): held for name, held in self._arrays().sides.items()}[split]
        word = "item" if side.items else "row"
        for start, stop in items.rows(GROUP):
            yield Group([f"{split} {word} {row}" for row in range(start, stop)], side.images[start:stop])

    def _arrays(self) -> Arrays:
        arrays = _held.get(self._uri)
        if arrays is None:
            call = SOURCES[self.name].from_python
            raise DataError(f"this process does not hold the arrays {self._uri}: call {call} with them, from Python alone")
        return arrays
