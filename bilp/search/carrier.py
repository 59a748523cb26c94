"""Who carries out the stages of a search: Prefect's flows with their workers, or this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bilp.config import DistillConfig, EvaluateConfig, ReselectConfig, ScoreConfig


@dataclass(frozen=True)
class Distillation:
    """A run to be distilled: from which samples, how, and what it is called (`label`: for whoever watches)."""

    dataset: str
    selection: str | None
    distill: DistillConfig
    reselect: ReselectConfig
    arm: str
    """Whose set it is, as the table of its evaluation says."""
    label: str
    number: int
    """Which of the distillations that share everything but their seeds, from 0."""


class Carrier(Protocol):
    """Carries out stages; every result is an artifact, so what was done before is found."""

    def score(self, dataset: str, config: ScoreConfig) -> str:
        """The URI of the summary of all trials."""

    def distill(self, what: str, wanted: Sequence[Distillation]) -> list[str]:
        """The URIs of the runs, complete, in the order of `wanted`."""

    def evaluate(self, what: str, runs: Sequence[tuple[str, Distillation]], config: EvaluateConfig) -> list[str]:
        """The URIs of the evaluations of the sets of runs on the test split of their data set, likewise."""

    def tell(self, sentence: str) -> None:
        """Something to know for whoever watches."""
