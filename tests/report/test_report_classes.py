"""Class by class: accuracies and confusion are those of the recorded counts, and many classes are brought down to what matters."""

from __future__ import annotations

import base64
import csv
import io

import numpy as np
import pandas as pd
import pytest
from page_reader import Page

from bilp.report.classes import Classes, classes, matrix, shares_of
from bilp.report.comparison import Training
from bilp.report.heat import heat_map

NETWORK = "convnet width 64"


def counted(arm: str, confusion: np.ndarray, seed: int = 0) -> pd.DataFrame:
    labels, predicted = np.nonzero(confusion)
    cells = {"label": labels, "predicted": predicted, "images": confusion[labels, predicted]}
    return pd.DataFrame({"arm": arm, "experiment": 0, "network": NETWORK, "seed": seed, **cells})


def trainings(*arms: str) -> list[Training]:
    return [Training(arm, 0, NETWORK, seed, 0.5, 0.5, 10, 5) for arm in arms for seed in (0, 1)]


def told(*counts: pd.DataFrame, names: tuple[str, ...], arms: tuple[str, ...]) -> Classes:
    found = classes(pd.concat(counts), trainings(*arms), names)
    assert found is not None
    return found


def test_rows_are_sorted_by_the_difference_to_the_unpruned_run() -> None:
    first, second = np.array([[8, 2, 0], [0, 10, 0], [5, 0, 5]]), np.array([[6, 4, 0], [0, 10, 0], [1, 0, 9]])
    base = np.array([[9, 1, 0], [1, 9, 0], [4, 1, 5]])
    made = (counted("bilp", first), counted("bilp", second, 1), counted("unpruned", base), counted("unpruned", base, 1))
    found = told(*made, names=("ant", "bee", "cow"), arms=("bilp", "unpruned", "full"))
    assert [(row.name, row.cells, row.difference) for row in found.rows] == [
        ("ant", ("90.0\xa0%", "70.0\xa0%"), "−20.0 points"),
        ("bee", ("90.0\xa0%", "100.0\xa0%"), "+10.0 points"),
        ("cow", ("50.0\xa0%", "70.0\xa0%"), "+20.0 points"),
    ]
    assert found.difference == "BiLP − Unpruned" and found.images == "10 test images" and found.unrecorded == ("All real images",)
    assert [(pair.label, pair.predicted, pair.cells) for pair in found.pairs] == [
        ("ant", "bee", ("10.0\xa0%", "30.0\xa0%")),
        ("cow", "ant", ("40.0\xa0%", "30.0\xa0%")),
    ]
    assert found.confusions[0].title == "BiLP" and found.confusions[0].rows[0] == ("ant", "70", "30", "0")
    text = base64.b64decode(found.csv_uri.split(",", 1)[1]).decode()
    assert list(csv.reader(io.StringIO(text)))[1] == ["ant", "0.9000", "0.7000"]


def test_without_an_unpruned_run_random_images_are_what_is_compared_with() -> None:
    counts = np.array([[5, 5], [0, 10]])
    found = told(counted("unpruned", counts), counted("random", np.eye(2, dtype=int) * 10), names=("a", "b"), arms=("unpruned", "random"))
    assert found.difference == "Unpruned − Random real images"
    assert found.rows[0].difference == "−50.0 points"
    alone = told(counted("unpruned", counts), names=("a", "b"), arms=("unpruned",))
    assert alone.difference == "" and alone.rows[0].name == "a"


def test_of_a_thousand_classes_both_ends_and_the_most_confused_pairs_are_shown() -> None:
    confusion = np.eye(1000, dtype=np.int64) * 50
    confusion[7] = 0
    confusion[7, 123], confusion[7, 7] = 40, 10
    names = tuple(f"class_{c:04d}" for c in range(1000))
    found = told(counted("bilp", confusion), counted("unpruned", np.eye(1000, dtype=int) * 50), names=names, arms=("bilp", "unpruned"))
    assert len(found.rows) == 20 and found.left_out == 980 and found.confusions == ()
    assert found.rows[0].name == "class_0007" and found.rows[0].difference == "−80.0 points"
    assert [(pair.label, pair.predicted, pair.cells) for pair in found.pairs] == [("class_0007", "class_0123", ("0.0\xa0%", "80.0\xa0%"))]


def test_nothing_recorded_is_nothing_to_show() -> None:
    assert classes(pd.DataFrame(columns=["arm", "network"]), trainings("bilp"), ("a", "b")) is None


def test_a_class_without_test_images_has_no_share() -> None:
    shares = shares_of(matrix(counted("bilp", np.array([[3, 1], [0, 0]])), 2))
    assert shares[0].tolist() == [0.75, 0.25] and np.isnan(shares[1]).all()
    found = told(counted("bilp", np.array([[3, 1], [0, 0]])), names=("a", "b"), arms=("bilp",))
    assert [row.cells for row in found.rows] == [("75.0\xa0%",), ("–",)]


@pytest.mark.parametrize("names", [("a", "b"), ("a long name of a class", "another <one>")])
def test_the_heat_map_writes_each_share_into_its_cell(names: tuple[str, str]) -> None:
    chart = Page(str(heat_map(np.array([[0.75, 0.25], [0.004, 0.996]]), names, "a picture of shares")))
    cells = [text for text in chart.text.split() if text.isdigit()]
    assert cells == ["75", "25", "100"]
    places = [(float(rect["x"]), float(rect["y"])) for rect in chart.all("rect")]
    assert places[0][1] == places[1][1] < places[2][1] and places[1][0] == places[2][0] > places[0][0]
