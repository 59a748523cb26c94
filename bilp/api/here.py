"""Stages of a search carried out one after the other in this process: what the flows hand to Prefect."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.api import composition
from bilp.api.workspace import Place
from bilp.artifacts.run_layout import synthetic_uri
from bilp.config import EvaluateConfig, PipelineConfig, ScoreConfig
from bilp.config.arm_entries import ALL_SAMPLES
from bilp.config.arms import Chosen, PlannedRun
from bilp.preflight import check_fit
from bilp.search import halving
from bilp.search.answer import answered, tentative
from bilp.search.candidates import asks
from bilp.search.carrier import Distillation
from bilp.search.held_out import hold_out


class Here:
    """A `bilp.search.carrier.Carrier`."""

    def __init__(self, config: PipelineConfig, at: Place) -> None:
        """Results lie, and are computed, where `at` says."""
        self.config, self.at = config, at

    def score(self, dataset: str, config: ScoreConfig) -> str:
        """As `bilp.score`."""
        return composition.scored(dataset, config, self.at)

    def distill(self, what: str, wanted: Sequence[Distillation]) -> list[str]:
        """One after the other."""
        runs = []
        for each in wanted:
            planned = PlannedRun(each.arm, each.number, Chosen(ALL_SAMPLES), each.distill, each.reselect)
            runs.append(composition.distilled(planned, self.config, each.dataset, each.selection, self.at))
        return runs

    def evaluate(self, what: str, runs: Sequence[tuple[str, Distillation]], config: EvaluateConfig) -> list[str]:
        """Likewise."""
        found = []
        for run, each in runs:
            sets = [(synthetic_uri(run), each.arm, each.number)]
            found += composition.sets_evaluated(each.dataset, sets, each.distill.ipc, config, self.at)
        return found

    def tell(self, sentence: str) -> None:
        """Nobody listens: what a call does is shown by its progress."""


def resolved(config: PipelineConfig, dataset_uri: str, at: Place) -> tuple[PipelineConfig, str | None]:
    """The configuration with numbers where it said `search`, and the URI of the search; None if there was none to do."""
    if not asks(config):
        return config, None
    check_fit(tentative(config), dataset_uri)
    found = halving.known_search(config, dataset_uri, at.root)
    if found is None:
        grid = config.search
        held_out = hold_out(dataset_uri, grid.held_out, grid.seed, at.root, at.watch.step("holding samples out"))
        found = halving.search(config, dataset_uri, held_out, at.root, Here(config, at))
    return answered(config, found), found
