"""A process that decodes clips, seen from the one that asks: it may die or hang, and is replaced.

FFmpeg reads hundreds of formats that anybody may damage in any way. What kills a process that does nothing but decode costs one
clip. A clip that ended two processes, or took two of them too long, counts as one that cannot be decoded; one that did so once
may have met a machine short of memory, or busy.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import Any

import numpy as np

from bilp.data.clips.conversion import Clip, ClipConversion
from bilp.data.clips.messages import Silence, receive, send
from bilp.data.opening import DecodeError
from bilp.errors import DataError

SECONDS = 60.0
"""A clip may take as long."""
STARTING = 300.0
"""So may a process that starts, on a machine that is busy."""
CLIPS = 2000
"""A process is replaced after as many: decoders leak."""
ATTEMPTS = 2

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bilp.data.clips.child import main; main()"


class Decoder:
    """One process, started when it is first asked, and a new one in its place when it ended."""

    def __init__(self, conversion: ClipConversion, seconds: float = SECONDS, clips: int = CLIPS) -> None:
        """Every clip may take `seconds`, and every process decode as many `clips`."""
        self._conversion, self._seconds, self._clips = conversion, seconds, clips
        self._process: subprocess.Popen[bytes] | None = None
        self._decoded = 0
        self._stopped = False

    def decode(self, data: bytes, draw: int) -> Clip:
        """The clip in `data`. Raises DecodeError, DataError if there is not enough memory."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._asked(data, draw)
            except _Lost:
                continue
        try:
            return self._asked(data, draw)
        except _Lost as lost:
            raise DecodeError(str(lost)) from lost

    def stop(self) -> None:
        """End the process at once, also while another thread waits for its answer; no other is started."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, and leave nothing of it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            _wait(process)

    def _asked(self, data: bytes, draw: int) -> Clip:
        """What the process answers; raises _Lost if it ends instead, or is ended as it takes too long."""
        if self._process is not None and self._decoded >= self._clips:
            self.close()
        if self._process is None:
            self._start()
        fields, content = self._exchange({"draw": draw}, data, self._seconds)
        self._decoded += 1
        if "memory" in fields:
            raise DataError("not enough memory to decode a clip: free some, or set ingest.max_pixels lower")
        if "error" in fields:
            raise DecodeError(fields["error"])
        return Clip(np.frombuffer(content, dtype=np.uint8).reshape(fields["shape"]), fields["short"])

    def _start(self) -> None:
        """A process that is ready; what it imports takes time that is no clip's."""
        if self._stopped:
            raise _Lost("stopped")
        command = [sys.executable, "-c", PROGRAM, json.dumps(sys.path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._decoded = 0
        self._exchange({"conversion": self._conversion.as_json(), "seconds": self._seconds}, b"", STARTING)

    def _exchange(self, question: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """What the process answers within so many seconds."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        overdue: list[bool] = []
        timer = Timer(seconds, _end, (process, overdue))
        timer.daemon = True
        timer.start()
        try:
            send(process.stdin, question, data)
            return receive(process.stdout)
        except (Silence, OSError) as error:
            code = self._buried()
            raise _Lost(f"decoding took more than {seconds:g} s" if overdue else f"the decoder crashed ({_ended(code)})") from error
        finally:
            timer.cancel()

    def _buried(self) -> int:
        """The exit code of the process, which is none any more."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()  # if it closed its end and lives
        return _wait(process)


class _Lost(Exception):
    """The process ended without an answer."""


def _end(process: subprocess.Popen[bytes], overdue: list[bool]) -> None:
    overdue.append(True)
    process.kill()


def _wait(process: subprocess.Popen[bytes]) -> int:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was never sent
                stream.close()
    return process.wait()


def _ended(code: int) -> str:
    """How a process ended, from its exit code."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
