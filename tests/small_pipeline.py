"""A whole pipeline on a small part of scikit-learn's digits, by the real stage functions, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bilp.config import METHODS, PipelineConfig
from bilp.config.arms import needs_selection, planned_runs, teacher_learns
from bilp.data import read_source
from bilp.data.ingestion import dataset_of
from bilp.distill import distill_round, finish_run, pretrain_network, reselect_round, start_run
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, train_teacher
from bilp.pruning.prune import prune
from bilp.report import report
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial

NETWORK = {"width": 8, "depth": 2}


def small_config(**given: Any) -> PipelineConfig:
    """Dials as given; everything as small as it can be and still mean something."""
    settings: dict[str, Any] = {
        "dataset": "digits",
        "method": "dm",
        "ipc": 1,
        "keep": 0.7,
        "beta": 0.2,
        "score": {"trials": 2, "epochs": 2, "init_epochs": 2, "network": NETWORK},
        "reselect": {"candidates_per_class": 40},
        "distill": {"iterations": 9, "rounds": 3, "batch_real": 32, "network": NETWORK},
        "evaluate": {"networks": [NETWORK], "seeds": 3, "epochs": 20, "full_epochs": 2},
        "report": {"samples_per_class": 3},
    }
    return PipelineConfig.model_validate(settings | given)


@dataclass(frozen=True)
class Outcome:
    """What the stages made: the arguments of `report`."""

    config: PipelineConfig
    dataset: str
    record: str
    scores: str | None
    selection: str | None
    runs: dict[str, list[str]]
    evaluations: list[str]
    root: str

    def page(self, origins: dict[str, str] | None = None, **changed: Any) -> str:
        """URI of the page, of this outcome or with parts of it `changed`."""
        it = replace(self, **changed)
        return report(it.config, it.dataset, it.scores, it.selection, it.runs, it.evaluations, it.root, origins, it.record)


def run_pipeline(config: PipelineConfig, root: str) -> Outcome:
    """Every stage but the report."""
    record = read_source(config.ingest, root)
    dataset = dataset_of(record, config.ingest)
    scores = selection = None
    if needs_selection(config):
        for trial in range(config.score.trials):
            score_trial(dataset, config.score, trial, root)
        scores = summarize(dataset, config.score, root)
        selection = prune(dataset, scores, config.prune, root)
    runs: dict[str, list[str]] = {}
    evaluations = [evaluate_baseline(dataset, name, config.ipc, config.evaluate, root) for name in config.evaluate.baselines]
    for plan in planned_runs(config):
        teacher = None
        if METHODS[config.method].needs_teacher:
            learned = selection if plan.static and teacher_learns(config, plan.chosen) == plan.chosen else None
            teacher = train_teacher(dataset, config.evaluate.teacher, config.evaluate.seed, root, selection_uri=learned)
        run = start_run(dataset, selection if plan.static else None, plan.distill, plan.reselect, root, None, teacher)
        for number in range(plan.distill.pretrained.networks):
            pretrain_network(run, number)
        for number in range(1, plan.distill.rounds + 1):
            reselect_round(run, number)
            distill_round(run, number)
        evaluations.append(evaluate_synthetic(dataset, finish_run(run), plan.arm, plan.experiment, config.evaluate, root))
        runs.setdefault(plan.arm, []).append(run)
    return Outcome(config, dataset, record, scores, selection, runs, evaluations, root)
