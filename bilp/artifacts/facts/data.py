"""Facts of data sets and of the records of their sources."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

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

Listed = str | int | float | bool
"""A fact about the listing of a source."""


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
    class_ids: tuple[Name, ...] | None = None
    """What classes are known by in every copy of the set (n02012849), where there is such a thing."""
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
    videos: PerSplit | None = None
    """How many videos the clips are windows of, where several were taken of one."""
    whitening: WhiteningFacts | None = None
    skipped: Number | None = None
    """Of data sets that were published before sources had records."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        channels = channels_of(self.shape)
        require_equal("classes and class_names differ in number", self.classes, len(self.class_names))
        if self.class_ids is not None:
            require_length(self.classes, "classes", class_ids=self.class_ids)
        require_length(channels, "channels", mean=self.mean, std=self.std)
        require_equal("shape and colour", channels, 1 if self.colour == "grey" else 3)
        require_equal("shape and resolution", side_of(self.shape), self.resolution)
        require_equal("shape and layout", layout_of(self.shape), self.layout)
        require_equal("shape and frames", frames_in(self.shape) if is_clip(self.shape) else None, self.frames)
        if self.whitening is not None and is_clip(self.shape):
            raise ValueError("clips are never whitened")
        if self.videos is not None and not is_clip(self.shape):
            raise ValueError("only clips are windows of videos")
        splits = (("train", self.train_images), ("test", self.test_images))
        for split, images in splits:
            per_class, rows = getattr(self.images_per_class, split), getattr(self.shard_rows, split)
            require_length(self.classes, "classes", images_per_class=per_class)
            require_equal(f"{split}_images and the sum of images_per_class", images, sum(per_class))
            require_equal(f"{split}_images and the sum of shard_rows", images, sum(rows))
            if 0 in rows:
                raise ValueError(f"shard_rows of {split}: every shard has rows")
            if self.videos is not None and getattr(self.videos, split) > images:
                raise ValueError(f"videos of {split}: every one has a clip")
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


class PlannedPart(Facts):
    """Consecutive items of a split."""

    split: Literal["train", "test"]
    start: Number
    stop: Ordinal


class IngestPlanFacts(Facts):
    """See `bilp.data.ingest_plan`."""

    name: Name
    class_names: ClassNames
    class_ids: tuple[Name, ...] | None
    notes: tuple[str, ...]
    parts: Annotated[tuple[PlannedPart, ...], Field(min_length=1)]
    listing: dict[Name, Listed]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.class_ids is not None:
            require_length(len(self.class_names), "classes", class_ids=self.class_ids)
        ends = {"train": 0, "test": 0}
        for part in self.parts:
            require_equal("a part begins where the one before it ends", part.start, ends[part.split])
            if part.stop <= part.start:
                raise ValueError("a part has items")
            ends[part.split] = part.stop
        return self


class IngestPartFacts(Facts):
    """See `bilp.data.ingest_part`."""

    split: Literal["train", "test"]
    first: Number
    items: Ordinal
    skipped: Number
    rows: Counts
    shape: Shape | None
    histogram: tuple[Counts, ...]
    largest: Number | None
    short: Number

    @model_validator(mode="after")
    def _agree(self) -> Self:
        require_equal("items and those that were kept or skipped", self.items, sum(self.rows) + self.skipped)
        channels = 0 if self.shape is None else channels_of(self.shape)
        require_length(channels, "channels", histogram=self.histogram)
        if any(len(counts) != 256 for counts in self.histogram):
            raise ValueError("histogram has a count for each of 256 values")
        if (self.shape is None) != (not self.rows):
            raise ValueError("a part has a shape if it has images")
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
    listing: dict[Name, Listed] | None = None
    """What the listing of the source told besides, such as its layout."""
    plan: Key | None = None
    """Of its parts, if it was decoded in parts."""


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
