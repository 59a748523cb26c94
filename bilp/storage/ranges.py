"""Reading parts of large files where they lie: the file itself on a disk, ranges of an object on S3, of one version throughout."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from bilp.errors import StorageError
from bilp.storage import objects
from bilp.storage.uris import parse

AHEAD = 8 << 20
"""Bytes that are asked for at once by whoever reads from front to back."""


def is_remote(uri: str) -> bool:
    """Whether a URI leads to object storage, where each read is a request."""
    return parse(uri)[0] != "file"


@contextmanager
def opened(uri: str, ahead: int = 0) -> Iterator[BinaryIO]:
    """A file that can be read and positioned. Raises MissingArtifact if none lies there; reading raises StorageError as `objects.read`.

    On S3 every read is a request for as many bytes, or for `ahead` bytes if these are more, of which later reads are served first.
    """
    if is_remote(uri):
        yield cast(BinaryIO, RangedFile(uri, ahead))
        return
    with objects.localize(uri).open("rb") as file:
        yield file


class RangedFile(io.RawIOBase):
    """One version of a file as it was when this was made, read by ranges."""

    def __init__(self, uri: str, ahead: int = 0) -> None:
        """Looks which version lies there; raises MissingArtifact if none does."""
        super().__init__()
        self._uri = uri
        self._stamp, self.size = objects.version(uri)
        self._ahead = ahead
        self._position = 0
        self._start, self._held = 0, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The next byte that is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, without a request."""
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence])
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes, all that are left for -1; fewer only at the end."""
        stop = self.size if size is None or size < 0 else min(self.size, self._position + size)
        start = self._position
        if start >= stop:
            return b""
        if not (self._start <= start and stop <= self._start + len(self._held)):
            self._fill(start, stop)
        self._position = stop
        return self._held[start - self._start : stop - self._start]

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """As `read`, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _fill(self, start: int, stop: int) -> None:
        """Hold the bytes from `start` on; what is held of them already is not asked for again."""
        kept = self._held[start - self._start :] if self._start <= start < self._start + len(self._held) else b""
        first, last = start + len(kept), min(self.size, max(stop, start + self._ahead))
        found = objects.span(self._uri, first, last, self._stamp)
        if len(found) != last - first:
            raise StorageError(f"cannot read {self._uri}: {len(found)} of {last - first} bytes arrived: try again")
        self._start, self._held = start, kept + found
