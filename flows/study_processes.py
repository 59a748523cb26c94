"""python -m flows.study_processes

Further processes that compute blocks of a study beside the one that was asked for it. What they compute is read from standard input; the
command is not typed by people.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from tasks import output, terminal

STOPS_WITHIN = 20.0
"""Seconds after which a process that was asked to end is killed; what it has published stays."""


@contextmanager
def beside(processes: int, asked: Mapping[str, Any]) -> Iterator[None]:
    """In the block so many processes in all work on a study, this one included, with an equal part of its threads each.

    They are waited for at the end of the block, and stopped if it ends by an exception. What one of them cannot do, this one does.

    Args:
        processes: How many.
        asked: Arguments of `flows.study.study_beside`, as JSON has them.
    """
    if processes < 2:
        yield
        return
    threads = torch.get_num_threads()
    share = max(1, threads // processes)
    environment = os.environ | {"OMP_NUM_THREADS": str(share)}
    with tempfile.TemporaryDirectory(prefix="bilp-study-") as folder:
        logs = [Path(folder, str(number)) for number in range(1, processes)]
        started = [_started(asked, log, environment) for log in logs]
        torch.set_num_threads(share)
        try:
            yield
            for process, log in zip(started, logs, strict=True):
                if process.wait():
                    said = log.read_text(errors="replace").strip().splitlines()
                    terminal.say(f"a further process ended early ({said[-1] if said else f'exit status {process.returncode}'})")
        finally:
            torch.set_num_threads(threads)
            for process in started:
                _ended(process)


def _started(asked: Mapping[str, Any], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.study_processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # it ended at once, which its exit status tells
        pipe.write(json.dumps(asked).encode())
    return process


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Compute blocks of the study on standard input until none is left."""
    output.settle()
    asked = json.load(sys.stdin)
    from flows.study import study_beside

    study_beside(**asked)


if __name__ == "__main__":
    main()
