"""The verdicts on the registered hypotheses, by tables whose outcome is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from study_parts import row

from benchmarks.noise.hypotheses import CYCLIC, FIFTH, ONE_IMAGE_METHODS, RIGHT, TWO_FIFTHS, Study, main

ARMS = {
    "unpruned": 0.0,
    "random_pruning": 0.0,
    "static": 1.0,
    "auto": 1.0,
    "upper_tail": 0.5,
    "both_tails": 0.1,
    "by_chance": 0.0,
    "bilp": 1.0,
}
GAIN = {RIGHT: 0.0, FIFTH: 0.05, TWO_FIFTHS: 0.10, CYCLIC: 0.02}


ONE_IMAGE = {f"{labels}, {method}": 0.1 for labels in (RIGHT, TWO_FIFTHS) for method in ONE_IMAGE_METHODS}


def tables(folder: Path, sign: float, gain: Mapping[str, float] = GAIN) -> Path:
    """Of a study in which an arm gains its part of what its cell allows, up to a little that differs by seed and arm."""
    rows, detection = [], []
    for cell, most in gain.items():
        for place, (arm, part) in enumerate({**ARMS, "oracle": 1.2}.items()):
            for seed in range(4):
                for training in range(2):
                    accuracy = 0.5 + sign * most * part + 0.01 * seed + 0.0005 * ((3 * place + 2 * seed + training) % 5)
                    rows.append(row(cell, seed, arm, training, accuracy))
        for score in ("loss_converge", "loss_init"):
            figure = 0.97 if cell in (FIFTH, TWO_FIFTHS) else 0.8
            detection.append({"cell": cell, "seed": 0, "arm": "", "score": score, "auroc": figure, "precision": figure - 0.1})
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    pd.DataFrame(detection).to_parquet(folder / "detection.parquet")
    return folder


@pytest.mark.parametrize(("sign", "fails"), [(1.0, set()), (-1.0, {"1", "2", "4", "5", "6", "8", "11"})])
def test_each_hypothesis_is_confirmed_by_what_it_expects_and_by_nothing_else(
    sign: float, fails: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cifar, digits = tables(tmp_path / "cifar", sign), tables(tmp_path / "digits", sign)
    assert main([str(cifar), str(digits)]) == 0
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(lines) == 23
    verdicts = {(line[1].strip(), line[2].strip()): line[4].strip() for line in lines}
    refuted = {number.partition(",")[0] for (number, _), verdict in verdicts.items() if verdict == "**no**"}
    assert refuted == fails
    assert [line[4].strip() for line in lines] == sorted(verdicts.values(), key=lambda verdict: verdict == "yes"), (
        "those that fail come first"
    )


def test_the_family_is_all_arms_in_all_cells(tmp_path: Path) -> None:
    study = Study.read(tables(tmp_path / "study", 1.0))
    told = [study.compared(cell, arm, "unpruned") for cell in GAIN for arm in (*ARMS, "oracle") if arm != "unpruned"]
    surest = min(told, key=lambda each: each.p)
    assert surest.adjusted == pytest.approx(len(told) * surest.p)
    assert study.compared(TWO_FIFTHS, "static", "unpruned").value.mean == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize(("sign", "fails"), [(1.0, set()), (-1.0, {"12", "13", "14"})])
def test_those_of_one_image_are_judged_for_each_method(
    sign: float, fails: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [str(tables(tmp_path / name, 1.0)) for name in ("cifar", "digits")]
    assert main([*others, str(tables(tmp_path / "one", sign, ONE_IMAGE))]) == 0
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    verdicts = {line[1].strip(): line[4].strip() for line in lines if line[1].strip()[:2] in {"12", "13", "14", "15"}}
    assert len(verdicts) == 4 * len(ONE_IMAGE_METHODS)
    assert {number.partition(",")[0] for number, verdict in verdicts.items() if verdict == "**no**"} == fails


def test_without_two_folders_it_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "CIFAR10_STUDY DIGITS_STUDY" in capsys.readouterr().err
