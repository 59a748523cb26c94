"""Section: training images whose label is probably wrong, and how well that can be told where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.facts import ScoreQuality, SuspectsFacts
from bilp.config.suspects import LABEL_SCORES, LabelScore
from bilp.data import Dataset
from bilp.report.galleries import Picture, picture
from bilp.report.samples import fate
from bilp.report.wording import count, of_class, share
from bilp.suspects.stage import FILE
from bilp.suspects.suspects_table import SUSPECTS
from bilp.text.sample_words import spoken

SHOWN = 24


@dataclass(frozen=True)
class SuspectRow:
    """One image."""

    picture: Picture
    rank: str
    given: str
    predicted: str
    score: str
    fate: str
    file: str


@dataclass(frozen=True)
class QualityRow:
    """How well a score finds labels that are known to be wrong."""

    title: str
    auroc: str
    auprc: str
    precision: str


@dataclass(frozen=True)
class Suspects:
    """The section's content; `errors` and `quality` are empty where nobody knows the truth."""

    rows: tuple[SuspectRow, ...]
    estimated: str
    share: str
    by: LabelScore
    trainings: str
    duplicates: str
    errors: str
    quality: tuple[QualityRow, ...]
    named: bool


def suspects(artifact: Artifact | None, dataset: Dataset) -> Suspects | None:
    """None where no list was made."""
    if artifact is None:
        return None
    facts = artifact.stated(SuspectsFacts)
    ranked = artifact.table(FILE, SUSPECTS, rows=facts.samples).sort_by("rank")
    listed = [row for row in ranked.slice(0, SHOWN).to_pylist() if not row["reviewed"]]  # what was reviewed ranks last
    duplicates = f"{count(facts.near_duplicates, 'image')} have equal or nearly equal ones." if facts.near_duplicates else ""
    return Suspects(
        tuple(_row(row, dataset) for row in listed),
        f"{facts.estimated_errors:,} of {facts.samples:,}",
        share(facts.estimated_errors / facts.samples),
        LABEL_SCORES.known(facts.by),
        f"{count(facts.trials, 'training')} of {count(facts.epochs, 'epoch')}",
        duplicates,
        "" if facts.errors is None else f"{facts.errors:,}",
        tuple(_quality(each, facts.samples) for each in facts.quality),
        dataset.record is not None,
    )


def _row(row: Mapping[str, Any], dataset: Dataset) -> SuspectRow:
    image = dataset.train.images(torch.tensor([row["sample_id"]])).numpy()[0]
    shown = picture(image, f"sample {row['sample_id']} of {of_class(row['given_label'])}, as in this row")
    words = fate(row["kept_by_score"] is not False, row["rounds_dropped"] or 0, row["rounds_measured"] or 0)
    file = row["path"] or f"sample {row['sample_id']}"
    return SuspectRow(shown, str(row["rank"]), row["given_label"], row["predicted_label"], f"{row['label_score']:.3f}", words, file)


def _quality(each: ScoreQuality, samples: int) -> QualityRow:
    named = each.score.replace("_", " ")
    title = LABEL_SCORES[each.score].title if each.score in LABEL_SCORES else f"{named} on the {spoken('synthetic images')}"
    some = "" if each.samples == samples else spoken(f", of the {each.samples:,} images that have it")
    values = (f"{value:.3f}" for value in (each.auroc, each.auprc, each.precision_at_errors))
    return QualityRow(f"{title[0].upper()}{title[1:]}{some}", *values)
