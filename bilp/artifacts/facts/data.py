"""Facts of data sets and of the records of their sources."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from bilp.artifacts.facts.base import (
    ClassNames,
    Counts,
    Deviations,
    Facts,
    Key,
    Means,
    Name,
    Number,
    Ordinal,
    Positive,
    Shape,
    require_equal,
    require_length,
)
from bilp.config.shapes import Layout, channels_of, frames_in, is_clip, layout_of, side_of


class PerSplit(Facts):
    """A number for each split."""

    train: Number = 0
    test: Number = 0


class ListsPerSplit(Facts):
    """A list of numbers for each split."""

    train: Counts
    test: Counts


class WhiteningFacts(Facts):
    """What a whitening was fitted on, and how."""

    kind: Literal["zca"]
    epsilon: Positive
    of: Key
    """Fingerprint of the data set."""


class DatasetFacts(Facts):
    """See `bilp.data.store`."""

    keyed: ClassVar[str | None] = "fingerprint"

    name: Name
    fingerprint: Key
    class_names: ClassNames
    classes: Ordinal
    shape: Shape
    layout: Layout
    value_range: tuple[Literal[0], Literal[255]]
    colour: Literal["grey", "rgb"]
    """Spelled as data sets have always stated it; the setting is `ingest.color`."""
    resolution: tuple[Ordinal, Ordinal]
    mean: Means
    std: Deviations
    train_images: Ordinal
    test_images: Number
    images_per_class: ListsPerSplit
    shard_rows: ListsPerSplit
    frames: Ordinal | None = None
    """Of each clip; pictures have none."""
    whitening: WhiteningFacts | None = None
    skipped: Number | None = None
    """Of data sets that were published before sources had records."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        channels = channels_of(self.shape)
        require_equal("classes and class_names differ in number", self.classes, len(self.class_names))
        require_length(channels, "channels", mean=self.mean, std=self.std)
        require_equal("shape and colour", channels, 1 if self.colour == "grey" else 3)
        require_equal("shape and resolution", side_of(self.shape), self.resolution)
        require_equal("shape and layout", layout_of(self.shape), self.layout)
        require_equal("shape and frames", frames_in(self.shape) if is_clip(self.shape) else None, self.frames)
        if self.whitening is not None and is_clip(self.shape):
            raise ValueError("clips are never whitened")
        splits = (("train", self.train_images), ("test", self.test_images))
        for split, images in splits:
            per_class, rows = getattr(self.images_per_class, split), getattr(self.shard_rows, split)
            require_length(self.classes, "classes", images_per_class=per_class)
            require_equal(f"{split}_images and the sum of images_per_class", images, sum(per_class))
            require_equal(f"{split}_images and the sum of shard_rows", images, sum(rows))
            if any(count != rows[0] for count in rows[:-1]) or (rows and not 0 < rows[-1] <= rows[0]):
                raise ValueError(f"shard_rows of {split}: all shards but the last have equally many rows, and the last no more")
        return self


class DuplicatesFacts(Facts):
    """See `bilp.data.duplicates.duplicates_facts`."""

    repeats: PerSplit
    pictures_in_several_classes: Number
    images_in_several_classes: Number
    example: tuple[Name, ...]
    test_images_in_train: Number
    surplus: PerSplit
    divided: bool
    dropped: bool

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.example) != (2 if self.pictures_in_several_classes else 0):
            raise ValueError("example names two images if there are pictures in several classes, and none otherwise")
        return self


class SourceFacts(Facts):
    """See `bilp.data.source_record`."""

    name: Name
    fingerprint: Key
    """Of the data set that the record leads to."""
    source: Name
    uri: Name | None
    notes: tuple[str, ...]
    skipped: PerSplit
    duplicates: DuplicatesFacts


class TruthFacts(Facts):
    """See `bilp.data.truth_file`."""

    dataset: Key
    samples: Ordinal
    """Of the train split."""
    wrong: Number
    """How many of their labels are not the true ones."""
    copies: Number
    """How many are copies of others."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if max(self.wrong, self.copies) > self.samples:
            raise ValueError("more samples are wrong, or copies, than there are")
        return self
