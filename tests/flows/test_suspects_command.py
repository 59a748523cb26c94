"""bilp suspects: one command for a folder of class folders, from nothing to the list, and again with corrections."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from bilp import ending
from flows.commands import suspects

QUICK = ["--score.trials=1", "--score.epochs=3", "--score.network.width=8", "--score.network.depth=1", "--score.learning_rate=0.05"]


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command settles for its process does not outlive a test."""
    monkeypatch.setattr(ending, "_typed", "bilp suspects")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        suspects.main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == ending.MISUSED
    return line


def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'nowhere' is no data set (" in refused(capsys, "nowhere")
    assert "--by: " in refused(capsys, "digits", "--by", "beauty") and "aum" in refused(capsys, "digits", "--by", "beauty")
    assert "--worst: " in refused(capsys, "digits", "--worst", "0")
    assert "--to: " in refused(capsys, "digits", "--to", "")


def test_results_are_not_written_among_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    monkeypatch.delenv("BILP_STORAGE", raising=False)
    monkeypatch.chdir(tmp_path / "photos")
    assert "bilp-storage lies in ., where it would be taken for a class of images" in refused(capsys, ".")
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "store"))
    assert "bilp-suspects lies in ." in refused(capsys, ".")
    assert "found lies in ../photos/" in refused(capsys, "../photos/", "--to", "found")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat"]


@pytest.mark.slow
def test_a_folder_is_looked_through_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes; three images lie in the wrong folder. A second run takes the corrections back."""
    digits = load_digits()
    wrong = []
    for label, name in ((0, "zero"), (1, "one")):
        for number, picture in enumerate(digits.images[digits.target == label][:60]):
            folder = {"zero": "one", "one": "zero"}[name] if number < 3 and label else name
            path = tmp_path / "photos" / folder / f"{name} {number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rint(picture * 255 / 16).astype(np.uint8)).save(path)
            wrong += [f"{folder}/{path.name}"] if folder != name else []
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    suspects.main(["photos", *QUICK])
    said = capsys.readouterr().out
    assert "labels are wrong, by confident learning" in said and "--ingest.corrections" in said
    assert {path.name for path in (tmp_path / "bilp-suspects").iterdir()} == {
        "suspects.csv",
        "suspects.html",
        "worst.png",
        "corrections.csv",
    }
    with (tmp_path / "bilp-suspects" / "corrections.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    ranked = 117 - 1  # of 120 images one of each class is held out, and all others are listed
    assert 100 <= len(rows) <= ranked + 2
    held = [path for path in wrong if path not in {row["path"] for row in rows}]
    assert {row["path"] for row in rows[: 3 - len(held)]} == {path for path in wrong if path not in held}
    edited = [{**row, "action": "relabel", "new_label": "one"} if row["path"] in wrong else row for row in rows]
    with (tmp_path / "edited.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(edited)
    suspects.main(["photos", *QUICK, "--to=again", "--ingest.corrections=edited.csv"])
    with (tmp_path / "again" / "suspects.csv").open(encoding="utf-8-sig") as file:
        last = list(csv.DictReader(file))[-(3 - len(held)) :]
    assert {row["path"] for row in last} == {path for path in wrong if path not in held}
    assert {row["given_label"] for row in last} == {"one"} and {row["reviewed"] for row in last} == {"true"}
