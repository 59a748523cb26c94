"""Part of the section on synthetic images: the soft labels that were learned with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.data import Dataset
from bilp.distill.soft_labels import read_soft_labels
from bilp.report.wording import share

NEXT = 3
"""Other classes that a row names."""


@dataclass(frozen=True)
class LabelRow:
    """What the labels of a class's images say on average."""

    name: str
    own: str
    """The share of the class itself."""
    others: str
    """The next classes with their shares."""


def mean_labels(artifact: Artifact) -> np.ndarray | None:
    """The mean soft label of the images of each class, float64 `[classes, classes]`; None for a set that learned none."""
    facts = artifact.stated(SyntheticFacts)
    if facts.soft_labels is None or not facts.soft_labels.learned:
        return None
    logits = read_soft_labels(artifact)
    assert logits is not None  # as the facts say
    shares = (logits.double() / facts.soft_labels.temperature).softmax(1)
    means: np.ndarray = torch.stack([part.mean(0) for part in shares.split(facts.ipc)]).numpy()
    return means


def label_rows(means: np.ndarray | None, dataset: Dataset, shown: Sequence[int]) -> tuple[LabelRow, ...]:
    """A row for each class that is shown; empty for a set that learned no labels."""
    if means is None:
        return ()
    return tuple(_row(means[c], c, dataset.class_names) for c in shown)


def _row(shares: np.ndarray, label: int, names: Sequence[str]) -> LabelRow:
    next_ones = [int(c) for c in np.argsort(-shares, kind="stable") if c != label][:NEXT]
    return LabelRow(names[label], share(float(shares[label])), ", ".join(f"{names[c]} {share(float(shares[c]))}" for c in next_ones))
