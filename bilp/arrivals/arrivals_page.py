"""The page and the CSV file about what came in, below the reports of a storage; both are made of stored results and may be made again."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bilp.arrivals.arrived import Arrivals, ClassCount, arrivals, class_counts, exchanged
from bilp.artifacts.artifact import Artifact, content_key, manifest_kind, open_artifact
from bilp.artifacts.facts import GrowthFacts, SummaryFacts
from bilp.artifacts.report_places import arrived
from bilp.config.criteria import LATE_LOSS
from bilp.config.shapes import sample_noun
from bilp.data import Dataset, open_dataset
from bilp.progress import Progress, silent
from bilp.report.galleries import Picture, picture
from bilp.report.wording import share
from bilp.results.pages import render
from bilp.scoring.extension import KIND, growth_uri, open_growth
from bilp.scoring.summary import KIND as SUMMARY
from bilp.storage import objects
from bilp.storage.objects import join
from bilp.text.csv_text import csv_text, plain_cell
from bilp.text.sample_words import speaking_of, spoken

SHOWN = 50
"""New images that the page lists; the CSV file has all."""
SMALL = 64
"""Pixels of a side below which enlarged images show their pixels."""
MOST_CLASSES = 1000
COLUMNS = ("sample_id", "path", "given_label", "predicted_label", "suspicious", LATE_LOSS, "aum", "known_as")


@dataclass(frozen=True)
class Arrived:
    """What is told of one version: the page's place, and its content for whoever shows it elsewhere."""

    page: str
    sentences: tuple[str, ...]
    classes: tuple[ClassCount, ...]
    found: Arrivals


def page_uri(summary_uri: str, root: str) -> str:
    """Where the page about the version lies that a summary is of."""
    summary = open_artifact(summary_uri, SUMMARY)
    return join(root, arrived(content_key("arrivals", 1, dataset=summary.stated(SummaryFacts).dataset, scores=summary.manifest.key)))


def report_arrivals(
    dataset_uri: str,
    record_uri: str,
    before_uri: str | None,
    summary_uri: str,
    root: str,
    device: str = "cpu",
    progress: Progress = silent,
) -> Arrived:
    """Write page and CSV file about what is new in a data set.

    Args:
        dataset_uri: The later version.
        record_uri: The record of its source.
        before_uri: The summary of the version before; without one all is new.
        summary_uri: Scores of the later version, whose networks were kept.
        root: Storage root.
        device: Where networks are evaluated.
        progress: Told the batches.
    """
    dataset = open_dataset(dataset_uri, record_uri)
    former = None if before_uri is None else open_artifact(before_uri, SUMMARY)
    before = None if former is None else open_dataset(former.parents["dataset"])
    with speaking_of(sample_noun(dataset.shape)):
        found = arrivals(dataset, before, summary_uri, device, progress)
        classes = class_counts(dataset, before, found)
        told = _sentences(found, summary_uri, None if before is None else len(before.train), _reasons(dataset.fingerprint, former, root))
        told += [] if before is None else _drawn_anew(*exchanged(before, dataset))
        page = page_uri(summary_uri, root)
        objects.write(page.removesuffix(".html") + ".csv", _csv(found))
        content = render(
            "arrivals.html.j2",
            title=f"{spoken('New images')} of {dataset.name}",
            sentences=told,
            classes=classes[:MOST_CLASSES],
            left_out=max(len(classes) - MOST_CLASSES, 0),
            rows=_rows(found, _images(dataset, found)),
            small=max(dataset.shape[-2:]) < SMALL,
            number=len(found.given),
            file=page.rpartition("/")[2].removesuffix(".html") + ".csv",
        )
        objects.write(page, content)
        return Arrived(page, tuple(told), tuple(classes), found)


def _reasons(fingerprint: str, former: Artifact | None, root: str) -> tuple[str, ...]:
    """Why scores of the version before could not be extended, if that was tried."""
    if former is None:
        return ()
    uri = growth_uri(fingerprint, former.manifest.key, root)
    return open_growth(uri).stated(GrowthFacts).reasons if manifest_kind(uri) == KIND else ()


def _sentences(found: Arrivals, summary_uri: str, before: int | None, reasons: tuple[str, ...]) -> list[str]:
    """What there is to say, a sentence each; `before` is how many images the version before had."""
    facts = open_artifact(summary_uri, SUMMARY).stated(SummaryFacts)
    number, odd = len(found.given), int(found.suspicious.sum())
    known = sum(1 for name in found.known_as if name)
    told = (
        [f"This is the first version that was scored: {number:,} {spoken('images')}."]
        if before is None
        else [f"{number:,} {spoken('images')} are new; there were {before:,}."]
    )
    if facts.extended is not None:
        told.append(
            f"Version {facts.version}: the new {spoken('images')} were scored by networks that had not learned them; "
            f"{facts.extended.taken:,} scores were taken over, and {facts.extended.removed:,} {spoken('images')} have gone."
        )
    told += [f"Everything was scored again: {reason}." for reason in reasons]
    if number:
        told.append(f"The networks take {odd:,} of them ({share(odd / number)}) for another class than the one that was given.")
    if known:
        told.append(f"{known:,} of them have the pixels of {spoken('an image')} that was there before, under another class.")
    return told


def _drawn_anew(left: int, came: int) -> list[str]:
    """What there is to say where images changed the split: they are neither new nor gone."""
    if not left and not came:
        return []
    tests = spoken("test images")
    return [
        f"{left:,} of those that have gone are {tests} now, and {came:,} of the new ones were before: of a source without {tests}, "
        f"some are held out anew in each version. A folder of their own, named test, keeps {tests} what they are, and so does "
        "--ingest.hold_out pixels."
    ]


def _images(dataset: Dataset, found: Arrivals) -> np.ndarray:
    """The most suspicious images, uint8 `[n, C, H, W]`."""
    return dataset.train.images(torch.from_numpy(np.asarray(found.sample_id[:SHOWN], dtype=np.int64))).numpy()


def _rows(found: Arrivals, images: np.ndarray) -> list[tuple[Picture, str, str, str, str, str, str]]:
    """Cells of as many images as are given: picture, path, given class, predicted class, loss, margin, class of the same pixels before."""
    return [
        (
            picture(images[row], f"{found.origin[row]}, given as {found.given[row]}"),
            found.origin[row],
            found.given[row],
            found.predicted[row],
            f"{found.loss[row]:.3f}",
            f"{found.margin[row]:.3f}",
            found.known_as[row],
        )
        for row in range(len(images))
    ]


def _csv(found: Arrivals) -> bytes:
    """Every new image, the most suspicious first; text that a spreadsheet would calculate is quoted, and the mark of UTF-8 is for Excel."""
    words = (found.origin, found.given, found.predicted)
    numbers = (found.suspicious.tolist(), found.loss.tolist(), found.margin.tolist())
    rows = zip(found.sample_id.tolist(), *words, *numbers, found.known_as, strict=True)
    return BOM_UTF8 + csv_text(COLUMNS, rows, _cell).encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else plain_cell(value)
