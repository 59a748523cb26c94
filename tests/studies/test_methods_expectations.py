"""The verdicts on what was expected of the study of all methods, by tables whose outcome is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from study_parts import row

from benchmarks.methods.expectations import ADAPTIVE, BOTH, REAL, RIGHT, SIGNED, STATIC, UNPRUNED, WRONG, Tables, main
from bilp.config import METHODS

GAINS = {UNPRUNED: 0.0, STATIC: 0.10, ADAPTIVE: 0.05, SIGNED: 0.05, BOTH: 0.10}


def arms_of(method: str) -> list[str]:
    entry = METHODS[method]
    return [UNPRUNED, STATIC, *([ADAPTIVE, BOTH] if entry.adaptive else []), *([SIGNED] if entry.signed else [])]


def tables(
    folder: Path,
    wrong: Mapping[str, float],
    right: Mapping[str, float],
    auroc: float,
    crops: float = 0.0,
    seeds: int = 4,
    among: Sequence[str] = tuple(METHODS),
) -> Path:
    """Of a study in which each arm gains so much, by methods that choose crops `crops` of it, up to a trifle."""
    rows, detection = [], []
    for labels, gains in ((RIGHT, right), (WRONG, wrong)):
        for place, method in enumerate(among):
            part = 1.0 if METHODS[method].optimizes else crops
            for seed in range(seeds):
                for k, arm in enumerate(arms_of(method)):
                    little = 0.001 * ((3 * place + 2 * seed + k) % 5)
                    rows += [row(f"{labels}, {method}", seed, arm, t, 0.5 + part * gains.get(arm, 0.0) + little + 0.01 * t) for t in (0, 1)]
                if labels == WRONG and METHODS[method].adaptive:
                    found = {"cell": f"{labels}, {method}", "seed": seed, "arm": ADAPTIVE, "score": "ite"}
                    detection.append({**found, "auroc": auroc + 0.01 * (seed % 2)})
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    pd.DataFrame(detection).to_parquet(folder / "detection.parquet")
    return folder


def of_right_labels(folder: Path, gains: Mapping[str, float], seeds: int = 3) -> Path:
    """Of a study without wrong labels, in which unpruned is 10 points above random real images and arms gain so much over unpruned."""
    rows = []
    for place, method in enumerate(METHODS):
        for seed in range(seeds):
            for k, arm in enumerate([REAL, UNPRUNED, STATIC, *([BOTH] if METHODS[method].adaptive else [])]):
                little = 0.001 * ((3 * place + 2 * seed + k) % 5)
                accuracy = 0.2 if arm == REAL else 0.3 + gains.get(arm, 0.0)
                rows += [row(f"{RIGHT}, {method}", seed, arm, t, accuracy + little + 0.01 * t) for t in (0, 1)]
    folder.mkdir()
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    pd.DataFrame(columns=["cell", "seed", "arm", "score", "auroc"]).to_parquet(folder / "detection.parquet")
    return folder


def verdicts(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.partition("\n\n")[0].splitlines()[2:]
    return {cells[1].strip(): cells[6].strip() for cells in (line.split("|") for line in lines)}


def test_what_was_expected_is_confirmed_by_that_and_by_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdicts(tables(tmp_path / "as expected", GAINS, {}, 0.8), capsys) == dict.fromkeys("123456789", "yes")
    harm = {arm: -gain for arm, gain in GAINS.items()}
    refuted = verdicts(tables(tmp_path / "harm", harm, harm, 0.3, crops=1.0), capsys)
    assert {number for number, verdict in refuted.items() if verdict == "**no**"} == set("1234589"), "6 and 7 compare equal harm"
    other = {**GAINS, BOTH: 0.2, SIGNED: 0.0}
    assert {n for n, v in verdicts(tables(tmp_path / "other", other, {}, 0.8), capsys).items() if v == "**no**"} == {"6", "7"}


def test_of_two_seeds_nothing_is_concluded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(verdicts(tables(tmp_path / "two", GAINS, {}, 0.8, seeds=2), capsys).values()) == {"**no**"}


def test_each_method_has_a_row_with_the_levels_that_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tables(tmp_path / "study", GAINS, {}, 0.8)
    assert main([str(folder)]) == 0
    right, wrong = capsys.readouterr().out.split("Labels: ")[1:]
    for labels, text in ((RIGHT, right), (WRONG, wrong)):
        lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
        assert [cells[0].strip(" `") for cells in lines] == [*METHODS]
        for cells in lines:
            entry = METHODS[cells[0].strip(" `")]
            told = [bool(cell.strip()) for cell in cells[3:8]]
            assert told == [True, entry.adaptive, entry.signed, entry.adaptive, entry.adaptive]
            gained = 10.0 if labels == WRONG and entry.optimizes else 0.0
            assert float(cells[3].partition("±")[0]) == pytest.approx(gained, abs=0.5)
            assert "*" in cells[3] or not gained
    assert Tables.read(folder).methods(SIGNED) == [name for name in METHODS if METHODS[name].signed]
    with pytest.raises(SystemExit, match="2"):
        main([])


def test_studies_of_different_methods_are_judged_together_and_a_method_may_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ["dm", "dsa", "rded", "lpld"]
    others = [name for name in METHODS if name not in some]
    none = dict.fromkeys(GAINS, 0.0)
    first = tables(tmp_path / "first", GAINS, {}, 0.8, among=some)
    second = tables(tmp_path / "second", none, {}, 0.8, among=others)
    both = Tables.of([first, second])
    assert both.methods(STATIC) == [*METHODS]
    gained = len([name for name in some if METHODS[name].optimizes])
    assert both.mean_gain(WRONG, STATIC)[0] == pytest.approx(0.1 * gained / len(METHODS), abs=0.005)
    assert Tables.of([first, second], without=["dm"]).methods(STATIC) == [name for name in METHODS if name != "dm"]
    assert main([str(first), str(second), "--without", "dm"]) == 0
    assert "`dm`" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(first), str(first)])
    assert "several studies have dm, dsa, lpld, rded: name one of them" in capsys.readouterr().err


def test_a_study_of_right_labels_is_judged_beside_no_pruning_and_real_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdicts(of_right_labels(tmp_path / "as expected", {}), capsys) == dict.fromkeys("12345", "yes")
    costly = verdicts(of_right_labels(tmp_path / "costly", {BOTH: -0.2}), capsys)
    assert costly == {**dict.fromkeys("134", "yes"), **dict.fromkeys("25", "**no**")}
    assert set(verdicts(of_right_labels(tmp_path / "one", {}, seeds=1), capsys).values()) == {"**no**"}


def test_its_table_has_the_levels_that_it_has_and_no_interval_of_one_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seeds in (1, 3):
        assert main([str(of_right_labels(tmp_path / f"{seeds}", {STATIC: 0.05}, seeds))]) == 0
        shown = capsys.readouterr().out
        assert ("±" in shown) == (seeds == 3)
        assert "Labels: " + WRONG not in shown
        (head,) = (line for line in shown.splitlines() if line.startswith("| method"))
        titles = ["method", "seeds", "unpruned", "unpruned less real", "static", "both levels", "both less static"]
        assert [cell.strip() for cell in head.split("|")[1:-1]] == titles
        for line in (line for line in shown.splitlines() if line.startswith("| `")):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            assert [float(cell.partition(" ")[0]) for cell in cells[3:5]] == pytest.approx([10.0, 5.0], abs=0.5)
            assert bool(cells[5]) == METHODS[cells[0].strip("`")].adaptive == bool(cells[6])
