"""What a rule of static pruning is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bilp.config import PruneConfig
from bilp.errors import ConfigError
from bilp.pruning.static import RAISE_KEEP, Integers, Mask, Ranked

Features = Callable[[Integers], Tensor]
"""Features `[n, F]` of samples `[n]`, by a trained network."""


@dataclass(frozen=True)
class Found:
    """What mixtures say: `[2, C]` of the low and the high component of each class.

    They are of scores after the criterion's `normal`, hard ones high. `split` tells whether there are two populations, `separation`
    how far those of all samples are apart. Values up to thresholds `[C]` stay; these are infinite where everything does.
    """

    split: bool
    separation: float
    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    agreement: float | None = None
    """How often networks that are sure agree with the labels; None where it was not asked."""


@dataclass(frozen=True)
class Choice:
    """Ranked samples, the settings of pruning, and features for the rules that need them."""

    samples: Ranked
    config: PruneConfig
    features: Features | None = None
    agreement: Callable[[], float | None] | None = None
    """How often networks that are sure agree with the labels, if that was recorded."""

    def required_features(self) -> Features:
        """The features. Raises ConfigError if there is no scoring whose network could give them."""
        if self.features is None:
            rule, criterion = self.config.rule, self.config.criterion
            raise ConfigError(
                f"rule {rule} needs features of a scoring's network, and criterion {criterion} has no scoring: use another one"
            )
        return self.features


@dataclass(frozen=True)
class Chosen:
    """Which samples stay `[N]`, what was found to decide it, and what to do if a class keeps too few."""

    kept: Mask
    found: Found | None = None
    remedy: str = RAISE_KEEP
