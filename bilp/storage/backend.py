"""Kinds of storage behind `bilp.storage.objects`: each module here has the functions of `Store`, over paths without a scheme."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol


class Version(NamedTuple):
    """Which content lies at a path: a text that changes whenever it does, and its bytes."""

    stamp: str
    size: int


class Written(NamedTuple):
    """A file as a listing tells of it: its bytes, and when it was written or touched last, in seconds by the storage's own clock."""

    size: int
    at: float


class Known(NamedTuple):
    """A file of which it is known what it must be."""

    uri: str
    sha256: str
    size: int


class Oversized(Exception):
    """A file has more bytes than whoever reads it takes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size:,} bytes")
        self.size = size


def bounded(size: int, most: int | None) -> None:
    """Raise Oversized for more bytes than are taken."""
    if most is not None and size > most:
        raise Oversized(size)


RETRY_SECONDS = 90.0  # seconds that a service may be away: it takes up to a minute to come back


class Store(Protocol):
    """What a kind of storage can do. Anything it raises is put into words by `bilp.storage.objects` with the help of `remedy`."""

    def read(self, path: str, most: int | None = None) -> bytes:
        """The whole content, never a mixture of two versions; FileNotFoundError if nothing lies at the path.

        Raises Oversized, before anything is read, for more than `most` bytes.
        """

    def span(self, path: str, start: int, stop: int, stamp: str) -> bytes:
        """Bytes `start` to `stop` of a file of this version (its stamp), fewer where it ends; FileNotFoundError if none lies at the path.

        Raises OSError if the file has been replaced by another version since.
        """

    def size(self, path: str) -> int:
        """Bytes of a file; FileNotFoundError if none lies at the path."""

    def sizes(self, path: str, names: Iterable[str]) -> dict[str, int]:
        """Bytes of those of the files called `names`, with slashes where they lie deeper, below the path that are there."""

    def objects(self, path: str) -> dict[str, Version]:
        """Every file below the path by its name, with slashes where it lies deeper; in S3 the rest of any key, however odd."""

    def listing(self, path: str) -> dict[str, Written]:
        """As `objects`, with the time of each file; hidden temporary files are among them."""

    def written_at(self, path: str) -> float:
        """When a file was written or touched last; FileNotFoundError if none lies at the path."""

    def touch(self, path: str) -> None:
        """Let a file count as written now, its content unchanged; FileNotFoundError if none lies at the path."""

    def exists(self, path: str) -> bool:
        """Whether a file, or anything below this path, is there."""

    def write(self, path: str, data: bytes) -> None:
        """Replace the content at once: a reader sees the old or the new whole content."""

    def upload(self, path: str, source: Path) -> None:
        """As `write`, for a file that need not fit into memory, and that nobody changes afterwards: it may be kept itself."""

    def create(self, path: str, data: bytes) -> bool:
        """Write unless something lies there, decided by the storage itself in one step; False if something did."""

    def create_from(self, path: str, source: Path) -> bool:
        """As `create`, from a file that nobody changes afterwards: it may be kept itself."""

    def can_create(self, size: int) -> bool:
        """Whether one conditional write takes so many bytes."""

    def digest(self, path: str) -> str:
        """The sha256 of a file, in hexadecimal digits; FileNotFoundError if none lies at the path."""

    def names(self, path: str) -> list[str]:
        """Names directly below, in any order; none if nothing lies there."""

    def delete(self, path: str) -> None:
        """Remove a file or everything below the path; no error if nothing lies there."""

    def tidy(self, path: str) -> None:
        """Remove the folder, and those around it, as far as nothing lies in them; what has no folders does nothing."""

    def copy(self, path: str, target: str) -> None:
        """Put the content of one path at another, which is replaced at once, without moving it through this machine where that goes."""

    def create_copy(self, path: str, target: str) -> bool:
        """As `copy`, unless something lies at the target, decided in one step; False if something did. Where `can_copy` says so."""

    def can_copy(self) -> bool:
        """Whether a copy can be made on the condition that nothing lies at the target."""

    def download(self, path: str, target: Path, expected: Version | None = None, at_once: bool = False, size: int | None = None) -> None:
        """Copy to a local file. Without an expected version, only a caller that knows the checksum may assume that it is of one.

        With `at_once` no parts are fetched beside each other: slower, and right also where something on the way knows no parts.
        `size` is how many bytes there should be, if that is known.
        """

    def version(self, path: str) -> Version:
        """What lies there now; FileNotFoundError if no file does."""

    def reconnect(self) -> bool:
        """Let the next request take a new connection; False if there is none, and asking again tells nothing else."""

    def missing(self, error: Exception) -> bool:
        """Whether the error says that nothing lies at the path, rather than that the storage itself is out of reach."""

    def refused(self, error: Exception) -> bool:
        """Whether an error of writing says that this user may not write there: another attempt meets it again."""

    def retry_seconds(self, error: Exception) -> float:
        """Seconds for which another attempt at what failed so makes sense; 0.0 if it would fail again, or nobody knows."""

    def misconfigured(self, error: Exception) -> bool:
        """Whether the error comes from credentials, rights or the address: no attempt will ever succeed."""

    def remedy(self, error: Exception) -> str:
        """What the user can do about an error that one of the functions above raised."""
