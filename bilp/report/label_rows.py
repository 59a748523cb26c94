"""Part of the section on synthetic images: the labels that were learned with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.distill.learned_labels import read_learned_labels
from bilp.distill.soft_labels import read_soft_labels
from bilp.report.wording import share

NEXT = 3
"""Other classes that a row names."""


@dataclass(frozen=True)
class MeanLabels:
    """The mean label of the images of each class."""

    values: np.ndarray
    """float64 `[classes, classes]`, a row for each class of images."""
    shares: bool
    """Whether a row holds probabilities; otherwise values that networks are trained to give, whose sum is about 0."""

    @property
    def meaning(self) -> str:
        """What a page says of them."""
        if self.shares:
            return "The soft labels that were learned with the images of each class, on average."
        return (
            "The values that networks learn to give for the images of each class, on average; they were learned with the images. They are "
            "no probabilities: their sum is about 0, and in the beginning all other classes had the same value."
        )

    def told(self, value: float) -> str:
        """One of them in words."""
        return share(value) if self.shares else f"{value:.3f}".replace("-", "−")


@dataclass(frozen=True)
class LabelRow:
    """What the labels of a class's images say on average."""

    name: str
    own: str
    """What they say of the class itself."""
    others: str
    """The next classes with what they say of these."""


def mean_labels(artifact: Artifact) -> MeanLabels | None:
    """The mean label of the images of each class of a synthetic set; None for a set that learned none.

    Raises DamagedArtifact for labels that are not what its facts state.
    """
    facts, values = artifact.stated(SyntheticFacts), read_learned_labels(artifact)
    if values is not None:
        return MeanLabels(_means(values.double(), facts.ipc), shares=False)
    if facts.soft_labels is None or not facts.soft_labels.learned:
        return None
    logits = read_soft_labels(artifact)
    assert logits is not None  # as the facts say
    return MeanLabels(_means((logits.double() / facts.soft_labels.temperature).softmax(1), facts.ipc), shares=True)


def label_rows(means: MeanLabels | None, names: Sequence[str], shown: Sequence[int]) -> tuple[LabelRow, ...]:
    """A row for each class that is shown, of all classes with these names; empty for a set that learned no labels."""
    return () if means is None else tuple(_row(means, c, names) for c in shown)


def _means(labels: Tensor, ipc: int) -> np.ndarray:
    """`[classes, classes]` of labels `[classes * ipc, classes]`, class by class."""
    means: np.ndarray = labels.unflatten(0, (-1, ipc)).mean(dim=1).numpy()
    return means


def _row(means: MeanLabels, label: int, names: Sequence[str]) -> LabelRow:
    """Names stand before a colon, as they may be numbers."""
    row = means.values[label]
    next_ones = [int(c) for c in np.argsort(-row, kind="stable") if c != label][:NEXT]
    others = "; ".join(f"{names[c]}: {means.told(float(row[c]))}" for c in next_ones)
    return LabelRow(names[label], means.told(float(row[label])), others)
