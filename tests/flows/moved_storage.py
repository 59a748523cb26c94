"""Ways to move a storage, and one that takes nothing new."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bilp.storage import local, objects


def copy(source: str, target: str) -> None:
    """Every file below one root to the same place below another, as tools that know nothing of us do, on any kind of storage."""
    for name in tree(source):
        objects.write(objects.join(target, name), objects.read(objects.join(source, name)))


def tree(root: str, below: str = "") -> Iterator[str]:
    """The names of all files below a root."""
    for child in objects.children(objects.join(root, below) if below else root):
        name = f"{below}/{child}" if below else child
        deeper = list(tree(root, name))
        yield from deeper or [name]


@contextmanager
def read_only(root: str) -> Iterator[list[str]]:
    """The local store refuses to change anything below a root, as a file system that is mounted read-only; the attempts."""
    attempts: list[str] = []

    def refuse(path: str, *_: object) -> None:
        if Path(path).is_relative_to(root):
            attempts.append(path)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write", "upload", "create", "delete"):
            patch.setattr(local, name, _guarded(refuse, getattr(local, name)))
        yield attempts


def _guarded(refuse, function):  # type: ignore[no-untyped-def]
    def guarded(path: str, *rest: object) -> object:
        refuse(path)
        return function(path, *rest)

    return guarded
