"""The stages as functions, each of which takes what the one before returned. What was computed before is found, not repeated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bilp.api import composition
from bilp.api.distilled import DistilledSet, Made, as_set
from bilp.api.evaluated import Evaluation, Report
from bilp.api.here import resolved
from bilp.api.ingested import Dataset, as_data, read
from bilp.api.keywords import configured, for_device, for_images, found_numbers, merged, prunes_adaptively
from bilp.api.naming import named_source
from bilp.api.pruned import Scores, Selection, as_selection, scored_or_data
from bilp.api.watching import watched
from bilp.api.workspace import place_at, storage
from bilp.config.arms import arm_of, needs_scores, planned_runs
from bilp.config.nested import merge
from bilp.config.sources import OWN
from bilp.data.sources.arrays import Arrays, hold
from bilp.data.sources.given_arrays import Layout, arrays_of, items_of
from bilp.errors import ConfigError
from bilp.evaluate import summary
from bilp.preflight import check_protocol
from bilp.report import report as write_page
from bilp.search.candidates import asks
from bilp.storage.objects import Uri

if TYPE_CHECKING:
    import torch

HELD, HELD_CLIPS = (next(entry.name for entry in OWN if entry.from_python and entry.media == media) for media in ("image", "video"))
"""The source of what Python holds."""
IMPORTED = "imported"
"""The arm of a set that no run distilled."""


def ingest(
    source: Uri | torch.utils.data.Dataset[Any] | None = None,
    *,
    images: Any = None,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    test: Any = None,
    layout: Layout | None = None,
    root: Uri | None = None,
    **settings: Any,
) -> Dataset:
    """Real images, brought into the storage: `ingest("digits")`, `ingest("photos/")`, `ingest(images=x, labels=y)`, `ingest(dataset)`.

    Raises ConfigError or DataError, in one line, for what is no source, and for images and labels that do not belong together.

    Args:
        source: The name of a built-in data set, a folder of images or of Parquet files, or a torch data set of (image, label).
        images: uint8 `[N, H, W]`, `[N, C, H, W]` or `[N, H, W, C]`, NumPy or torch; clips `[N, T, C, H, W]` or `[N, T, H, W, C]`.
        labels: `[N]`, whole numbers from 0 or names of classes.
        class_names: In label order, of arrays and of a torch data set.
        test: The test split: a pair of images and labels, or a torch data set; by default one is held out by a seed.
        layout: NHW, NCHW or NHWC, of clips NTCHW or NTHWC, where the shape leaves it open.
        root: The storage, by default BILP_STORAGE.
        settings: Of ingestion, such as resolution=32.
    """
    held: Arrays | None = None
    if images is not None or labels is not None:
        if source is not None or images is None or labels is None:
            raise ConfigError("ingest takes a source, or images together with labels: give one of both")
        held = arrays_of(images, labels, class_names, test, layout)
    elif source is None:
        raise ConfigError('nothing to ingest: give a source such as "digits" or a folder, a torch data set, or images and labels')
    elif not isinstance(source, str | os.PathLike):
        if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")) or hasattr(source, "shape"):
            raise ConfigError(
                f"a {type(source).__name__} is no source: give a name, a path, a torch data set with a length, or images=... and labels=..."
            )
        held = items_of(source, class_names, test)
    elif class_names is not None or test is not None or layout is not None:
        raise ConfigError("class_names, test and layout belong to arrays and torch data sets: use classes=... for files")
    if held is not None:
        given = {"dataset": HELD_CLIPS if held.clips else HELD, "ingest": {"uri": hold(held)}}
    else:
        given = named_source(os.fsdecode(source), settings)  # type: ignore[arg-type]
    given = merged(given, "ingest", settings)
    config = configured(given).ingest
    place = storage(root)
    with watched() as watch:
        record, uri = read(config, place, watch)
    return Dataset(uri, record, config, given, held)


def score(data: Dataset | Uri, *, root: Uri | None = None, device: str | None = None, **settings: Any) -> Scores:
    """Scores of every training image by short trainings: `score(data, trials=3)`.

    Args:
        data: What `ingest` returned, or the path, URI or key of a data set.
        root: The storage that a key is looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        settings: Dials (method, seed, ...), groups such as prune={"criterion": ...}, and settings of scoring.
    """
    data = as_data(data, root)
    given = for_device(merged(data.given, "score", settings), device)
    config = for_images(given, data.config)
    with place_at(data.root, device) as place:
        return Scores(composition.scored(data.uri, config.score, place), data, given)


def prune(scores: Scores | Dataset | Uri, *, root: Uri | None = None, device: str | None = None, **settings: Any) -> Selection:
    """Which training images of each class are kept: `prune(scores, keep=0.8)`, or `keep="auto"`, `keep="search"`, or `rule="strata"`.

    A search tries shares by distilling and evaluating with small budgets, for the method and the networks of these settings, as `bilp run`
    does; what is distilled from the selection later has the number that was found in the place of the word.

    Args:
        scores: What `score` returned, or the path, URI or key of a summary of scores; for criteria that need none, the data set.
        root: The storage that a key is looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one; for rules that need features of a network.
        settings: Dials (keep, seed, ...) and settings of pruning, such as criterion="random".
    """
    if not isinstance(scores, Dataset | Scores):
        scores = scored_or_data(scores, root)
    made, data = (None, scores) if isinstance(scores, Dataset) else (scores, scores.data)
    given = for_device(merged(data.given if made is None else made.given, "prune", settings), device)
    config = for_images(given, data.config)
    if made is None and needs_scores(config.prune):
        raise ConfigError(f"criterion {config.prune.criterion} ranks by scores: give what bilp.score returns, or criterion='random'")
    scored = made.uri if made is not None and needs_scores(config.prune) else None
    with place_at(data.root, device) as place:
        if asks(config):
            asked = config
            config, _ = resolved(config, data.uri, place)
            given = found_numbers(given, asked, config)
        uri = composition.pruned(data.uri, scored, config.prune, place)
    return Selection(uri, data, made, given)


def distill(
    data: Dataset | Selection | Uri,
    *,
    selection: Selection | Uri | None = None,
    experiment: int = 0,
    root: Uri | None = None,
    device: str | None = None,
    **settings: Any,
) -> DistilledSet:
    """A synthetic set: `distill(data, method="dm", ipc=1)`. It goes on at the last round that a call before it has finished.

    With a selection, real images are what that keeps; with beta above 0, given or stated by a recipe, adaptive pruning drops that share
    of them by their causal effect. Together these are BiLP.

    Args:
        data: What `ingest` returned, or the path, URI or key of a data set.
        selection: What `prune` returned; by default all training images.
        experiment: Number of an independent repetition, whose seed is distill.seed + experiment.
        root: The storage that a key is looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        settings: Dials (method, ipc, beta, seed, ...), groups such as reselect={...}, and settings of distillation.
    """
    if isinstance(data, Selection):
        selection, data = data, data.data
    data = as_data(data, root)
    kept = None if selection is None else as_selection(selection, root)
    given = for_device(merged(merge(data.given, {} if kept is None else kept.given), "distill", settings), device)
    adaptive = prunes_adaptively(given, data.config)
    if not adaptive:
        given.pop("beta", None)
    arm = arm_of(kept is not None, adaptive)
    config = for_images({**given, "arms": (arm,), "experiments": experiment + 1}, data.config)
    with place_at(data.root, device) as place:
        selected, scores = (None, None) if kept is None else (kept.uri, kept.scores)
        config = composition.with_found_reselect(config, data.uri, None if scores is None else scores.uri, place)
        uri = composition.distilled(planned_runs(config)[experiment], config, data.uri, selected, place)
    return as_set(uri).made_of(Made(data, kept, arm, given))


def evaluate(
    sets: DistilledSet | Uri | Sequence[DistilledSet | Uri],
    *,
    data: Dataset | Uri | None = None,
    root: Uri | None = None,
    device: str | None = None,
    **settings: Any,
) -> Evaluation:
    """Networks trained on synthetic sets, and on real images, tested on the real test images: `evaluate(result, seeds=5)`.

    Sets of the same arm are its experiments, in the order given.

    Args:
        sets: What `distill` or `load_distilled` returned, or paths, URIs or keys; one or several of the same data set.
        data: The data set, which runs know themselves and imported sets do not.
        root: The storage that keys are looked for in, by default BILP_STORAGE.
        device: cpu, cuda, ...; by default BILP_DEVICE, or a GPU if there is one.
        settings: Groups, and settings of evaluation, such as networks=[{"name": "mlp"}].
    """
    several = [sets] if isinstance(sets, DistilledSet | str | os.PathLike) else list(sets)
    if not several:
        raise ConfigError("nothing to evaluate: give at least one synthetic set")
    opened = [as_set(one, root) for one in several]
    real = as_data(data, root) if data is not None else opened[0].made.data
    arms = [IMPORTED if data is not None else one.arm for one in opened]
    given = real.given
    for one in opened if data is None else ():
        given = merge(given, one.made.given)
    given = for_device(merged(given, "evaluate", settings), device)
    config = for_images(given, real.config)
    check_protocol(config.evaluate, real.opened.shape)
    selections = [one.made.selection for one in opened] if data is None else []
    kept = next((found.uri for found in selections if found is not None), None)
    asked = [(one.uri, arm, arms[:number].count(arm)) for number, (one, arm) in enumerate(zip(opened, arms, strict=True))]
    with place_at(real.root, device) as place:
        uris = composition.sets_evaluated(real.uri, asked, int(opened[0].facts["ipc"]), config.evaluate, place, kept)
    for one, uri in zip(opened, uris[len(config.evaluate.baselines) :], strict=True):
        one.accuracy = summary([uri])[0].mean
    return Evaluation(uris, opened, real, given)


def report(evaluation: Evaluation, **changes: Any) -> Report:
    """The page about an evaluation of sets that were distilled here, with the scores and the selection that they were made with.

    Args:
        evaluation: What `evaluate` returned.
        changes: Settings of the page, such as max_classes=20.
    """
    if not isinstance(evaluation, Evaluation):
        raise ConfigError("report is about an evaluation: give what bilp.evaluate returns")
    runs: dict[str, list[str]] = {}
    selection: Selection | None = None
    for one in evaluation.sets:
        runs.setdefault(one.made.arm, []).append(one.run_uri)
        selection = selection or one.made.selection
    wanted = {"arms": tuple(runs), "experiments": max(map(len, runs.values()))}
    given = merged(evaluation.given, "report", changes)
    config = for_images(given, evaluation.data.config)
    if any(getattr(config, name) != value for name, value in wanted.items()):
        config = for_images({**given, **wanted}, evaluation.data.config)
    data, scores = evaluation.data, None if selection is None else selection.scores
    chosen, scored = (None if found is None else found.uri for found in (selection, scores))
    with place_at(data.root, None) as place:
        suspicious = composition.suspects_of_run(data.uri, data.record_uri, scored, chosen, runs, place)
    uri = write_page(
        config, data.uri, scored, chosen, runs, evaluation.uris, data.root, record_uri=data.record_uri, suspects_uri=suspicious
    )
    return Report(uri, evaluation, scores, selection)
