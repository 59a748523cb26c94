"""The questions to a GPU, rehearsed on the CPU: every part still fits the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu import records
from benchmarks.gpu.__main__ import PARTS, main
from benchmarks.gpu.targets import judged


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs(part: str, tmp_path: Path) -> None:
    assert main(["--rehearse", "--parts", part, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert set(found) == {part, f"{part} seconds"}
    assert found[part]


def test_a_part_that_fails_costs_no_other_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "broken", lambda machine: {}["no such row"])
    assert main(["--rehearse", "--parts", "broken,graph", "--out", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert "KeyError: 'no such row'" in found["broken"]["error"]
    assert found["graph"].keys() == {"eager, tf32 False", "eager, tf32 True"}


def test_records_hold_every_figure_and_every_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        "environment": {"device": "NVIDIA H200", "torch": "2.11.0", "launch us": 4.5},
        "environment seconds": 15.0,
        "steps": {f"{method} ipc 1 tf32": {"ours": 2.0, "loop over classes": loop} for method, loop in (("dm", 20.0), ("dc", 9.0))},
        "scoring": {"50000 images": {"trial s": 5.0, "10 trials s": 50.0}},
        "kernels": {"error": "Traceback\nRuntimeError: no profiler"},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(found), encoding="utf-8")
    assert records.main([str(tmp_path / "gpu.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "## One GPU: NVIDIA H200 (torch 2.11.0)"
    assert "| DM, ipc 1, beside the loop over classes | 10x, at least 5x: yes |" in lines
    assert "| DC, ipc 1, beside the loop over classes | 4.5x, at least 5x: no |" in lines
    assert "| DSA, ipc 1, beside the loop over classes | not measured |" in lines
    assert "| CIFAR-10 scored by 10 networks | 50 s, at most 60 s: yes |" in lines
    assert "| dc ipc 1 tf32 | 2 | 9 |" in lines
    assert "failed: `RuntimeError: no profiler`" in lines


@pytest.mark.slow
def test_every_target_is_a_figure_of_a_rehearsal(tmp_path: Path) -> None:
    """Names of rows and columns are those that the parts write, at the sizes of a GPU; here two parts that are quick."""
    assert main(["--rehearse", "--parts", "experiments,scoring", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    known = {target.what for target, value in judged(found) if value is not None}
    assert known == {"what causal effects add to an experiment", "CIFAR-10 scored by 10 networks"}
    assert records.main([str(tmp_path / "none.json")]) == 2
