"""The questions to a GPU, rehearsed on the CPU: every part still fits the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import PARTS, main


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
