"""The questions to a GPU, rehearsed on the CPU: every part still fits the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import PARTS, main
from benchmarks.gpu.augment_rows import apply_rows, row_of
from bilp.images import augment
from bilp.seeds import generator

FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")


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


def test_rows_of_numbers_augment_as_the_families_do() -> None:
    side, number = (32, 32), len(FAMILIES)
    for seed in range(10):
        params = [augment.draw([family], side, generator(seed, family)) for family in FAMILIES]
        images = torch.randn(number, 3, 3, *side, generator=generator(seed, "images")).requires_grad_()
        weights = torch.randn(images.shape, generator=generator(seed, "weights"))
        expected = torch.stack([augment.apply(images[k], params[k]) for k in range(number)])
        found = apply_rows(images, torch.tensor([row_of(drawn, side) for drawn in params]))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        for one, other in zip(*(torch.autograd.grad((each * weights).sum(), images) for each in (found, expected)), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=5e-3)
