"""The steps that a command consists of, as far as its configuration tells before anything is done."""

from __future__ import annotations

from collections.abc import Iterator

from bilp.config import PipelineConfig
from bilp.config.arms import (
    evaluation_of,
    needs_experts,
    needs_scores,
    needs_selection,
    planned_runs,
    ranks_samples,
    runs_ask_ranking,
    samples_of_teachers,
)
from bilp.search.candidates import asks, plan
from tasks.estimate import Planned
from tasks.steps import STAGES, evaluation_kind


def planned_steps(config: PipelineConfig, last: str = STAGES[-1]) -> list[Planned]:
    """Every step up to the stage `last`; what differs in time is of different kinds, as in `tasks.steps`."""
    most = STAGES.index(last)
    return [step for step in _steps(config, last) if STAGES.index(step.stage) <= most]


def _steps(config: PipelineConfig, last: str) -> Iterator[Planned]:
    runs = planned_runs(config)
    yield Planned("ingest", "")
    yield from _search(config)
    if ranks_samples(config) or last in ("score", "prune"):
        if needs_scores(config.prune) or last == "score":
            yield Planned("score", "trial", config.score.trials) if config.score.extend is None else Planned("score", "")
        yield Planned("prune", "")
    if runs_ask_ranking(config) and needs_selection(config) and last not in ("score", "prune"):
        yield Planned("prune", "")
    if config.reselect.asks_auto and not (ranks_samples(config) and needs_scores(config.prune)) and last not in ("score", "prune"):
        yield Planned("score", "trial", config.score.trials)
    curriculum = config.experts.curriculum
    if needs_experts(config) and curriculum.criterion is not None:
        yield Planned("score", "trial", curriculum.score.trials)
    if needs_experts(config):
        yield Planned("experts", "expert", config.experts.count * len({run.chosen for run in runs}))
    shards = config.distill.shards
    yield Planned("distill", "round", sum(run.distill.rounds * shards for run in runs))
    measuring = sum(run.distill.rounds * shards for run in runs if run.reselect.active)
    if measuring:
        yield Planned("distill", "measuring effects", measuring)
    yield from _evaluations(config, len(runs))
    if needs_selection(config) and needs_scores(config.prune):
        yield Planned("suspects", "")
    yield Planned("report", "")


def _search(config: PipelineConfig) -> Iterator[Planned]:
    """The proxies of a search, if it is asked for one; kinds are those of `tasks.steps.placed`."""
    if not asks(config):
        return
    found = plan(config)
    runs = found.most_runs(config.search.distillations)
    if found.static and needs_scores(config.prune):
        yield Planned("search", "search: trial", config.score.trials)
    yield Planned("search", "search: round", runs)
    if found.adaptive:
        yield Planned("search", "search: measuring effects", runs)
    yield Planned("search", "search: evaluation", runs)


def _evaluations(config: PipelineConfig, runs: int) -> Iterator[Planned]:
    """How many robustness scores add is not known before; until they are made, more than what is known remains."""
    teachers = samples_of_teachers(config)
    if teachers:
        yield Planned("evaluate", "train teacher", len(teachers))
    for baseline in evaluation_of(config).baselines:
        yield Planned("evaluate", evaluation_kind(baseline))
    yield Planned("evaluate", "evaluation", runs)
    if config.evaluate.robustness:
        yield Planned("evaluate", "robustness scores")
