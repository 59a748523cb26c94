"""Stages carried out by Prefect: units go to workers where there are any."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.artifacts.run_layout import synthetic_uri
from bilp.config import EvaluateConfig, ScoreConfig
from bilp.config.arms import needs_teacher
from bilp.search.carrier import Distillation
from bilp.teachers.supplied import named
from flows.score import score
from flows.taught import taught
from flows.units.execute import execute
from flows.units.table import distill_run, evaluate_synthetic
from tasks import stages, terminal
from tasks.run_display import log


class FlowCarrier:
    """A `bilp.search.carrier.Carrier`, to be used inside of a flow."""

    def __init__(self, root: str) -> None:
        """Results lie below `root`."""
        self.root = root

    def score(self, dataset: str, config: ScoreConfig) -> str:
        """As the stage score."""
        return score(dataset, config, self.root)

    def distill(self, what: str, wanted: Sequence[Distillation]) -> list[str]:
        """All are registered, then carried out side by side."""
        runs = [stages.start_run(each.dataset, each.selection, each.distill, each.reselect, self.root, each.label) for each in wanted]
        calls = [distill_run.call(self.root, run_uri=run, label=each.label) for run, each in dict(zip(runs, wanted, strict=True)).items()]
        execute(f"{what}: distill {len(calls)} runs", calls)
        return runs

    def evaluate(self, what: str, runs: Sequence[tuple[str, Distillation]], config: EvaluateConfig) -> list[str]:
        """Each set is a unit."""
        config = named(config)
        if needs_teacher(config):
            for dataset in dict.fromkeys(each.dataset for _, each in runs):
                taught(dataset, config, self.root)
        calls = [
            evaluate_synthetic.call(
                self.root, dataset_uri=each.dataset, synthetic_uri=synthetic_uri(run), arm=each.arm, experiment=each.number, config=config
            )
            for run, each in runs
        ]
        return execute(f"{what}: evaluate {len(calls)} sets", calls)

    def tell(self, sentence: str) -> None:
        """At the terminal, and in the log of the run."""
        terminal.say(f"          {sentence}")
        log(sentence)
