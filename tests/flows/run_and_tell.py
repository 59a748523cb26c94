"""Runs a command and writes down how each of its tasks ended.

python run_and_tell.py MODULE FILE [ARGUMENT ...]: FILE gets an object in JSON, of outcomes by the labels that the terminal shows.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from tasks.terminal import Line


def main(module: str, file: str, arguments: list[str]) -> None:
    found: dict[str, str] = {}
    end = Line.end

    def recorded(line: Line, outcome: str, result: str = "") -> None:
        found[line.label] = outcome
        end(line, outcome, result)

    Line.end = recorded  # type: ignore[method-assign]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
