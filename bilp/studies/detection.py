"""How well scores tell which labels are wrong, where labels were made wrong on purpose: rows of `bilp.studies.study_part.DETECTION`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import SelectionFacts, SummaryFacts
from bilp.artifacts.run_layout import ITE_TABLE, RESELECT, reselect_uri
from bilp.artifacts.tables import ITE, SELECTION
from bilp.config.criteria import CRITERIA
from bilp.distill import open_run
from bilp.pruning.prune import FILE as SELECTION_FILE
from bilp.pruning.prune import KIND as SELECTION_KIND
from bilp.scoring.summary import criterion_scores, open_summary
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_plan import Group
from bilp.truth.metrics import auprc, auroc, precision_at_errors
from bilp.truth.table import Truth, open_truth

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
NO_SELECTION = -1


def detected(outcomes: Sequence[tuple[Group, Outcome]]) -> list[dict[str, Any]]:
    """Every score of every group, each once; nothing where no label was made wrong on purpose."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for group, outcome in outcomes:
        truth = None if outcome.record is None else open_truth(outcome.record)
        if truth is None or not truth.errors:
            continue
        for row in (*_of_scores(outcome, truth), *_of_effects(group, outcome, truth)):
            there = found.setdefault((row["arm"], row["score"]), row)
            if there["kept"] == NO_SELECTION:
                found[row["arm"], row["score"]] = row
    return list(found.values())


def _of_scores(outcome: Outcome, truth: Truth) -> Iterator[dict[str, Any]]:
    """Of every criterion that the summary of scores has, high where its entry says that samples are dropped."""
    if outcome.scores is None:
        return
    summary = open_summary(outcome.scores, truth.fingerprint)
    selected = None if outcome.selection is None else open_artifact(outcome.selection, SELECTION_KIND)
    criterion = None if selected is None else selected.stated(SelectionFacts).criterion
    for name in summary.stated(SummaryFacts).criteria:
        scores = criterion_scores(summary, name)
        if not np.isfinite(scores).all():  # not recorded
            continue
        kept = _kept(selected, truth) if selected is not None and name == criterion else {}
        yield _row("", name, scores if CRITERIA[name].drop == "high" else -scores, truth.wrong, kept)


def _kept(selection: Artifact, truth: Truth) -> dict[str, int]:
    kept = selection.table(SELECTION_FILE, SELECTION, rows=len(truth))["kept"].to_numpy()
    return {"kept": int(kept.sum()), "wrong_kept": int((kept & truth.wrong).sum())}


def _of_effects(group: Group, outcome: Outcome, truth: Truth) -> Iterator[dict[str, Any]]:
    """Of what adaptive pruning ranked samples by: the place within its class, as a share, averaged over rounds."""
    for inner, runs in outcome.runs.items():
        for uri in runs:
            run = open_run(uri)
            places = [_places(found, truth) for number in range(1, run.distill.rounds + 1) if (found := _reselected(uri, number))]
            if not places:
                continue
            measured = ~np.isnan(places).all(axis=0)
            mean = np.nanmean(np.asarray(places)[:, measured], axis=0)
            yield _row(group.arms[inner], run.reselect.score, mean, truth.wrong[measured], {})


def _reselected(run: str, number: int) -> Artifact | None:
    return find(reselect_uri(run, number), RESELECT)


def _places(reselected: Artifact, truth: Truth) -> Floats:
    """Where each sample stands among those of its class that were measured, from 0 to 1, `[N]`; NaN for others."""
    table = reselected.table(ITE_TABLE, ITE, below={"sample_id": len(truth)})
    found = np.full(len(truth), np.nan)
    ids, labels, values = (table[name].to_numpy() for name in ("sample_id", "label", "ite"))
    for label in np.unique(labels):
        members = ids[labels == label]
        order = np.argsort(np.argsort(values[labels == label], kind="stable"), kind="stable")
        found[members] = (order + 0.5) / len(members)
    return found


def _row(arm: str, score: str, values: Floats, wrong: Mask, kept: Mapping[str, int]) -> dict[str, Any]:
    return {
        "arm": arm,
        "score": score,
        "samples": len(wrong),
        "wrong": int(wrong.sum()),
        "auroc": auroc(values, wrong),
        "auprc": auprc(values, wrong),
        "precision": precision_at_errors(values, wrong),
        "kept": kept.get("kept", NO_SELECTION),
        "wrong_kept": kept.get("wrong_kept", NO_SELECTION),
    }
