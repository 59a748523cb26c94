"""Arrays in a checkpoint of Flax, read as msgpack, without JAX and without building what is not asked for.

The form is that of flax.serialization (`msgpack_serialize`, `_ndarray_to_bytes`, `_MsgpackExtType`, `_chunk`), read in Flax of 2022,
from which 0.6.1 is: a state is maps in each other with text as keys, and lists and tuples became maps of "0", "1" and so on, so that
no array of msgpack's own occurs. An array of numbers is the extension type 1, whose content is msgpack again: shape, name of the type
("float32") and bytes, row by row. Type 2 is a complex number of Python, type 3 a scalar of NumPy in the form of an array. An array of
more than 2^30 bytes is a map of `__msgpack_chunked_array__`, of its shape and of flat pieces, the latter two maps of "0", "1", ....

A file can claim any length and nest as it likes. What is not asked for is passed over without objects being made of it; what is must
be an array, or at most MOST_MAPS maps, and all lengths are compared with the bytes that are there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.errors import ConfigError, DataError
from bilp.storage import objects
from bilp.storage.ranges import AHEAD, opened
from bilp.text.escaping import shortened

Array = NDArray[np.generic]

ARRAY = 1
"""Extension type of an array."""
CHUNKED = "__msgpack_chunked_array__"
TYPES = ("float16", "float32", "float64")
"""Of arrays that are read."""
HEAD = 6
"""Bytes by which a checkpoint is known: a map of some entries, the first of which has text as its key."""
_HEAD = re.compile(rb"(?:[\x81-\x8f]|\xde..|\xdf....)[\xa1-\xbf\xd9-\xdb]", re.DOTALL)
MOST_ENTRIES = 1000
"""Of a map: those of a state have some ten."""
MOST_MAPS = 8
"""In place of the arrays of one file: a chunked array has three."""
MOST_NAME = 256
MOST_DIMENSIONS = 8


def is_flax(head: bytes) -> bool:
    """Whether the first HEAD bytes of a file may be those of a checkpoint."""
    return _HEAD.match(head) is not None


def read_arrays(file: str, branch: str, names: Collection[str]) -> dict[str, Array]:
    """The arrays of these names in a branch of the state that a checkpoint holds, those of them that are there.

    Raises ConfigError without the package that reads msgpack, and DataError for a file that is cut off, is no such checkpoint, or has
    something else than arrays of floats in these places.
    """
    if find_spec("msgpack") is None:
        raise ConfigError("checkpoints of Flax are read by msgpack, which is not installed: pip install 'bilp[flax]'")
    import msgpack

    size, maps = objects.size(file), count(1)

    def array(code: int, data: bytes) -> Array:
        return _array(code, data, file)

    def limited(entries: dict[Any, Any]) -> dict[Any, Any]:
        if next(maps) > MOST_MAPS:
            raise DataError(f"{file} holds maps in each other where an array should be: give a checkpoint that FRePo's program wrote")
        return entries

    try:
        with opened(file, ahead=AHEAD) as content:
            unpacker = msgpack.Unpacker(
                content,
                max_buffer_size=size,
                max_ext_len=size,
                max_map_len=MOST_ENTRIES,
                max_str_len=MOST_NAME,
                max_array_len=0,
                max_bin_len=0,
                ext_hook=array,
                object_hook=limited,
            )
            found = _found(unpacker, branch, names)
            rest = size - unpacker.tell()
    except msgpack.OutOfData as error:
        raise _unreadable(file, "it is cut off") from error
    except (msgpack.UnpackException, ValueError) as error:  # the latter for lengths beyond the limits and text that is none
        raise _unreadable(file, str(error) or type(error).__name__) from error
    if rest:
        raise _unreadable(file, f"it ends {rest:,} bytes before the file")
    return {name: _whole(value, name, file) for name, value in found.items()}


def _found(unpacker: Any, branch: str, names: Collection[str]) -> dict[str, Any]:
    """What lies in the branch under the names; everything else is passed over."""
    found = {}
    for place in _names(unpacker):
        if place != branch:
            unpacker.skip()
            continue
        for name in _names(unpacker):
            if name in names:
                found[name] = unpacker.unpack()
            else:
                unpacker.skip()
    return found


def _names(unpacker: Any) -> Iterator[str]:
    """The keys of a map that comes next, each of which has to be followed by reading its value."""
    entries = unpacker.read_map_header()
    if entries > MOST_ENTRIES:
        raise ValueError(f"a map of {entries:,} entries, at most {MOST_ENTRIES:,} are read")
    for _ in range(entries):
        name = unpacker.unpack()
        if not isinstance(name, str):
            raise ValueError(f"a key that is a {type(name).__name__}")
        yield name


def _array(code: int, data: bytes, file: str) -> Array:
    """The array in the content of an extension, over its bytes; as Flax packs one. Raises DataError, or what msgpack raises."""
    import msgpack

    if code != ARRAY:
        raise DataError(f"{file} holds an extension of type {code} where an array should be (type {ARRAY}): fetch it again")
    # What lies in each other is limited by the number of dimensions on each level, and by msgpack's own depth.
    limits = {"max_array_len": MOST_DIMENSIONS, "max_map_len": 0, "max_str_len": MOST_NAME, "max_ext_len": 0}
    parts = msgpack.unpackb(data, max_bin_len=len(data), **limits)
    if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[0], list) and isinstance(parts[2], bytes)):
        raise DataError(f"{file} holds an array that is not its shape, type and bytes: fetch it again")
    shape, kind, content = parts
    if kind not in TYPES:
        raise DataError(f"{file} holds an array of {shortened(str(kind), 40)}: expected {', '.join(TYPES[:-1])} or {TYPES[-1]}")
    return _shaped(np.frombuffer(content, kind), shape, file)  # a ValueError for bytes that are no whole numbers


def _shaped(flat: Array, shape: list[Any], file: str) -> Array:
    """The numbers in the shape that is claimed for them, if there are as many."""
    if not all(type(side) is int and side >= 0 for side in shape) or prod(shape) != len(flat):
        raise DataError(f"{file} claims an array of shape {shortened(str(shape), 80)} and holds {len(flat):,} numbers: fetch it again")
    return flat.reshape(shape)


def _whole(value: Any, name: str, file: str) -> Array:
    """The array that a value is, or that its pieces make up."""
    if isinstance(value, np.ndarray):
        return value
    parts: Any = value if isinstance(value, Mapping) and CHUNKED in value else {}
    shape, pieces = _listed(parts.get("shape")), _listed(parts.get("chunks"))
    if not pieces or shape is None or not all(isinstance(piece, np.ndarray) and piece.ndim == 1 for piece in pieces):
        raise DataError(f"{file} holds a {type(value).__name__} as {name}, which is no array: give a checkpoint that FRePo's program wrote")
    if len({piece.dtype for piece in pieces}) > 1:
        raise DataError(f"{file} holds {name} in pieces of several types: fetch it again")
    return _shaped(np.concatenate(pieces), shape, file)


def _listed(value: Any) -> list[Any] | None:
    """The values of a map of "0", "1" and so on in order; None for anything else."""
    if not isinstance(value, Mapping) or set(value) != {str(number) for number in range(len(value))}:
        return None
    return [value[str(number)] for number in range(len(value))]


def _unreadable(file: str, reason: str) -> DataError:
    return DataError(f"{file} cannot be read as a checkpoint of Flax ({shortened(reason, 200)}): fetch it again")
