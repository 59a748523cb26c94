"""The whole comparison in one call: the pipeline, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilp.api.distilled import Made, load_distilled
from bilp.api.evaluated import Evaluation, Report
from bilp.api.ingested import Dataset, as_data, read
from bilp.api.keywords import Given, configured, for_device, for_images
from bilp.api.pruned import Scores, Selection
from bilp.api.watching import watched
from bilp.api.whole_stages import page_of, up_to_evaluation
from bilp.api.workspace import Place, place_at, storage
from bilp.config import PipelineConfig
from bilp.config.arm_entries import ARMS
from bilp.config.nested import as_plain, merge
from bilp.errors import ConfigError
from bilp.evaluate import summary
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
        base = for_device(merge(as_plain(dict(settings or {})), as_plain(given)), device)
    if data is not None:
        data = as_data(data, root)
        base = merge(base, data.given)
    whole = settings if isinstance(settings, PipelineConfig) else None
    config = whole or (configured(base) if data is None else for_images(base, data.config))
    if data is None:
        data = _ingested(config, base, storage(root))
    with place_at(data.root, device) as place:
        return _reported(config, data, base, place)


def _ingested(config: PipelineConfig, given: Given, root: str) -> Dataset:
    with watched() as watch:
        record, uri = read(config.ingest, root, watch)
    return Dataset(uri, record, config.ingest, given)


def _reported(config: PipelineConfig, data: Dataset, given: Given, at: Place) -> Report:
    """Everything after the real images, as objects that know what they were made of."""
    done = up_to_evaluation(config, data.uri, data.record_uri, at)
    page = page_of(config, done, at)
    scores = None if done.scores is None else Scores(done.scores, data, given)
    selection = None if done.selection is None else Selection(done.selection, data, scores, given)
    sets = [
        load_distilled(one).made_of(Made(data, selection if ARMS[arm].choice.static else None, arm, given))
        for arm, of_arm in done.runs.items()
        for one in of_arm
    ]
    uris = list(done.evaluations)
    for one, uri in zip(sets, uris[len(uris) - len(sets) :], strict=True):
        one.accuracy = summary([uri])[0].mean
    return Report(page, Evaluation(uris, sets, data, given), scores, selection)
