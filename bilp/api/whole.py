"""The whole comparison in one call: the pipeline, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilp.api import composition
from bilp.api.distilled import Made, load_distilled
from bilp.api.evaluated import Evaluation, Report
from bilp.api.here import resolved
from bilp.api.ingested import Dataset, as_data, read
from bilp.api.keywords import Given, configured, for_images
from bilp.api.pruned import Scores, Selection
from bilp.api.watching import watched
from bilp.api.workspace import Place, place_at, storage
from bilp.config import PipelineConfig
from bilp.config.arm_entries import ARMS
from bilp.config.arms import distilled_arms, evaluation_of, needs_scores, needs_selection, planned_runs
from bilp.config.nested import as_plain, merge
from bilp.errors import ConfigError
from bilp.evaluate import summary
from bilp.preflight import check_choices, check_fit
from bilp.report import report
from bilp.storage.objects import Uri


def run(
    data: Dataset | Uri | None = None,
    *,
    settings: PipelineConfig | Mapping[str, Any] | None = None,
    root: Uri | None = None,
    device: str | None = None,
    **given: Any,
) -> Report:
    """Everything from the images to the page: `run(dataset="digits", method="dm", ipc=1)`, with the results of `bilp.score` and the others.

    It publishes what the pipeline of the command line publishes, and finds what that has published.

    Args:
        data: A data set that `bilp.ingest` returned, or its path; by default the dial `dataset` says what is ingested.
        settings: A whole configuration or a mapping, as `bilp.settings` takes and returns it.
        root: The storage, by default BILP_STORAGE, or that of `data`.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        given: Dials and groups, over a mapping of settings.
    """
    if isinstance(settings, PipelineConfig) and (given or data is not None):
        raise ConfigError("settings is a whole configuration: give it alone, or make it of everything with bilp.settings(...)")
    if isinstance(settings, PipelineConfig):
        base: Given = as_plain(settings)
    else:
        base = merge(as_plain(dict(settings or {})), as_plain(given))
    if data is not None:
        data = as_data(data, root)
        base = merge(base, data.given)
    whole = settings if isinstance(settings, PipelineConfig) else None
    config = whole or (configured(base) if data is None else for_images(base, data.config))
    if data is None:
        data = _ingested(config, base, storage(root))
    check_fit(config, data.uri)
    check_choices(config, data.record_uri)
    with place_at(data.root, device) as place:
        config, search = resolved(config, data.uri, place)
        check_fit(config, data.uri)
        return _reported(config, data, base, place, search)


def _ingested(config: PipelineConfig, given: Given, root: str) -> Dataset:
    with watched() as watch:
        record, uri = read(config.ingest, root, watch)
    return Dataset(uri, record, config.ingest, given)


def _reported(config: PipelineConfig, data: Dataset, given: Given, at: Place, search: str | None) -> Report:
    selection = _selected(config, data, given, at) if needs_selection(config) else None
    scores = None if selection is None else selection.scores
    config = composition.with_found_reselect(config, data.uri, None if scores is None else scores.uri, at)
    kept = None if selection is None else selection.uri
    runs: dict[str, list[str]] = {arm: [] for arm in distilled_arms(config)}
    for planned in planned_runs(config):
        chosen = composition.chosen(planned, data.uri, data.record_uri, kept, at)
        runs[planned.arm].append(composition.distilled(planned, config, data.uri, chosen, at))
    evaluation = evaluation_of(config)
    uris = composition.evaluated(data.uri, runs, config.ipc, evaluation, at, kept)
    shown = list(uris)
    if config.evaluate.robustness:
        shown.append(composition.scores_of_robustness(data.uri, runs, config.ipc, config.evaluate, at))
    chosen, scored = (None if found is None else found.uri for found in (selection, scores))
    suspicious = composition.suspects_of_run(data.uri, data.record_uri, scored, chosen, runs, at)
    sources = (data.uri, scored, chosen, runs, shown, data.root)
    page = report(config, *sources, record_uri=data.record_uri, suspects_uri=suspicious, search_uri=search)
    sets = [
        load_distilled(one).made_of(Made(data, selection if ARMS[arm].choice.static else None, arm, given))
        for arm, of_arm in runs.items()
        for one in of_arm
    ]
    for one, uri in zip(sets, uris[len(evaluation.baselines) :], strict=True):
        one.accuracy = summary([uri])[0].mean
    return Report(page, Evaluation(uris, sets, data, given), scores, selection)


def _selected(config: PipelineConfig, data: Dataset, given: Given, at: Place) -> Selection:
    scores = None
    if needs_scores(config.prune):
        scores = Scores(composition.scored(data.uri, config.score, at), data, given)
    return Selection(composition.pruned(data.uri, None if scores is None else scores.uri, config.prune, at), data, scores, given)
