"""Reading the items of a source that lie as files of their own or as spans of tars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bilp.data.contents import Group, cut
from bilp.data.items import Items
from bilp.data.opening import DecodeError
from bilp.data.tar import is_tar, opened_tar, read_spans
from bilp.storage import objects


def stored_groups(uri: str, items: Items) -> Iterator[Group]:
    """The items, consecutive ones of one split, of a source below `uri`: a reader per file, and tars read from front to back.

    An item that is not there in whole, or a file that is gone, raises DecodeError when it is read. Raises StorageError if the storage
    is out of reach.
    """
    for start, stop, within in runs(items):
        part = items.slice(start, stop)
        yield from members(uri, part) if within else _files(uri, part)


def runs(items: Items) -> Iterator[tuple[int, int, bool]]:
    """Runs of items that lie in one tar, or in none: where each begins and ends, and whether it lies in a tar."""
    whole = np.array([not is_tar(path) for path in items.files], dtype=np.bool_)[items.file]
    ends = [*(np.flatnonzero(np.diff(np.where(whole, -1, items.file))) + 1).tolist(), len(items)] if len(items) else []
    for start, stop in zip([0, *ends], ends, strict=False):
        yield start, stop, not whole[start]


def _files(uri: str, items: Items) -> Iterator[Group]:
    names, told, sizes = items.paths(), items.told(), items.length.tolist()
    for start, stop in cut(sizes):
        readers: list[Callable[[], bytes]] = [partial(_whole, uri, path) for path in names[start:stop]]
        yield Group(told[start:stop], readers, [max(0, size) for size in sizes[start:stop]])


def members(uri: str, items: Items) -> Iterator[Group]:
    """The items of one tar; what is read at once are the bytes of a group."""
    told, sizes = items.told(), items.length.tolist()
    spans = list(zip(items.offset.tolist(), sizes, strict=True))
    with opened_tar(objects.join(uri, items.files[int(items.file[0])])) as file:
        for start, stop in cut(sizes):
            contents = read_spans(file, spans[start:stop])
            readers: list[Callable[[], bytes]] = [
                partial(_checked, content, size) for content, size in zip(contents, sizes[start:stop], strict=True)
            ]
            yield Group(told[start:stop], readers, sizes[start:stop])


def _whole(uri: str, path: str) -> bytes:
    return objects.read(objects.join(uri, path), expected=True)


def _checked(content: bytes, size: int) -> bytes:
    if len(content) < size:
        raise DecodeError(f"cut off: {len(content):,} of {size:,} bytes are there")
    return content
