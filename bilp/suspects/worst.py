"""The most suspicious samples, with what is shown of each: picture, names and curve of loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import TrialFacts
from bilp.data import Dataset
from bilp.scoring.trial_record import TRIAL, read_trajectory


@dataclass(frozen=True)
class Suspect:
    """A sample: its image `[C, H, W]` or clip `[T, C, H, W]`, uint8, and its loss after each epoch, mean over the trials `[epochs]`."""

    rank: int
    sample_id: int
    path: str
    """Where it came from; empty if nobody knows."""
    given: str
    given_class: int
    predicted: str
    predicted_class: int
    score: float
    issue: bool
    copies: bool
    """Whether other samples are equal or nearly equal."""
    image: np.ndarray
    losses: np.ndarray

    @property
    def name(self) -> str:
        """Where it came from, or its number."""
        return self.path or f"sample {self.sample_id}"


def worst_of(dataset: Dataset, rows: pa.Table, trial_uris: Sequence[str]) -> list[Suspect]:
    """The samples of some rows of SUSPECTS that nobody has reviewed, in their order."""
    listed = [row for row in rows.to_pylist() if not row["reviewed"]]
    if not listed:
        return []
    ids = np.array([row["sample_id"] for row in listed], dtype=np.int64)
    images, losses = dataset.train.images(torch.from_numpy(ids)).numpy(), _losses(trial_uris, ids)
    return [
        Suspect(
            row["rank"],
            row["sample_id"],
            row["path"],
            row["given_label"],
            row["label"],
            row["predicted_label"],
            row["predicted"],
            row["label_score"],
            row["is_label_issue"],
            row["is_near_duplicate_issue"],
            image,
            curve,
        )
        for row, image, curve in zip(listed, images, losses, strict=True)
    ]


def _losses(trial_uris: Sequence[str], ids: np.ndarray) -> np.ndarray:
    """Mean loss `[n, epochs]` over the trials."""
    total: np.ndarray | None = None
    for uri in trial_uris:
        trial = open_artifact(uri, TRIAL)
        facts = trial.stated(TrialFacts)
        assert facts.epochs is not None
        found = read_trajectory(trial, facts.epochs, facts.samples).losses[:, ids].T.astype(np.float64)
        total = found if total is None else total + found
    assert total is not None
    return total / len(trial_uris)
