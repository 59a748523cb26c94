"""The output streams of a program: what an encoding lacks is replaced, and a reader who has gone is no error."""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

REPLACING = "bilp-replacing"

_PLAIN = {"±": "+-", "×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "’": "'", "│": "|", "─": "-", "━": "-", "•": "*", "→": "->"}


def settle() -> None:
    """Have the standard streams take every text; streams that were closed before the program began lead nowhere."""
    codecs.register_error(REPLACING, _replaced)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # it flushes, and nobody may read
                stream.reconfigure(errors=REPLACING)


def discard(stream: TextIO) -> None:
    """From now on the stream leads nowhere, the flush at the end of the process included."""
    with suppress(OSError, ValueError):  # a stream in memory has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """For characters that an encoding lacks: plain ones that mean the same, bytes of a file name as they are, else an escape."""
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    escaped = character.encode("ascii", "backslashreplace").decode("ascii")
    return _PLAIN.get(character, escaped), error.start + 1
