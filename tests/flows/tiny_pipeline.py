"""A pipeline on digits that takes seconds, and ways to look at what a run of it left behind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.config.nested import leaves
from flows.units import execute
from flows.units.table import UNITS
from flows.units.unit import Call
from tasks import terminal

REPOSITORY = Path(__file__).resolve().parent.parent.parent

NARROW = {"width": 8}
TINY: dict[str, Any] = {
    "dataset": "digits",
    "score": {"trials": 2, "epochs": 1, "init_epochs": 1, "network": NARROW},
    "reselect": {"candidates_per_class": 12},
    "distill": {"iterations": 8, "rounds": 4, "batch_real": 16, "network": NARROW},
    "evaluate": {"seeds": 2, "epochs": 4, "full_epochs": 1, "networks": [NARROW]},
}


@dataclass(frozen=True)
class Finished:
    """A pipeline run: its storage root, the URI of its report, and what each stage said at its end."""

    root: str
    report: str
    outcomes: dict[str, str]

    @property
    def again(self) -> dict[str, str]:
        """The outcomes of another run: everything is there, and a run that went through its rounds is not gone through again."""
        return {label: "there already" for label in self.outcomes if " round " not in label}


def options(values: dict[str, Any]) -> list[str]:
    """The values as they are typed on a command line."""
    return [f"--{path}={value if isinstance(value, str) else json.dumps(value)}" for path, value in leaves(values)]


@contextmanager
def outcomes() -> Iterator[dict[str, str]]:
    """What the terminal is told of each task that ends inside the block: label and outcome."""
    with pytest.MonkeyPatch.context() as patch, endings() as found:
        patch.setattr(terminal, "_display", terminal.Display(Console(file=io.StringIO())))
        yield found


@contextmanager
def endings() -> Iterator[dict[str, str]]:
    """The same, where a program opens the display itself."""
    found: dict[str, str] = {}
    end = terminal.Line.end

    def recorded(line: terminal.Line, outcome: str, result: str = "") -> None:
        found[line.label] = outcome
        end(line, outcome, result)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal.Line, "end", recorded)
        yield found


def units_backwards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on what goes to workers is carried out here, each batch in reverse order; the labels, as they are carried out."""
    carried: list[str] = []

    def backwards(what: str, calls: Sequence[Call]) -> list[str]:
        for call in reversed(calls):
            carried.append(call.label)
            UNITS[call.unit.name](**call.parameters)
        return [call.artifact for call in calls]

    monkeypatch.setenv("BILP_EXECUTION", "workers")
    monkeypatch.setitem(execute.EXECUTORS, "workers", backwards)
    return carried


def files(root: str) -> dict[str, tuple[int, bytes]]:
    """When every file below a local root was written, and its content, by its path.

    The time of a manifest and of a run's record is that of its last use.
    """
    paths = [path for path in sorted(Path(root).rglob("*")) if path.is_file()]
    written = {path: 0 if path.name in (MANIFEST, RECORD) else path.stat().st_mtime_ns for path in paths}
    return {str(path.relative_to(root)): (written[path], path.read_bytes()) for path in paths}


def synthetic_sets(root: str | Path) -> dict[str, bytes]:
    """Every synthetic set below a local root, by the key of its run."""
    return {path.parent.parent.name: path.read_bytes() for path in Path(root).glob("runs/*/synthetic/synthetic.safetensors")}
