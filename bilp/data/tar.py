"""Tar files read from front to back: an index of their members, also of tars within a tar, and the members' bytes, unpacking nothing.

Plain and gzip-compressed files are told apart by their first bytes, whatever their names say. Read are names of any length (ustar,
GNU, pax) and sizes of any kind. Directories are passed over; links, devices, sparse files and names that lead out of the archive are
reported and passed over; of a file that is cut off or damaged, the members before the damage are yielded and the rest is reported.
Offsets are those in the uncompressed file: reading a compressed one from the middle on decompresses what comes before.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from bilp.storage.ranges import AHEAD, opened
from bilp.text.escaping import shown

BLOCK = 512
LONGEST_NAME = 2**16
"""Bytes of what describes a member; a longer description is damage."""
LARGEST_CONTENT = 2**24
"""Bytes of a member that is read along with the index."""
LARGEST_MEMBER = 2**40
"""Bytes of a member; a larger size is damage, and no position that every file system can be asked for."""
SUFFIXES = (".tar", ".tar.gz", ".tgz")

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_KINDS = {tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link", tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device"}
_UNREADABLE = (EOFError, gzip.BadGzipFile, zlib.error)  # what gzip says of damaged data


class Member(NamedTuple):
    """A file in a tar: its name, where its bytes begin in the (uncompressed) file, how many they are, and those bytes if asked for.

    The name of a file within an inner tar is that of the inner tar, a slash, and its own.
    """

    name: str
    offset: int
    size: int
    content: bytes | None = None


class Problem(NamedTuple):
    """What cannot be read of a tar: the member, or '' for the rest of the file, why, and how many bytes are lost with it: 0 if what
    follows is there, those to the end of an inner tar, None if nobody knows where the end was."""

    name: str
    reason: str
    lost: int | None = 0


def is_tar(path: str) -> bool:
    """Whether a path ends as those of tar files do."""
    return path.lower().endswith(SUFFIXES)


@contextmanager
def opened_tar(uri: str) -> Iterator[BinaryIO]:
    """The uncompressed bytes of a tar. Raises MissingArtifact if nothing lies there, StorageError if it is out of reach."""
    with opened(uri, ahead=AHEAD) as file:
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_compressed(file) else file


def is_compressed(file: BinaryIO) -> bool:
    """Whether a file is compressed by gzip, by its first bytes; it is at its beginning afterwards."""
    begins = file.read(2)
    file.seek(0)
    return begins == b"\x1f\x8b"


ContentOf = Callable[[str], bool]
"""Whether, by its name, the bytes of a member are wanted along with the index."""


def no_content(name: str) -> bool:
    """Of no member."""
    return False


class TarIndex:
    """The members of one tar, in the order of the file; `problems` grows while they are iterated over."""

    def __init__(self, file: BinaryIO, nested: bool = False, content_of: ContentOf = no_content, within: Member | None = None) -> None:
        """An index of what `opened_tar` gives.

        With `nested`, members that are named as tars are looked into. `content_of` says, by name, of which members the bytes are
        wanted along with the index; of one that is larger than LARGEST_CONTENT they are not given. `within` is an inner tar that is
        there as a whole, if the index is of that alone.
        """
        self._file = file
        self._nested = nested
        self._content_of = content_of
        self._within = within
        self.problems: list[Problem] = []
        self.cut = False
        """Whether what follows in the file is lost, however much that is."""

    def __iter__(self) -> Iterator[Member]:
        if self._within is None:
            yield from self._walk(0, None, "")
        else:
            name, start, size, _ = self._within
            yield from self._walk(start, start + size, f"{name}/")

    def _walk(self, position: int, stop: int | None, inside: str) -> Generator[Member, None, bool]:
        """The members from a byte on, and whether the last one was cut off; `stop` is where an inner tar ends, `inside` its name with a
        slash."""
        described: dict[str, str] = {}
        while True:
            block = self._bytes(position, BLOCK if stop is None else min(BLOCK, stop - position))
            if not block or not block.strip(b"\0"):
                if len(block) < BLOCK:
                    self._lose(inside, "ends without the mark of its end, so that it may be cut off", position, stop)
                return False
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                self._lose(inside, f"damaged or cut off at byte {position:,} ({error}): what follows is lost", position, stop)
                return False
            data = position + BLOCK
            size = _size(described.get("size", ""), header.size)
            if not 0 <= size <= LARGEST_MEMBER:
                kind = "negative" if size < 0 else "senseless"
                self._lose(inside, f"damaged at byte {position:,} (a {kind} size): what follows is lost", position, stop)
                return False
            position = data + -(-size // BLOCK) * BLOCK
            if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                described |= self._description(header.type, data, size, inside)
                continue
            name, described, sparse = described.get("path", header.name), {}, any(key.startswith("GNU.sparse") for key in described)
            if header.type == tarfile.XGLTYPE or header.isdir():
                continue
            if reason := _refusal(name, header, sparse):
                self._report(inside + name, reason)
                continue
            if (yield from self._member(inside + name.removeprefix("./"), data, size, stop)):
                self.cut = self.cut or stop is None
                return True

    def _member(self, name: str, data: int, size: int, stop: int | None) -> Generator[Member, None, bool]:
        """A member, or those of an inner tar; whether nothing follows because it is cut off."""
        if self._nested and is_tar(name):
            cut = yield from self._walk(data, data + size if stop is None else min(stop, data + size), f"{name}/")
            return cut and self._there(data, size) < size
        content = self._bytes(data, size) if size <= LARGEST_CONTENT and self._content_of(name) else None
        there = self._there(data, size) if content is None else len(content)
        there = there if stop is None else min(there, max(0, stop - data))
        if there < size:
            self._lose(name, f"cut off: {there:,} of {size:,} bytes are there", data, stop)
            return True
        yield Member(name, data, size, content)
        return False

    def _description(self, kind: bytes, data: int, size: int, inside: str) -> dict[str, str]:
        """What a member that describes the next one says of it: its path, its size."""
        content = self._bytes(data, min(size, LONGEST_NAME))
        if len(content) < size:
            self._report(inside, f"damaged or cut off at byte {data:,} (a description of {size:,} bytes)")
            return {}
        if kind == tarfile.GNUTYPE_LONGNAME:
            return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
        return {} if kind == tarfile.GNUTYPE_LONGLINK else _pax(content)

    def _bytes(self, start: int, size: int) -> bytes:
        try:
            self._file.seek(start)
            return self._file.read(size) if size > 0 and self._file.tell() == start else b""
        except _UNREADABLE:
            return b""

    def _there(self, start: int, size: int) -> int:
        """How many of so many bytes are there."""
        if size == 0 or len(self._bytes(start + size - 1, 1)) == 1:
            return size
        try:
            self._file.seek(0, 2)
            return max(0, min(size, self._file.tell() - start))
        except (*_UNREADABLE, ValueError):  # gzip does not know where its end is
            return 0

    def _report(self, name: str, reason: str) -> None:
        self.problems.append(Problem(name.removesuffix("/"), reason))

    def _lose(self, name: str, reason: str, position: int, stop: int | None) -> None:
        """Report what is lost from a byte on: to the end of an inner tar, or of the file, of which nobody knows where it was."""
        self.cut = self.cut or stop is None
        self.problems.append(Problem(name.removesuffix("/"), reason, None if stop is None else stop - position))


def read_spans(file: BinaryIO, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of each span (offset, length), in this order, of what `opened_tar` gives; fewer where the file is cut off.

    A span that comes several times in a row is read once: to go back in a compressed file is to begin it anew.
    """
    last, content = (-1, -1), b""
    for span in spans:
        if span != last:
            last, content = span, _span(file, *span)
        yield content


def _span(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        file.seek(offset)
        return file.read(length) if file.tell() == offset else b""
    except _UNREADABLE:
        return b""


def _refusal(name: str, header: tarfile.TarInfo, sparse: bool) -> str | None:
    """Why a member is not read, or None."""
    if header.type not in _FILES or sparse:
        return f"{'a sparse file' if sparse else _KINDS.get(header.type, f'a member of type {header.type!r}')}, not a plain file"
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return f"its name leads out of the archive ({shown(name)})"
    return None


def _size(described: str, of_header: int) -> int:
    """The size of a member: the one that an extended header describes, if it is a number, else that of the header itself."""
    if not described.isdecimal():
        return of_header
    return int(described) if len(described) <= len(str(LARGEST_MEMBER)) else LARGEST_MEMBER + 1


def _pax(content: bytes) -> dict[str, str]:
    """The keys and values of an extended header; a record that does not fit its own length ends them."""
    found: dict[str, str] = {}
    while content:
        length, space, _ = content.partition(b" ")
        if not space or not length.isdigit() or len(length) > len(str(LONGEST_NAME)) or not len(length) + 1 < int(length) <= len(content):
            break
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return found
