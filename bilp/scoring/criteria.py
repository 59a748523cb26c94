"""Criteria: what a trial's record says about each sample, and how trials are joined.

A criterion is a function of one trial's record; to add one, write the function, enter it in `CRITERIA` and give
`bilp.tables.SUMMARY` its column (and a second one ending in `_std` if the spread over trials is wanted).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.config import ScoreConfig
from bilp.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """One trial's record: losses float32 and correct bool, both [epochs, N], after each epoch, samples in index order."""

    losses: NDArray[np.float32]
    correct: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.losses.ndim != 2 or self.losses.shape != self.correct.shape:
            raise DataError(f"losses {self.losses.shape} and correct {self.correct.shape} must both have shape (epochs, samples)")

    @property
    def epochs(self) -> int:
        """Number of epochs recorded."""
        return int(self.losses.shape[0])

    @property
    def samples(self) -> int:
        """Number of samples recorded."""
        return int(self.losses.shape[1])


def loss_init(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean loss [N] after the first init_epochs epochs (LossInit of BiLP's preview code)."""
    return _mean(trajectory.losses[: config.init_epochs])


def loss_converge(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean loss [N] after the last converge_epochs epochs (LossConverge of BiLP's preview code)."""
    return _mean(trajectory.losses[trajectory.epochs - config.converge_epochs :])


def accuracy(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Share [N] of the epochs after which the sample was classified correctly."""
    return _mean(trajectory.correct)


CRITERIA: Mapping[str, Callable[[Trajectory, ScoreConfig], Floats]] = {
    "loss_init": loss_init,
    "loss_converge": loss_converge,
    "accuracy": accuracy,
}


class Moments:
    """Running mean and sample variance of vectors [N], one vector at a time, in float64 (Welford 1962)."""

    def __init__(self, samples: int) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(samples)
        self._squares: Floats = np.zeros(samples)

    def add(self, values: Floats) -> None:
        """Take in the values [N] of one more trial."""
        self.count += 1
        before = values - self.mean
        self.mean += before / self.count
        self._squares += before * (values - self.mean)

    def std(self) -> Floats:
        """Standard deviation over trials with n - 1 in the denominator; zero after a single trial."""
        return np.sqrt(self._squares / max(self.count - 1, 1))


def _mean(epochs: NDArray[np.generic]) -> Floats:
    """Mean over the first axis with float64 sums, one row at a time so that no float64 copy of all rows is made."""
    total: Floats = np.zeros(epochs.shape[1])
    for row in epochs:
        total += row
    total /= len(epochs)
    return total
