"""The questions to a GPU, rehearsed on the CPU: every part still fits the program, and all of them into eight minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import methods, records
from benchmarks.gpu.__main__ import PARTS, Part, main, run
from benchmarks.gpu.device import Machine, any_algorithm, rows
from benchmarks.gpu.targets import judged
from bilp.config.arithmetics import ARITHMETICS
from bilp.config.real_passes import REAL_PASSES
from bilp.nets.arithmetic import arithmetic

AIMED = ("steps", "experiments", "scoring")
"""Parts that have targets, and are rehearsed together."""


def in_earnest() -> Machine:
    """A machine that has to keep to the time, on the CPU."""
    machine = Machine(rehearsal=True)
    machine.rehearsal = False
    return machine


@pytest.mark.slow
@pytest.mark.parametrize("part", [part for part in PARTS if part not in AIMED])
def test_every_part_runs(part: str, tmp_path: Path) -> None:
    assert main(["--rehearse", "--parts", part, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert set(found) == {part, f"{part} seconds"}
    assert found[part]


def test_all_parts_together_take_less_than_eight_minutes_and_none_begins_a_row_beyond_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(part.seconds for part in PARTS.values()) <= 8 * 60 - 15, "what is left is for the start of Python"
    seen: list[str] = []

    def slow(machine: Machine) -> dict[str, Any]:
        assert machine.left <= 5
        return rows(machine, ("first", "late"), lambda name: row(machine, name))

    def row(machine: Machine, name: str) -> dict[str, Any]:
        seen.append(name)
        machine.until -= 5  # as if it took so long
        return {"ms": 1.0}

    monkeypatch.setitem(PARTS, "slow", Part(slow, 5))
    monkeypatch.setitem(PARTS, "next", Part(lambda machine: {"ms": 2.0}, 0))
    assert run(["slow", "next"], in_earnest(), tmp_path) == 1, "there was no time for all of it"
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["slow"] == {"first": {"ms": 1.0}, "late": {"left out": "no time"}}
    assert "next" not in found
    assert seen == ["first"]


def test_steps_are_timed_in_every_arithmetic_and_every_way_of_a_method() -> None:
    names = list(methods.compared(in_earnest()))
    cases, arithmetics, ways = (set(parts) for parts in zip(*(name.split(", ") for name in names), strict=True))
    assert cases == set(methods.TIMED)
    assert arithmetics < set(ARITHMETICS.choosable()), "nothing that is hidden"
    assert ways == set(REAL_PASSES)
    assert len(names) == len(set(names))


def test_what_is_compared_with_deterministic_algorithms_is_what_pytorch_chooses() -> None:
    with arithmetic("papers", "cuda"):
        assert torch.are_deterministic_algorithms_enabled()
    with any_algorithm(), arithmetic("papers", "cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.deterministic
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, True)


def test_bytes_that_differ_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "REPEATED", ("dm",))
    monkeypatch.setattr(methods, "twice", lambda machine, config: (False, 0.5, 2.0))
    found = methods.same_bytes(Machine(rehearsal=True))
    assert found["dm"]["error"].endswith("by up to 0.5")
    assert found["dm"]["ms"] == 2.0


def test_a_part_that_fails_costs_no_other_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "broken", Part(lambda machine: {}["no such row"], 5))
    assert main(["--rehearse", "--parts", "broken,graph", "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert "KeyError: 'no such row'" in found["broken"]["error"]
    assert found["graph"].keys() == {"eager, tf32 False", "eager, tf32 True"}


def test_records_hold_every_figure_and_every_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        "environment": {"device": "NVIDIA H200", "torch": "2.11.0", "launch us": 4.5},
        "environment seconds": 15.0,
        "steps": {
            **{
                f"{method} ipc 1, papers, float32": {"ours": 2.0, "loop over classes": loop} for method, loop in (("dm", 20.0), ("dc", 9.0))
            },
            "dc ipc 1, fused, float32": {"ours": 1.0},
        },
        "scoring": {"50000 images": {"trial s": 5.0, "10 trials s": 50.0}},
        "kernels": {"error": "Traceback\nRuntimeError: no profiler"},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(found), encoding="utf-8")
    assert records.main([str(tmp_path / "gpu.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "## One GPU: NVIDIA H200 (torch 2.11.0)"
    assert "| DM, ipc 1, papers, beside the loop over classes | 10x, at least 5x: yes |" in lines
    assert "| DC, ipc 1, papers, beside the loop over classes | 4.5x, at least 5x: no |" in lines
    assert "| DC, ipc 1, fused, beside the loop over classes | 9x, at least 5x: yes |" in lines
    assert "| DSA, ipc 1, papers, beside the loop over classes | not measured |" in lines
    assert "| CIFAR-10 scored by 10 networks | 50 s, at most 60 s: yes |" in lines
    assert "| dc ipc 1, papers, float32 | 2 | 9 |" in lines
    assert "failed: `RuntimeError: no profiler`" in lines


@pytest.mark.slow
def test_every_target_is_a_figure_of_a_rehearsal(tmp_path: Path) -> None:
    """Names of rows and columns are those that the parts write."""
    assert main(["--rehearse", "--parts", ",".join(AIMED), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert set(found) == {name for part in AIMED for name in (part, f"{part} seconds")}
    known = {target.what for target, value in judged(found) if value is not None}
    rehearsed = {f"{method}, ipc 1, {gpu}, beside the loop over classes" for method in ("DM", "DC") for gpu in ("papers", "fused")}
    assert known == {"what causal effects add to an experiment", "CIFAR-10 scored by 10 networks", *rehearsed}
    assert records.main([str(tmp_path / "none.json")]) == 2
