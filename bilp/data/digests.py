"""Digests of millions of images as bytes, where their texts would take twice the memory, and a list of these four times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SIZE = 32
"""Bytes of a sha256."""
CHUNK = 65_536
"""Digests of which texts are made at once."""
_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class Digests(Sequence[str]):
    """sha256 digests as a sequence of texts of 64 hexadecimal digits; `values` are their bytes, uint8 [n, 32]."""

    def __init__(self, values: NDArray[np.uint8]) -> None:
        """`values` [n, 32]."""
        self.values = values

    @classmethod
    def of(cls, texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> Digests:
        """Those of texts; raises pa.ArrowInvalid if one has another length."""
        if isinstance(texts, Digests):
            return texts
        column = texts if isinstance(texts, (pa.Array, pa.ChunkedArray)) else pa.array(texts, pa.string())
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        pieces = [chunk.slice(start, CHUNK) for chunk in chunks for start in range(0, len(chunk), CHUNK)]
        values = np.empty((len(column), SIZE), dtype=np.uint8)
        filled = 0
        for piece in pieces:
            values[filled : filled + len(piece)] = _bytes(piece)
            filled += len(piece)
        return cls(values)

    @classmethod
    def joined(cls, parts: Iterable[Digests]) -> Digests:
        """Those of all parts, one after another."""
        return cls(np.concatenate([np.empty((0, SIZE), dtype=np.uint8), *(part.values for part in parts)]))

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Digests: ...
    def __getitem__(self, index: int | slice) -> str | Digests:
        return Digests(self.values[index]) if isinstance(index, slice) else self.values[index].tobytes().hex()

    def __iter__(self) -> Iterator[str]:
        return (row.tobytes().hex() for row in self.values)

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.ChunkedArray:  # as Arrow calls it
        texts = [_texts(self.values[start : start + CHUNK]) for start in range(0, len(self), CHUNK)]
        return pa.chunked_array(texts, pa.string())

    def take(self, rows: NDArray[np.int64]) -> Digests:
        """Those of these rows [n]."""
        return Digests(self.values[rows])

    def numbered(self) -> NDArray[np.int64]:
        """A number for each, `[n]`: the same for equal ones, from 0 in the order in which they are first met."""
        first = np.ascontiguousarray(self.values[:, :8]).view(np.uint64)[:, 0]
        order = np.argsort(first, kind="stable")
        alike = np.flatnonzero(first[order[1:]] == first[order[:-1]])  # nearly all of them are equal in the other bytes as well
        same = np.zeros(len(order), dtype=np.bool_)
        same[alike + 1] = (self.values[order[alike + 1]] == self.values[order[alike]]).all(axis=1)
        if not same[alike + 1].all():  # then equal ones need not be neighbors
            order = np.lexsort(self.values.T[::-1])
            same[1:] = (self.values[order[1:]] == self.values[order[:-1]]).all(axis=1)
        begins = np.flatnonzero(~same)
        met = np.minimum.reduceat(order, begins) if len(begins) else begins
        rank = np.empty(len(begins), dtype=np.int64)
        rank[np.argsort(met)] = np.arange(len(begins))
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = rank[np.cumsum(~same) - 1]
        return numbers


def _bytes(texts: pa.StringArray) -> NDArray[np.uint8]:
    """The bytes [n, 32] of digits."""
    fixed = texts.cast(pa.binary()).cast(pa.binary(2 * SIZE))
    digits = np.frombuffer(fixed.buffers()[1], dtype=np.uint8)[fixed.offset * 2 * SIZE :][: len(fixed) * 2 * SIZE]
    halves = (digits & 15) + 9 * (digits >> 6)  # 0 to 9 are 0x30 to 0x39, a to f are 0x61 to 0x66
    return (halves[0::2] << 4 | halves[1::2]).astype(np.uint8, copy=False).reshape(-1, SIZE)


def _texts(values: NDArray[np.uint8]) -> pa.StringArray:
    """The digits of bytes [n, 32]."""
    digits = np.empty((len(values), SIZE, 2), dtype=np.uint8)
    digits[..., 0], digits[..., 1] = _DIGITS[values >> 4], _DIGITS[values & 15]
    offsets = np.arange(len(values) + 1, dtype=np.int32) * (2 * SIZE)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(digits))
