"""Errors that nobody expected: one line for whoever ran the program, the traceback in a file for whoever looks into it.

Only the standard library is needed here, so that this works while everything else is still being imported.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bilp.text.escaping import shown, unwrapped
from bilp.text.redaction import redacted

MOST = 300  # characters of a message that fit into a line
PACKAGES = ("bilp", "prefect", "torch", "torchvision", "numpy", "pyarrow", "pydantic", "fsspec", "s3fs")

_WHILE = "while doing: "
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES: tuple[tuple[Callable[[BaseException], bool], str], ...] = (
    (lambda error: isinstance(error, OSError) and error.errno in _FULL, "free some space on that disk, or on the one of TMPDIR"),
    (lambda error: isinstance(error, MemoryError), "give it more memory, or make what it works on smaller"),
    (
        lambda error: isinstance(error, ModuleNotFoundError),
        "activate the environment that it is installed in (source .venv/bin/activate after make), or install it with pip",
    ),
)
"""What helps against errors of a kind, whatever was being done."""


def while_doing(error: BaseException, what: str) -> None:
    """Note on the error what was being done when it was raised; the first note, which is nearest to the cause, counts."""
    error.add_note(f"{_WHILE}{what}")


def told(error: BaseException, doing: str) -> str:
    """One line: what was being done (as noted on the error, else `doing`), what happened, what may help, and where the traceback is."""
    notes = [note.removeprefix(_WHILE) for note in getattr(error, "__notes__", ()) if note.startswith(_WHILE)]
    what = notes[0] if notes else doing
    remedies = [remedy for fits, remedy in _REMEDIES if fits(error)]
    file = keep(error, what)
    where = f"the traceback is in {file}" if file else "no folder could be written for the traceback: set TMPDIR to one with free space"
    return redacted("; ".join([f"{what}: {one_line(error)}", *remedies, where]), os.environ)


def one_line(error: BaseException) -> str:
    """Type and message as one line."""
    message = shown(unwrapped(error))
    return f"{type(error).__name__}: {message[:MOST]}{'...' if len(message) > MOST else ''}" if message else type(error).__name__


def keep(error: BaseException, doing: str) -> Path | None:
    """Write traceback, command line and versions into a new file that only this user may read; None if no folder can be written.

    Tried are .bilp below the working directory if it is there, the folder for temporary files, the working directory and the
    home directory. Values of environment variables that look like secrets are left out.
    """
    facts = [
        f"command: {shlex.join(sys.orig_argv)}",
        f"doing: {doing}",
        f"versions: {', '.join(f'{name} {version}' for name, version in versions().items())}",
        f"platform: {platform.platform()}",
    ]
    text = "\n".join([*facts, "", "".join(traceback.format_exception(error))])
    content = redacted(text, os.environ).encode("utf-8", "backslashreplace")
    for folder in _folders():
        with suppress(OSError, RuntimeError):  # not writable, full, or no such folder is known
            return _new_file(folder(), content)
    return None


def _new_file(folder: str, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="bilp-error-", suffix=".txt", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)


def _folders() -> tuple[Callable[[], str], ...]:
    return (lambda: str(Path(".bilp").resolve(strict=True)), tempfile.gettempdir, lambda: str(Path.cwd()), lambda: str(Path.home()))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found
