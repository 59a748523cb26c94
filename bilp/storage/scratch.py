"""A folder for what is built before it is published, on the disk of temporary files."""

from __future__ import annotations

import errno
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
