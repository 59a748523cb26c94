"""The table at the end of a command: the words, intervals, differences and sentence of the page, at every width and encoding."""

from __future__ import annotations

import io
import sys

import pytest

from bilp.evaluate import Difference
from bilp.report.accuracy import accuracy
from bilp.report.comparison import Training, against_arm, over_random, points
from flows import accuracy_table
from tasks import output

ACCURACIES = {"full": 0.96, "random": 0.71, "unpruned": 0.906, "bilp": 0.904}


def trainings(*networks: str) -> list[Training]:
    return [
        Training(arm, 0, network, seed, mean + 0.01 * seed * (1 + place), mean, 1438 if arm == "full" else 10, 30)
        for network in networks
        for place, (arm, mean) in enumerate(ACCURACIES.items())
        for seed in range(3)
    ]


def printed(rows: list[Training], width: int, monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> list[str]:
    """The lines of the table as a terminal of this width gets them."""
    found = accuracy(rows)
    assert found is not None
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setenv("COLUMNS", str(width))
        output.settle()
        accuracy_table.show(accuracy_table.rows_of(found.rows))
        accuracy_table.print_sentence("BiLP is −0.2\u00a0±\u00a00.9 points against the unpruned run.")
        stream.flush()
    binary = stream.buffer
    assert isinstance(binary, io.BytesIO)
    return binary.getvalue().decode(encoding).splitlines()


def test_the_table_says_what_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = trainings("convnet")
    lines = printed(rows, 120, monkeypatch)
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    difference = against_arm(rows, "bilp", "unpruned", "convnet")
    assert isinstance(difference, Difference)
    assert [row[:2] for row in cells] == [
        ["All real images", "1,438"],
        ["Random real images", "10"],
        ["Unpruned", "10"],
        ["BiLP", "10"],
    ]
    gain = over_random(rows, "bilp", "convnet")
    assert isinstance(gain, Difference)
    assert cells[1][-1] == "" and cells[3][-1] == points(gain).replace("\u00a0", " ").removesuffix(" points")
    assert [row[-2] for row in cells] == ["", "", "", points(difference).replace("\u00a0", " ").removesuffix(" points")]
    assert all(" % ± " in row[2] and row[3] == "3" for row in cells)
    assert lines[-1] == "BiLP is −0.2 ± 0.9 points against the unpruned run.", "one line where nobody reads a terminal"


@pytest.mark.parametrize("networks", [("convnet",), ("convnet", "mlp", "resnet18")])
@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_number_is_there_at_every_width(networks: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = trainings(*networks)
    *lines, _ = printed(rows, width, monkeypatch)
    assert max(map(len, lines)) <= width
    found = accuracy(rows)
    assert found is not None
    for row in found.rows:
        beginning = row.words.title
        fitting = [line for line in lines if beginning in line and row.shown.replace("\u00a0", " ") in line]
        assert len(fitting) >= 1, (row, lines)
    titles = {row.network for row in found.rows}
    assert all(any(title in line for line in lines) for title in titles) or len(titles) == 1


@pytest.mark.parametrize("width", [60, 120])
def test_an_encoding_without_these_characters_gets_others(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(trainings("convnet", "mlp"), width, monkeypatch, "ascii")
    assert any("73.0 % +- " in line for line in lines)
    assert lines[-1] == "BiLP is -0.2 +- 0.9 points against the unpruned run."
    assert not [line for line in lines if "\\x" in line or "\\u" in line]
