"""The indexes of several tars, in object storage several at a time: there each is read from front to back, request after request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from bilp.data.tar import ContentOf, Member, Problem, TarIndex, is_compressed, is_tar, no_content, opened_tar
from bilp.storage import objects
from bilp.storage.ranges import is_remote, opened

AT_ONCE = 8
"""Tars that are read at the same time, and so many more of which the index waits to be used."""
HEADERS = 1 << 16
"""Bytes that are asked for at once by whoever goes from one inner tar to the next."""


@dataclass(frozen=True)
class Indexed:
    """What `TarIndex` finds in a tar: its members, what cannot be read of it, and whether what follows in the file is lost."""

    members: list[Member]
    problems: list[Problem]
    cut: bool


def indexes(root: str, paths: Sequence[str], nested: bool = False, content_of: ContentOf = no_content) -> Iterator[Indexed]:
    """The index of each tar below `root`, in their order; `nested` and `content_of` as for `TarIndex`.

    Raises MissingArtifact if one is not there, StorageError if it is out of reach.
    """

    def index(path: str) -> Indexed:
        return _index(objects.join(root, path), nested, content_of)

    if not is_remote(root):
        yield from map(index, paths)
    elif nested and len(paths) == 1:
        yield _of_inner_tars(objects.join(root, paths[0]), content_of) or index(paths[0])
    else:
        yield from _side_by_side([lambda path=path: index(path) for path in paths])  # type: ignore[misc]


def _index(uri: str, nested: bool, content_of: ContentOf) -> Indexed:
    with opened_tar(uri) as file:
        found = TarIndex(file, nested, content_of)
        return Indexed(list(found), found.problems, found.cut)


def _of_inner_tars(uri: str, content_of: ContentOf) -> Indexed | None:
    """The same of a tar of tars, whose inner ones are read at the same time; None if it is compressed, or anything is amiss with it."""
    with opened(uri, ahead=HEADERS) as file:
        if is_compressed(file):
            return None
        outer = TarIndex(file, content_of=content_of)
        found = list(outer)
    if outer.problems:
        return None

    def inside(member: Member) -> Indexed:
        with opened_tar(uri) as file:
            inner = TarIndex(file, nested=True, content_of=content_of, within=member)
            return Indexed(list(inner), inner.problems, inner.cut)

    parts = list(_side_by_side([_inside_or_itself(member, inside) for member in found]))
    return Indexed([each for part in parts for each in part.members], [each for part in parts for each in part.problems], False)


def _inside_or_itself(member: Member, inside: Callable[[Member], Indexed]) -> Callable[[], Indexed]:
    return lambda: inside(member) if is_tar(member.name) else Indexed([member], [], False)


def _side_by_side(works: Sequence[Callable[[], Indexed]]) -> Iterator[Indexed]:
    """What each gives, in their order; as far ahead of whoever uses it as AT_ONCE."""
    waiting: deque[Future[Indexed]] = deque()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for work in works:
                waiting.append(pool.submit(work))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
