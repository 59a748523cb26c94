"""python -m benchmarks.gpu.records gpu-results/gpu.json

Prints what `benchmarks.gpu` found as a section for `benchmarks/records.md`: what should be reached and whether it is, then a table
for each part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.targets import Found, judged


def section(found: Found) -> Iterator[str]:
    """Lines of Markdown."""
    machine = found.get("environment", {})
    seconds = sum(value for name, value in found.items() if name.endswith(" seconds"))
    yield f"## One GPU: {machine.get('device', 'unknown device')} (torch {machine.get('torch', 'unknown')})"
    yield ""
    yield f"`python -m benchmarks.gpu`, {seconds:.0f} s in all; medians of 2 to 10 repetitions, n = 1 run."
    yield ""
    reached = [[target.what, "not measured" if value is None else target.words(value)] for target, value in judged(found)]
    yield from table(["what", "found, wanted: reached"], reached)
    for name, part in found.items():
        if isinstance(part, dict):
            yield ""
            yield from of_part(name, part)


def of_part(name: str, part: dict[str, Any]) -> Iterator[str]:
    """The table of a part: a row for each of its rows, a column for each of their figures; its error if it failed."""
    yield f"### {name}"
    yield ""
    if isinstance(part.get("error"), str):
        yield f"failed: `{part['error'].strip().splitlines()[-1]}`"
        return
    rows = {"": part} if not all(isinstance(row, dict) for row in part.values()) else part
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    yield from table(["", *columns], [[row_name, *(figure(row.get(column)) for column in columns)] for row_name, row in rows.items()])


def figure(value: Any) -> str:
    """Three digits of a number; other values on one line; empty for what is not there."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(str(value).replace("|", "/").split())


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main(arguments: list[str]) -> int:
    """The exit status: 2 unless one readable file was named."""
    if len(arguments) != 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        found = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"benchmarks.gpu.records: error: {arguments[0]}: {error}", file=sys.stderr)
        return 2
    print("\n".join(section(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
