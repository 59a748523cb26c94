"""Arrays in .npz files, read where they lie and without pickles: shape and type of each are checked before any of its bytes count.

An .npz is a zip of .npy files, each a header and the bytes of an array. Of an array of rows a few are read without the others if it
lies uncompressed; a compressed one is read from its beginning.
"""

from __future__ import annotations

import errno
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bilp.errors import DataError
from bilp.storage.ranges import opened
from bilp.text.escaping import shown

AHEAD = 2**20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Stored:
    """An array in the file: its name, shape and type."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def members(uri: str) -> list[zipfile.ZipInfo]:
    """What the directory of the zip says that it holds; nothing of it is read. Raises DataError for no zip."""
    with _zip(uri) as archive:
        return archive.infolist()


def stored_arrays(uri: str) -> dict[str, Stored]:
    """What a file holds, by name. Raises DataError for no .npz, an array of Python objects or one that claims more than is there."""
    with _zip(uri) as archive:
        found = {}
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with archive.open(entry) as file:
                array = _header(file, name, uri)
                held = entry.file_size - file.tell()
            if min(array.shape, default=0) < 0 or math.prod(array.shape) * array.dtype.itemsize != held:
                raise DataError(f"{shown(uri)}: array {name!r} claims shape {array.shape} and holds {held:,} bytes: fetch the file again")
            found[name] = array
        return found


def read_array(uri: str, name: str) -> NDArray[np.generic]:
    """A whole array. Raises DataError as `stored_arrays`."""
    array = stored_arrays(uri)[name]
    if 0 in array.shape:
        return np.empty(array.shape, array.dtype)
    return next(read_rows(uri, name, 0, array.shape[0] if array.shape else 1, max(1, array.shape[0] if array.shape else 1)))


def read_rows(uri: str, name: str, start: int, stop: int, most: int) -> Iterator[NDArray[np.generic]]:
    """Rows `start` to `stop` of an array in pieces of at most `most`. Raises DataError for damage or an array of Python objects."""
    with _zip(uri) as archive, archive.open(f"{name}.npy") as file:
        array = _header(file, name, uri)
        row = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
        file.seek(start * row, 1)
        for first in range(start, stop, most):
            count = min(most, stop - first)
            data = file.read(count * row)
            if len(data) < count * row:
                raise DataError(f"{shown(uri)}: array {name!r} is cut off: fetch the file again")
            yield np.frombuffer(data, array.dtype).reshape(count, *array.shape[1:]) if array.shape else np.frombuffer(data, array.dtype)


@contextmanager
def _zip(uri: str) -> Iterator[zipfile.ZipFile]:
    """The file; whatever the library raises about damage becomes a DataError."""
    try:
        with opened(uri, ahead=AHEAD) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a disk that fails, where damage asks for a place before the file
            raise
        problem = f"is no readable .npz: {str(error) or type(error).__name__}"
        raise DataError(f"{shown(uri)}: {problem}: fetch it again, or write it with numpy.savez") from error


def _header(file: IO[bytes], name: str, uri: str) -> Stored:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"array {name!r} has the format {version}")
    try:
        shape, columns_first, dtype = read(file)
    except Exception as error:  # the library answers damage with ValueError, TypeError, tokenize.TokenError, ...
        raise ValueError(f"array {name!r} has a damaged header ({error})") from error
    if dtype.hasobject:
        raise DataError(f"{shown(uri)}: array {name!r} holds Python objects (a pickle), which are never read: store numbers")
    if columns_first and len(shape) > 1:
        raise DataError(f"{shown(uri)}: array {name!r} is stored by columns: write it again from numpy.ascontiguousarray")
    return Stored(name, tuple(shape), dtype)
