"""What a report says at its top, read from the tables and facts that its page rests on: neither images nor the page are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bilp import notices
from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.called import speaking_of_samples
from bilp.artifacts.facts import ReselectFacts, RoundFacts, SelectionFacts
from bilp.artifacts.report_places import FILE, KIND
from bilp.artifacts.run_layout import RESELECT, ROUND, SYNTHETIC, reselect_uri, round_uri
from bilp.config import METHODS, PipelineConfig
from bilp.config.arm_entries import leading
from bilp.data import open_dataset
from bilp.distill import open_run
from bilp.evaluate.results import KIND as EVALUATION
from bilp.evaluate.results import evaluation_rows
from bilp.pruning.prune import KIND as SELECTION
from bilp.report.accuracy import AccuracyRow, accuracy
from bilp.report.comparison import Training
from bilp.report.decisions import Decisions, round_shares
from bilp.report.heading import sentence, title
from bilp.report.verdict import Amounts, main_arm
from bilp.report.wording import arm_place, arm_words
from bilp.storage.objects import Uri, as_uri


@dataclass(frozen=True)
class Headline:
    """The title, the sentence and the table of accuracies of a report; `pictured` is the synthetic set that the page is about."""

    title: str
    sentence: str
    rows: tuple[AccuracyRow, ...]
    main: str | None
    """Title of the arm that the sentence is about."""
    pictured: str | None


def headline(report_uri: Uri, config: PipelineConfig | None = None) -> Headline:
    """What the report says whose report.html, or whose folder, lies at the URI; `config` is what it was made of, if that is at hand.

    Raises MissingArtifact or DamagedArtifact.
    """
    report = open_artifact(as_uri(report_uri).removesuffix(f"/{FILE}"), KIND)
    if config is None:
        with notices.reading_what_is_stored():
            config = PipelineConfig.model_validate(report.manifest.config)
    with speaking_of_samples(report):
        parents, sets = report.parents, _synthetic_sets(report.parents)
        dataset = open_dataset(parents["dataset"], parents.get("source"))  # the same pixels may be known under several names
        rows = [Training(**row) for uri in _evaluations(parents) for row in evaluation_rows(open_artifact(uri, EVALUATION))]
        amounts = Amounts(config.ipc * dataset.classes, len(dataset.train), _static_share(parents), _adaptive_share(sets))
        table, arm = accuracy(rows, adaptive=METHODS[config.method].adaptive), main_arm(rows)
        shown = tuple(table.rows) if table else ()
        pictured = next((uri for (of, _), uri in sets.items() if of == arm), next(iter(sets.values()), None))
        return Headline(
            title=title(dataset.name, config),
            sentence=sentence(rows, amounts, config),
            rows=shown,
            main=None if arm is None else arm_words(arm).title,
            pictured=pictured,
        )


def _evaluations(parents: Mapping[str, str]) -> list[str]:
    found = [open_artifact(uri, EVALUATION) for role, uri in parents.items() if role.startswith("evaluation ")]
    return [artifact.uri for artifact in sorted(found, key=_place)]


def _place(evaluation: Artifact) -> tuple[int, int, str]:
    return arm_place(evaluation.fact("arm")), evaluation.fact("experiment"), evaluation.manifest.key


def _synthetic_sets(parents: Mapping[str, str]) -> dict[tuple[str, int], str]:
    """The synthetic set of each arm and experiment."""
    found = {}
    for role, uri in parents.items():
        kind, _, rest = role.partition(" ")
        arm, _, experiment = rest.rpartition(" ")
        if kind == SYNTHETIC:
            found[arm, int(experiment)] = uri
    return dict(sorted(found.items(), key=lambda item: (arm_place(item[0][0]), item[0])))


def _static_share(parents: Mapping[str, str]) -> float | None:
    if "selection" not in parents:
        return None
    facts = open_artifact(parents["selection"], SELECTION).stated(SelectionFacts)
    return 1 - facts.kept / facts.total


def _adaptive_share(sets: Mapping[tuple[str, int], str]) -> float | None:
    """The share that the page tells: the mean over the rounds of the arm that measured effects, of both levels if there is one."""
    shares: dict[str, list[float]] = {}
    for (arm, _), uri in sets.items():
        shares.setdefault(arm, []).extend(_round_shares(uri.removesuffix(f"/{SYNTHETIC}")).values())
    measured = {arm: values for arm, values in shares.items() if values}
    values = measured.get(leading(measured) or next(iter(measured), ""))
    return float(np.mean(values)) if values else None


def _round_shares(run_uri: str) -> dict[int, float]:
    """By round; empty if the run measured nothing, or is gone."""
    reselect = open_run(run_uri).reselect
    if not reselect.active:
        return {}
    shares, decisions = {}, []
    for number in range(1, open_run(run_uri).distill.rounds + 1):
        done, measured = find(round_uri(run_uri, number), ROUND), find(reselect_uri(run_uri, number), RESELECT)
        if done is None or measured is None:
            continue
        shares[number] = measured.stated(ReselectFacts).dropped_share
        facts = done.stated(RoundFacts)
        if facts.decided_per_class is not None:
            decided, dropped = (np.array(counts, dtype=np.int64) for counts in (facts.decided_per_class, facts.dropped_per_class))
            decisions.append(Decisions(number, decided, dropped, facts.quantile_classes or ()))
    return shares | round_shares(decisions)
