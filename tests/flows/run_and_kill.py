"""Runs a command and kills it, as `kill -9` does, in the middle of one of its stages.

python run_and_kill.py MODULE STAGE STEP [ARGUMENT ...]: the stage is the label that the terminal shows, the step the progress that
it has reached. Before it dies it prints the processes that it started itself.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

from tasks.terminal import Line


def main(module: str, stage: str, step: int, arguments: list[str]) -> None:
    advance = Line.advance

    def until(line: Line, done: int, total: int, note: str) -> None:
        if (line.label, done) == (stage, step):
            print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        advance(line, done, total, note)

    Line.advance = until  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
