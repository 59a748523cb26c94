"""Part of the accuracy section: how well each class is learned, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from bilp.config.arm_entries import UNPRUNED
from bilp.config.baselines import RANDOM_REAL
from bilp.report.comparison import Training, network_title
from bilp.report.downloads import as_data
from bilp.report.heat import heat_map
from bilp.report.verdict import main_arm
from bilp.report.wording import ArmWords, arm_place, arm_words, count, share
from bilp.text.csv_text import csv_text
from bilp.text.sample_words import spoken

MOST_ROWS = 20
"""Classes in the table and in a heat map; of more classes, the ends of the order and the most confused pairs are shown."""
PAIRS = 12


@dataclass(frozen=True)
class ClassRow:
    """One class: its accuracy under each arm, and the difference of two of them."""

    name: str
    cells: tuple[str, ...]
    difference: str


@dataclass(frozen=True)
class Pair:
    """Two classes, and the share of the first's test images that were taken for the second, under each arm."""

    label: str
    predicted: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Confusion:
    """Under one arm, the share of each class's test images (rows) that were taken for each class, as a picture and in words."""

    title: str
    chart: Markup
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Classes:
    """The content; `difference` names the two arms that rows are sorted by, `left_out` counts classes that the table lacks."""

    network: str
    names: tuple[str, ...]
    arms: tuple[ArmWords, ...]
    rows: tuple[ClassRow, ...]
    left_out: int
    difference: str
    images: str
    csv_uri: str
    confusions: tuple[Confusion, ...]
    pairs: tuple[Pair, ...]
    unrecorded: tuple[str, ...]


def classes(counts: pd.DataFrame, rows: Sequence[Training], names: Sequence[str]) -> Classes | None:
    """None where no evaluation recorded confusion.

    `counts` are rows of `bilp.artifacts.tables.CONFUSION` with their arm, `rows` all trainings, `names` those of the classes.
    """
    if counts.empty:
        return None
    network = rows[0].network
    counts = counts[counts["network"] == network]
    matrices = {arm: matrix(counts[counts["arm"] == arm], len(names)) for arm in sorted(set(counts["arm"]), key=arm_place)}
    arm = main_arm([row for row in rows if row.arm in matrices])
    if arm is None:
        return None
    shares = {name: shares_of(counts) for name, counts in matrices.items()}
    right = {name: values.diagonal() for name, values in shares.items()}
    other = next((name for name in (UNPRUNED, RANDOM_REAL) if name in right and name != arm), None)
    difference = right[arm] - right[other] if other is not None else right[arm]
    order = [int(c) for c in np.argsort(np.where(np.isnan(difference), np.inf, difference), kind="stable")]
    shown = order if len(order) <= MOST_ROWS else [*order[: MOST_ROWS // 2], *order[-MOST_ROWS // 2 :]]
    drawn = [arm, *(name for name in matrices if name != arm)] if len(names) <= MOST_ROWS else []
    images = matrices[arm].sum(axis=1)
    of_arm = counts[counts["arm"] == arm]
    trainings = len(of_arm[["experiment", "seed"]].drop_duplicates())
    return Classes(
        network=network_title(network),
        names=tuple(names),
        arms=tuple(arm_words(name) for name in matrices),
        rows=tuple(_row(names[c], [right[name][c] for name in matrices], difference[c] if other is not None else None) for c in shown),
        left_out=len(order) - len(shown),
        difference="" if other is None else f"{arm_words(arm).title} − {arm_words(other).title}",
        images=_range(images // trainings),
        csv_uri=_csv(names, right),
        confusions=tuple(_confusion(arm_words(name).title, shares[name], names) for name in drawn),
        pairs=tuple(_pairs(shares, arm, names)),
        unrecorded=tuple(arm_words(name).title for name in sorted({row.arm for row in rows} - set(matrices), key=arm_place)),
    )


def matrix(counts: pd.DataFrame, classes: int) -> np.ndarray:
    """Test images `[classes, classes]` by class and prediction, over all trainings in `counts`."""
    found = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(found, (counts["label"].to_numpy(), counts["predicted"].to_numpy()), counts["images"].to_numpy())
    return found


def shares_of(matrix: np.ndarray) -> np.ndarray:
    """Rows of counts as shares `[classes, classes]`; a class without test images has none (NaN)."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares: np.ndarray = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    return shares


def _row(name: str, accuracies: Sequence[float], difference: float | None) -> ClassRow:
    return ClassRow(name, tuple(_percent(value) for value in accuracies), "" if difference is None else _points(difference))


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}\u00a0%"


def _points(value: float) -> str:
    shown = f"{100 * value:+.1f}"
    return "–" if np.isnan(value) else f"{'0.0' if shown[1:] == '0.0' else shown.replace('-', '−')} points"


def _range(images: np.ndarray) -> str:
    """'143 test images', '27 to 41 test images'."""
    low, high = int(images.min()), int(images.max())
    return count(low, "test image") if low == high else spoken(f"{low:,} to {high:,} test images")


def _csv(names: Sequence[str], right: dict[str, np.ndarray]) -> str:
    rows = ([name, *(f"{values[c]:.4f}" for values in right.values())] for c, name in enumerate(names))
    return as_data(csv_text(["class", *right], rows), "text/csv")


def _confusion(title: str, shares: np.ndarray, names: Sequence[str]) -> Confusion:
    worst = max(((shares[a, b], a, b) for a in range(len(names)) for b in range(len(names)) if a != b), default=(0.0, 0, 0))
    told = f"; most often {names[worst[1]]} is taken for {names[worst[2]]}, {share(float(worst[0]))}" if worst[0] > 0 else ""
    alt = f"{title}: share of the {spoken('test images')} of each class by what they were taken for{told}"
    rows = tuple((names[c], *(f"{100 * value:.0f}" for value in np.nan_to_num(shares[c]))) for c in range(len(names)))
    return Confusion(title, heat_map(shares, names, alt), rows)


def _pairs(shares: dict[str, np.ndarray], arm: str, names: Sequence[str]) -> list[Pair]:
    """The pairs that arm confuses most often."""
    wrong = np.nan_to_num(shares[arm].copy())
    np.fill_diagonal(wrong, 0.0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(k), len(names)) for k in order if wrong.flat[k] > 0]
    return [Pair(names[a], names[b], tuple(_percent(values[a, b]) for values in shares.values())) for a, b in places]
