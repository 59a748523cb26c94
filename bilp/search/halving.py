"""The search itself: rung after rung, each candidate distilled and judged, the better half kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.run_layout import SYNTHETIC, synthetic_uri
from bilp.config import PipelineConfig, ReselectConfig
from bilp.config.arms import needs_scores
from bilp.data import open_dataset
from bilp.distill.checks import check_pool
from bilp.errors import ConfigError
from bilp.evaluate.rows import KIND as EVALUATION
from bilp.evaluate.rows import evaluation_rows
from bilp.pruning.prune import prune
from bilp.pruning.selected import real_pool
from bilp.scoring.summary import KIND as SUMMARY
from bilp.scoring.trial_record import TRIAL
from bilp.search import cost
from bilp.search.candidates import Plan, Rung, plan, survivors
from bilp.search.carrier import Carrier, Distillation
from bilp.search.found import Tried, key_of, known, publish_search, uri_of
from bilp.search.judging import Accuracies, Judgment, chosen, judge
from bilp.text.sample_words import spoken

PROXY = "proxy"
"""The arm of the sets that a search distills."""


@dataclass
class _Work:
    """What the search rests on so far, for its cost."""

    artifacts: list[Artifact]
    runs: list[str]


def known_search(config: PipelineConfig, dataset_uri: str, root: str) -> str | None:
    """The URI of the search that this configuration asks for, if it was carried out."""
    key = key_of(plan(config), config, open_dataset(dataset_uri).fingerprint)
    return uri_of(root, key) if known(root, key) else None


def search(config: PipelineConfig, dataset_uri: str, held_out_uri: str, root: str, carrier: Carrier) -> str:
    """Find what `config` says `search` of; the URI of the search, whose artifact tells the decision and every step to it.

    It may be killed at any time: each score, distillation and evaluation is an artifact that is found again.
    Raises ConfigError if no candidate but the one that prunes least leaves enough samples.

    Args:
        config: The pipeline's.
        dataset_uri: The data set, by which the search is known; no image of it is read.
        held_out_uri: What `bilp.search.held_out.hold_out` made of it.
        root: Where results lie.
        carrier: Carries out the stages.
    """
    found, dataset = plan(config), open_dataset(dataset_uri)
    key = key_of(found, config, dataset.fingerprint)
    carrier.tell(cost.stated(found, config, dataset.classes, len(dataset.train)))
    work = _Work([], [])
    scores = None
    if found.static and needs_scores(config.prune):
        scores = carrier.score(held_out_uri, config.score)
        summary = open_artifact(scores, SUMMARY)
        trials = [open_artifact(uri, TRIAL) for uri in dict.fromkeys(summary.parents.values()) if "/trials/" in uri]
        work.artifacts += [summary, *trials]
    selections = _selections(found, config, (held_out_uri, scores), root, carrier)
    alive = list(selections)
    tried: list[Tried] = []
    for rung in found.rungs:
        judged = judge(_accuracies(rung, alive, found, config, held_out_uri, selections, carrier, work), found.reference)
        after = len(alive) if rung is found.rungs[-1] else found.rungs[rung.number].candidates
        going_on = survivors([each.candidate for each in judged], after, found.reference)
        tried += [_tried(rung, each, found, each.candidate in going_on, rung is found.rungs[-1]) for each in judged]
        alive = going_on
    decision = chosen(judged, found.reference)
    seconds = cost.seconds(work.artifacts, work.runs)
    return publish_search(root, key, found, config, tried, decision, dataset_uri, dataset.fingerprint, seconds)


def _selections(
    found: Plan, config: PipelineConfig, scored: tuple[str, str | None], root: str, carrier: Carrier
) -> Mapping[int, str | None]:
    """The selection of each candidate; those that leave too few of a class are out, which is said."""
    if not found.static:
        return dict.fromkeys(range(len(found.candidates)))
    selections: dict[int, str | None] = {}
    dataset = open_dataset(scored[0])
    for number, candidate in enumerate(found.candidates):
        try:
            selection = prune(*scored, candidate.prune(config.prune), root)
            check_pool(real_pool(dataset, selection), found.distill, _reselect(found, number, config))
            selections[number] = selection
        except ConfigError as error:
            if number == found.reference:
                raise
            carrier.tell(f"{candidate.words} is not tried: {error}")
    if len(selections) < min(2, len(found.candidates)):
        raise ConfigError(
            spoken("no other share leaves enough images to be tried: list larger ones in search.keep, or give keep as a number")
        )
    return selections


def _reselect(found: Plan, number: int, config: PipelineConfig) -> ReselectConfig:
    """Adaptive pruning of the proxies of a candidate."""
    return found.candidates[number].reselect(config.reselect) if found.adaptive else ReselectConfig(beta=0.0)


def _accuracies(
    rung: Rung,
    alive: Sequence[int],
    found: Plan,
    config: PipelineConfig,
    held_out_uri: str,
    selections: Mapping[int, str | None],
    carrier: Carrier,
    work: _Work,
) -> dict[int, Accuracies]:
    """Accuracy of every candidate of a rung on the held-out images.

    Args:
        rung: Which.
        alive: Candidates that take part.
        found: The plan.
        config: The pipeline's.
        held_out_uri: The data set without the images that are held out, which are its test split.
        selections: Of the candidates.
        carrier: Carries out the stages.
        work: What was done is added to it.
    """
    wanted = [
        Distillation(
            held_out_uri,
            selections[number],
            found.proxy(rung, k),
            _reselect(found, number, config),
            PROXY,
            f"{found.candidates[number].words}, rung {rung.number}",
            k,
        )
        for number in alive
        for k in range(config.search.distillations)
    ]
    what = f"rung {rung.number} of {len(found.rungs)}"
    runs = carrier.distill(what, wanted)
    evaluations = [open_artifact(uri, EVALUATION) for uri in carrier.evaluate(what, list(zip(runs, wanted, strict=True)), found.evaluate)]
    work.runs += runs
    work.artifacts += [*evaluations, *(open_artifact(synthetic_uri(run), SYNTHETIC) for run in runs)]
    rows = [sorted(evaluation_rows(each), key=lambda row: int(row["seed"])) for each in evaluations]
    values = np.array([[float(row["accuracy"]) for row in of_set] for of_set in rows])
    return dict(zip(alive, np.split(values, len(alive)), strict=True))


def _tried(rung: Rung, judgment: Judgment, found: Plan, goes_on: bool, last: bool) -> Tried:
    return Tried(
        rung=rung.number,
        candidate=judgment.candidate,
        iterations=rung.iterations,
        accuracy=judgment.accuracy,
        difference=judgment.difference,
        error=judgment.error,
        goes_on=goes_on and not last,
    )
