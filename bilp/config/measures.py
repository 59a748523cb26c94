"""Measures: what a trial of static scoring records of the samples. One entry each; their names are tested nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bilp.registry import EntryName, Registry

WINDOWS = ("init_epochs", "converge_epochs", "early_from", "early_to")
"""Settings that only say which epochs of a record are averaged."""


@dataclass(frozen=True)
class Measure:
    """What the trials of a scoring record, and which settings shape them.

    `trial` names the function that runs one trial, called with (dataset, config, trial, device, progress). It returns a
    `bilp.scoring.criteria.Trajectory` if the measure records every sample after each epoch (`per_epoch`), else the ids `[n]`
    (int64, ascending) of the samples that the trial says something about, and their scores `[n]` (float64).
    """

    name: str
    trial: str
    settings: frozenset[str] = frozenset()
    """Fields of ScoreConfig that shape a trial of this measure and of no other."""
    trials: int | None = None
    """Trials by default; None leaves them to the settings."""
    epochs: int | None = None
    """Epochs of a trial likewise."""
    per_epoch: bool = False
    subsets: bool = False
    """Whether a trial trains on one of the subsets that share out all samples, so that there must be a trial for each."""

    @property
    def averaged(self) -> tuple[str, ...]:
        """Fields of ScoreConfig that shape the summary and no trial."""
        return ("trials", *WINDOWS) if self.per_epoch else ("trials",)


MEASURES = Registry(
    "measure of scoring",
    Measure,
    (
        Measure("trajectory", "bilp.scoring.loss_curves:train_trial", frozenset({"gradient_norm"}), per_epoch=True),
        # One network gives one order of picking. Our other trained networks (evaluate.full_epochs) see 30 epochs, too.
        Measure("herding", "bilp.scoring.picking:herding_places", trials=1, epochs=30),
        Measure("k_center", "bilp.scoring.picking:k_center_places", trials=1, epochs=30),
        Measure("center_distance", "bilp.scoring.picking:center_distances", trials=1, epochs=30),
        Measure(
            "monte_carlo",
            "bilp.scoring.subsets:subset_scores",
            frozenset({"subset_share", "held_out"}),
            trials=100,
            epochs=20,
            subsets=True,
        ),
    ),
)

MeasureName = Annotated[str, EntryName("bilp.config.measures:MEASURES")]
