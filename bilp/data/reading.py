"""Read one picture of a source, and tell a file that cannot be read from a storage that is out of reach."""

from __future__ import annotations

import errno
from collections.abc import Callable

from bilp.data.opening import DecodeError
from bilp.errors import MissingArtifact, StorageError

# What the operating system answers about a file, whatever becomes of the others.
_OF_THE_FILE = {
    errno.ENOENT: "nothing lies there",
    errno.ENOTDIR: "nothing lies there",
    errno.EISDIR: "is a directory",
    errno.EACCES: "may not be read by this user",
    errno.EPERM: "may not be read by this user",
    errno.ELOOP: "is a link that leads to itself",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENXIO: "is no regular file",
}


def read_picture(read: Callable[[], bytes]) -> bytes:
    """What `read` returns. Raises DecodeError with the reason if this file is missing or cannot be read.

    Whatever else `read` raises passes on: a storage that does not answer, or refuses its credentials, would refuse all
    pictures, and a data set of those that came through must not be taken for the whole.
    """
    try:
        return read()
    except (StorageError, OSError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise DecodeError(reason) from error


def _reason(error: StorageError | OSError) -> str | None:
    """What is wrong with the file alone, or None if it need not be the file."""
    if isinstance(error, MissingArtifact):
        return "is missing: nothing lies there, or it is a link to nothing"
    found = error if isinstance(error, OSError) else error.__cause__
    # Only the operating system's own errors name a file; clients of object storage raise OSErrors without one.
    if not isinstance(found, OSError) or found.filename is None or found.errno is None:
        return None
    return _OF_THE_FILE.get(found.errno)
