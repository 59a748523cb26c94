"""A folder for what is built before it is published, on the disk of temporary files."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bilp.errors import StorageError

_UNFIT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
REMEDY = "set TMPDIR to a folder with free space where this user may write"


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A new folder below $TMPDIR that is gone after the block.

    Raises StorageError, naming TMPDIR, if there is none, and if what the block writes finds no room.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise StorageError(f"no folder for temporary files can be written ({error.strerror or error}): {REMEDY}") from error
    with folder as name:
        try:
            yield Path(name)
        except OSError as error:
            if error.errno not in _UNFIT or (error.filename is not None and name not in str(error.filename)):
                raise
            raise StorageError(f"cannot write temporary files in {tempfile.gettempdir()} ({error.strerror or error}): {REMEDY}") from error


def require_room(folder: Path, need: int, what: str) -> None:
    """Raise StorageError, naming TMPDIR, if a folder for temporary files has less than `need` bytes left for what is called `what`."""
    free = shutil.disk_usage(folder).free
    if need > free:
        raise StorageError(f"{what} takes {amount(need)} for a while, and {amount(free)} are free in {folder.parent}: {REMEDY}")


def amount(size: int) -> str:
    """Bytes in the larger of two units that fits them."""
    return f"{size / 1e9:,.1f} GB" if size >= 10**9 else f"{size / 1e6:,.1f} MB"
