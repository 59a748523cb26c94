"""Section: what the real images were read from, and what was noticed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.config.shapes import channels_of, is_clip, sample_noun, size_words
from bilp.data import Dataset
from bilp.report.wording import count
from bilp.text.sample_words import spoken

CLIPS = "Every sample is a clip, of which this page shows up to four frames beside each other."


@dataclass(frozen=True)
class SourceFacts:
    """Where the source lies, what is stored of it, and lines about choices, skipped files and duplicates."""

    place: str
    stored: str
    lines: Sequence[str]


def source_facts(dataset: Dataset) -> SourceFacts | None:
    """None for a data set that was opened without the record of its source."""
    if dataset.record is None:
        return None
    color, noun = "gray" if channels_of(dataset.shape) == 1 else "color", sample_noun(dataset.shape)
    images = f"{count(len(dataset.train), f'training {noun}')} and {count(len(dataset.test), f'test {noun}')}"
    windows = "" if dataset.test.videos is None else f" (windows of {count(dataset.test.answers, 'video')})"
    stored = f"{images}{windows} of {dataset.classes} classes, {size_words(dataset.shape)}, {color}"
    spoken = [CLIPS] if is_clip(dataset.shape) else []
    return SourceFacts(dataset.record.place, stored, [*spoken, *dataset.record.lines()])


def test_words(dataset: Dataset) -> str:
    """What to say of the test images: that no set contains them, unless the source is known to have some of them among the others."""
    facts = None if dataset.record is None else dataset.record.artifact.fact("duplicates")
    if facts is None or facts["dropped"] or not facts["test_images_in_train"]:
        return " that no set contains"
    return f", {facts['test_images_in_train']:,} of which have the pixels of a {spoken('training image')}"


def tested_words(dataset: Dataset) -> str:
    """'2,000 real images that no set contains': what accuracies are shares of."""
    if dataset.test.videos is None:
        return count(len(dataset.test), f"real {sample_noun(dataset.shape)}") + test_words(dataset)
    clips = f"each by the mean probabilities of its clips ({len(dataset.test):,} in all)"
    return f"{count(dataset.test.answers, 'real video')}{test_words(dataset)}, {clips}"


def origin_words(dataset: Dataset, sample_id: int) -> str:
    """', from cat/0.png' for a training image whose source is known, else nothing."""
    found = origin(dataset, sample_id)
    return f", from {found}" if found else ""


def origin(dataset: Dataset, sample_id: int) -> str:
    """'cat/0.png' for a training image whose source is known, else nothing."""
    return "" if dataset.record is None else dataset.record.origin("train", int(sample_id))
