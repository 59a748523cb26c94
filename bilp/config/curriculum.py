"""Settings of the curriculum of experts: which samples they learn in which epoch."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Self

from pydantic import model_validator

from bilp.config.base import Count, Dropped, Frozen, Kept
from bilp.config.criteria import CRITERIA, CriterionName
from bilp.config.score import ScoreConfig

ROUNDING = 1e-9
"""A product such as 0.29 * 100 may end just below a whole number."""


class CurriculumConfig(Frozen):
    """Experts that learn the easy samples of each class first, then all of them, and in the end no longer the easiest (PAD)."""

    by_rule: ClassVar[frozenset[str]] = frozenset({"criterion", "full_from", "dropped_from"})

    criterion: CriterionName | None = None
    """Score that says how hard a sample is; empty: all samples in every epoch."""
    start: Kept = 0.75
    """Share of the easiest that the first epoch learns; it grows linearly."""
    full_from: Count = 20
    """Epoch, counted from 0, that learns all for the first time."""
    dropped: tuple[Dropped, ...] = (0.1, 0.2)
    """Shares of the easiest that later epochs leave out ..."""
    dropped_from: tuple[Count, ...] = (41, 61)
    """... and the epochs, counted from 0, from which on each of them does."""
    score: ScoreConfig = ScoreConfig()
    """How samples are scored, by the seed and arithmetic of static scoring; trials of the same settings are the same ones."""

    @model_validator(mode="after")
    def _stages_follow(self) -> Self:
        if len(self.dropped) != len(self.dropped_from):
            raise ValueError(f"dropped has {len(self.dropped)} shares and dropped_from {len(self.dropped_from)} epochs: give one for each")
        if any(later <= earlier for earlier, later in pairwise((self.full_from, *self.dropped_from))):
            given = f"dropped_from = {list(self.dropped_from)} does not ascend from full_from = {self.full_from}"
            raise ValueError(f"{given}: give later epochs")
        return self

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if self.criterion is None:
            return self
        entry = CRITERIA[self.criterion]
        if not entry.difficulty or entry.column is None:
            *names, last = [name for name in CRITERIA if CRITERIA[name].difficulty and CRITERIA[name].column is not None]
            raise ValueError(f"criterion {entry.name} does not say how hard a sample is: use {', '.join(names)} or {last}")
        if entry.measure != self.score.measure:
            raise ValueError(f"criterion {entry.name} contradicts score.measure = {self.score.measure!r}: leave that out")
        if entry.gradients and self.score.gradient_norm == "off":
            raise ValueError(f"criterion {entry.name} contradicts score.gradient_norm = 'off': set it to last_layer or all")
        if self.score.epochs < entry.fewest_epochs:
            told = f"criterion {entry.name} needs trials of {entry.fewest_epochs} epochs or more"
            raise ValueError(f"{told}, and score.epochs = {self.score.epochs}: raise score.epochs")
        if self.score.extend is not None or self.score.keep_networks:
            raise ValueError("score.extend and score.keep_networks are not for a curriculum, which scores all samples: leave them out")
        return self

    def ranks(self, epoch: int, samples: int) -> range:
        """The places, from the easiest sample of a class on, of the `samples` that an epoch learns, which is counted from 0."""
        if epoch < self.full_from:
            share = self.start + (1.0 - self.start) * epoch / self.full_from
            return range(max(1, math.floor(share * samples + ROUNDING)))
        left_out = [share for share, first in zip(self.dropped, self.dropped_from, strict=True) if first <= epoch]
        return range(math.floor(left_out[-1] * samples + ROUNDING) if left_out else 0, samples)
