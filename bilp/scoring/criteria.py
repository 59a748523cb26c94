"""Functions of a trial's record that give a score for each sample, and how trials are joined.

Which criterion each belongs to is said in `bilp.config.criteria`, which also tells how to add one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bilp.config import ScoreConfig
from bilp.config.criteria import CAD_EPOCHS, Column
from bilp.errors import ConfigError, DataError
from bilp.registry import resolve
from bilp.scoring.prediction_record import Predictions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trajectory:
    """One trial's record: arrays `[epochs, N]`, after each epoch, samples in index order; see `bilp.scoring.sample_stats.SampleStats`.

    losses, el2n, margins and gradient_norms are float32, correct is bool; gradient_norms is None if they were not asked
    for, and NaN in epochs outside of the early window.
    """

    losses: NDArray[np.float32]
    correct: NDArray[np.bool_]
    el2n: NDArray[np.float32]
    margins: NDArray[np.float32]
    gradient_norms: NDArray[np.float32] | None = None
    predictions: Predictions | None = None
    """What else was recorded by the training that made this; no criterion reads it, and no trial stores it."""

    def __post_init__(self) -> None:
        shapes = {name: values.shape for name, values in vars(self).items() if isinstance(values, np.ndarray)}
        if self.losses.ndim != 2 or len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise DataError(f"a trial's record must have one shape (epochs, samples) throughout, not {listed}")

    @property
    def epochs(self) -> int:
        """Number of epochs recorded."""
        return int(self.losses.shape[0])

    @property
    def samples(self) -> int:
        """Number of samples recorded."""
        return int(self.losses.shape[1])


def loss_init(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean loss `[N]` after the first init_epochs epochs (LossInit of BiLP's preview code)."""
    return _mean(trajectory.losses[: config.init_epochs])


def loss_converge(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean loss `[N]` after the last converge_epochs epochs (LossConverge of BiLP's preview code)."""
    return _mean(trajectory.losses[trajectory.epochs - config.converge_epochs :])


def accuracy(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Share `[N]` of the epochs after which the sample was classified correctly."""
    return _mean(trajectory.correct)


def el2n(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean error norm ||softmax - one-hot||_2 `[N]` over the early window (Paul et al. 2021)."""
    return _mean(trajectory.el2n[config.early_from - 1 : config.early_to])


def forgetting(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Number `[N]` of changes from correct to incorrect between neighboring epochs (Toneva et al. 2019).

    A sample that was never classified correctly counts as forgotten as often as there are epochs, as in the authors'
    program: more often than any other can be. They evaluate each sample when it is trained on; we evaluate all
    of them after each epoch, under one network.
    """
    correct = trajectory.correct
    events: Floats = np.zeros(trajectory.samples)
    for before, after in pairwise(correct):
        events += before & ~after
    events[~correct.any(axis=0)] = trajectory.epochs
    return events


def aum(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Area under the margin `[N]`: logit of the label minus the largest other one, mean over all epochs (Pleiss et al. 2020)."""
    return _mean(trajectory.margins)


def grand(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """Mean gradient norm `[N]` over the early window (Paul et al. 2021); NaN if it was not recorded."""
    if trajectory.gradient_norms is None:
        return np.full(trajectory.samples, np.nan)
    return _mean(trajectory.gradient_norms[config.early_from - 1 : config.early_to])


CAD_WINDOWS = 2
"""W of CAD: windows that are averaged."""


def cad(trajectory: Trajectory, config: ScoreConfig) -> Floats:
    """How much the error norm `[N]` still changes within the training (CAD-Prune, arXiv 2604.18811).

    Of K epochs, windows of J = K - W start at epochs k = K - J - W .. K - J - 1, counted from 0, for W = CAD_WINDOWS: the score is the mean
    over these windows of the standard deviation, with J - 1 in the denominator, of the EL2N score in S_k .. S_(k+J-1). As published,
    the last epoch takes no part. Raises ConfigError for fewer than CAD_EPOCHS epochs.
    """
    epochs = trajectory.epochs
    if epochs < CAD_EPOCHS:
        raise ConfigError(f"criterion cad needs records of {CAD_EPOCHS} epochs or more, not {epochs}: raise score.epochs")
    length = epochs - CAD_WINDOWS
    total: Floats = np.zeros(trajectory.samples)
    for first in range(CAD_WINDOWS):
        window = Moments(trajectory.samples)
        for row in trajectory.el2n[first : first + length]:
            window.add(row.astype(np.float64))
        total += window.std()
    return total / CAD_WINDOWS


def criterion_of(column: Column) -> Callable[[Trajectory, ScoreConfig], Floats]:
    """The function `[N]` of one trial's record that a column names. Raises DataError, when it is called, for other than N numbers."""
    function = resolve(column.of_trial)

    def checked(trajectory: Trajectory, config: ScoreConfig) -> Floats:
        values = np.asarray(function(trajectory, config), dtype=np.float64)
        if values.shape != (trajectory.samples,):
            raise DataError(f"{column.of_trial} must give one score for each of {trajectory.samples} samples, not {list(values.shape)}")
        return values

    return checked


class Moments:
    """Running mean and sample variance of vectors `[N]`, one vector at a time, in float64 (Welford 1962)."""

    def __init__(self, samples: int) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(samples)
        self._squares: Floats = np.zeros(samples)

    def add(self, values: Floats) -> None:
        """Take in the values `[N]` of one more trial."""
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
