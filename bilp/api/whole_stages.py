"""The stages of a pipeline one after the other in this process, as `flows.pipeline` has them: for `bilp.run` and for `bilp.study`."""

from __future__ import annotations

from bilp import notices
from bilp.api import composition
from bilp.api.here import resolved
from bilp.api.workspace import Place
from bilp.config import PipelineConfig
from bilp.config.arms import baselines_need_selection, distilled_arms, evaluation_of, needs_scores, needs_selection, planned_runs
from bilp.preflight import adaptive_reach, check_choices, check_fit
from bilp.report import report
from bilp.studies.pipeline_outcome import Outcome


def up_to_evaluation(config: PipelineConfig, dataset_uri: str, record_uri: str | None, at: Place) -> Outcome:
    """All stages between the real images and the page. Raises ConfigError, before any work, for settings that do not fit the images."""
    check_fit(config, dataset_uri)
    check_choices(config, record_uri)
    config, search = resolved(config, dataset_uri, at)
    check_fit(config, dataset_uri)
    for warning in adaptive_reach(config, dataset_uri).warnings:
        notices.say_once(warning)
    scores, selection = scored_and_pruned(config, dataset_uri, at) if needs_selection(config) else (None, None)
    config = composition.with_found_reselect(config, dataset_uri, scores, at)
    runs: dict[str, list[str]] = {arm: [] for arm in distilled_arms(config)}
    for planned in planned_runs(config):
        chosen = composition.chosen(planned, dataset_uri, record_uri, selection, at)
        runs[planned.arm].append(composition.distilled(planned, config, dataset_uri, chosen, at))
    evaluations = composition.evaluated(dataset_uri, runs, config.ipc, evaluation_of(config), at, selection)
    return Outcome(dataset_uri, record_uri, scores, selection, runs, evaluations, search=search, config=config)


def baselines_alone(config: PipelineConfig, dataset_uri: str, record_uri: str, at: Place) -> Outcome:
    """Networks trained on real images alone, whatever arms the settings name; some need the static selection."""
    scores = selection = None
    if baselines_need_selection(config.evaluate):
        config, _ = resolved(config, dataset_uri, at)
        scores, selection = scored_and_pruned(config, dataset_uri, at)
    evaluations = composition.evaluated(dataset_uri, {}, config.ipc, config.evaluate, at, selection)
    return Outcome(dataset_uri, record_uri, scores, selection, evaluations=evaluations)


def scored_and_pruned(config: PipelineConfig, dataset_uri: str, at: Place) -> tuple[str | None, str]:
    """URIs of the scores, if the criterion needs them, and of the selection."""
    scores = composition.scored(dataset_uri, config.score, at) if needs_scores(config.prune) else None
    return scores, composition.pruned(dataset_uri, scores, config.prune, at)


def page_of(config: PipelineConfig, done: Outcome, at: Place) -> str:
    """The URI of the page about what was computed."""
    config, runs, shown = done.config or config, dict(done.runs), list(done.evaluations)
    if config.evaluate.robustness:
        shown.append(composition.scores_of_robustness(done.dataset, runs, config.ipc, config.evaluate, at))
    suspicious = composition.suspects_of_run(done.dataset, done.record, done.scores, done.selection, runs, at)
    sources = (done.dataset, done.scores, done.selection, runs, shown, at.root)
    return report(config, *sources, record_uri=done.record, suspects_uri=suspicious, search_uri=done.search)
