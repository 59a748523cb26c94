"""A process that decodes clips: one message in for each, one out, until nobody asks any more (`bilp.data.clips.decoder`).

Libraries may write to standard output; so answers go to a copy of it, and what else is written there goes where errors do.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import IO

from bilp.data.clips.conversion import ClipConversion, convert_clip
from bilp.data.clips.messages import Silence, receive, send
from bilp.data.opening import DecodeError

SPARE = 10
"""Seconds after which a process ends itself that should have been ended: whoever asked may be gone."""


def main() -> None:
    """Answer the messages on standard input."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    try:
        fields, _ = receive(questions)
        conversion, seconds = ClipConversion.from_json(fields["conversion"]), fields["seconds"]
        with suppress(ImportError):  # the frames of bundles need no PyAV
            import_module("bilp.data.clips.container")
        send(answers, {})
        while True:
            fields, data = receive(questions)
            signal.alarm(int(seconds) + SPARE)
            _answer(answers, data, conversion, fields["draw"])
            signal.alarm(0)
    except (Silence, BrokenPipeError):
        return


def _answer(answers: IO[bytes], data: bytes, conversion: ClipConversion, draw: int) -> None:
    """Send the pixels of a clip, or why there are none."""
    try:
        clip = convert_clip(data, conversion, draw)
    except DecodeError as error:
        send(answers, {"error": str(error)})
    except MemoryError:
        send(answers, {"memory": True})
    else:
        send(answers, {"shape": clip.pixels.shape, "short": clip.short}, clip.pixels.tobytes())
