"""The output streams of a program: what an encoding lacks is replaced, and a reader who has gone is no error."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

REPLACING = "bilp-replacing"

_PLAIN = {"±": "+-", "×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "’": "'", "│": "|", "─": "-", "━": "-", "•": "*", "→": "->"}


def settle() -> None:
    """Have the standard streams take every text; streams that were closed before the program began lead nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # it flushes, and nobody may read
                stream.reconfigure(errors=REPLACING)


@contextmanager
def readers_may_go() -> Iterator[None]:
    """Inside the block, the program ends quietly and with status 0 when whoever reads its standard output has gone, as `head` does."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        sys.exit(0)


def as_printed(text: str) -> str:
    """The text with what the standard output's encoding lacks replaced already, where its width matters."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, REPLACING).decode(encoding)


def discard(stream: IO[str]) -> None:
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


codecs.register_error(REPLACING, _replaced)
