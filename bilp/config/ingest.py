"""Settings of ingestion: where the real images come from and how they become one store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from bilp.config.alterations import DuplicatesAddedConfig, LongTailConfig
from bilp.config.base import Frozen, Location, NoneIsAChoice, Positive, Rate, SourceName, Text
from bilp.config.clip_settings import SAMPLINGS, FrameSizeText, SamplingName, size_of
from bilp.config.former import Former
from bilp.config.label_noise import LabelNoiseConfig
from bilp.config.sources import DEFAULT_SOURCE, OWN, SOURCES
from bilp.registry import EntryName

NormalizationName = Annotated[str, EntryName("bilp.config.normalization:NORMALIZATIONS")]

# Settings that only some sources read; others would pass them over in silence.
READ_BY_SOME = ("train", "test", "classes", "config", "image_column", "label_column")
# Likewise; these have defaults that say something.
OF_CLIPS = ("frames", "sampling", "fps", "stride", "pre_crop", "clips", "split", "unused")


class IngestConfig(Frozen):
    """Where the real images come from and how they become one canonical uint8 store."""

    later = frozenset(
        (
            *("train", "test", "image_column", "label_column", "config", "classes", "duplicates", "bits", "max_pixels", "normalization"),
            *("long_tail", "label_noise", "duplicates_added", "corrections", "most_corrupt", "order", "fit", "filter"),
            *("hold_out", *OF_CLIPS),
        )
    )

    by_rule = frozenset(
        {"source", "whitening", "resolution", "normalization", "fit", "on_corrupt", "most_corrupt", "frames", "sampling", "pre_crop"}
    )
    formerly: ClassVar[Mapping[str, Former]] = {"color": Former("colour", {"gray": "grey"})}

    source: SourceName = DEFAULT_SOURCE
    """Name of a built-in data set, or the kind of your own: an image folder or Parquet in the Hugging Face layout."""
    uri: Location | None = None
    """Where a folder or Parquet source lies (a path or s3://...)."""
    train: Text | None = None
    """Folder or file pattern below uri that holds the training images, where their names do not tell."""
    test: Text | None = None
    """Likewise for the test images; held_out makes a test split out of the training images, whatever else there is."""
    config: Text | None = None
    """Configuration (folder) of a Parquet source that holds several."""
    image_column: Text | None = None
    """Column of the images in a Parquet source, where several could be meant or its name is unusual."""
    label_column: Text | None = None
    """Column of the labels in a Parquet source, where several could be meant or its name is unusual."""
    classes: tuple[Text, ...] = ()
    """Classes that are taken, in this order, by name or id, or one text file (.txt) of them; empty takes all that are found, sorted."""
    resolution: Positive | None = None
    """Side in pixels that images are resized to (as fit says); empty keeps the source's own size."""
    fit: Literal["crop", "stretch"] = "crop"
    """How an image is brought to the resolution: crop resizes the shorter side and cuts out the center square, stretch resizes both."""
    filter: Literal["bilinear", "box", "bicubic", "lanczos"] = "bilinear"
    """Filter of that resizing, with antialiasing."""
    frames: Positive = 8
    """Frames that are taken of every clip."""
    sampling: SamplingName = "uniform"
    """Which: uniform, at centers of equal segments; middle, at fps around the middle; window, one of every stride from a random start."""
    fps: Rate = 2.0
    """Frames a second that sampling middle takes; of clips too short for that 2, 4 or 6 times as many."""
    stride: Positive = 4
    """Sampling window takes one frame of so many."""
    pre_crop: FrameSizeText | None = None
    """Size that frames are resized to before the center square of the resolution is cut out: 160x120, or 64 for both sides."""
    clips: Positive = 1
    """Windows of every test clip, whose answers are averaged (of every clip where a test split is made), with sampling window."""
    split: Annotated[int, Field(ge=1, le=3)] = 1
    """Which of the three published divisions into training and test clips."""
    unused: Literal["drop", "train"] = "drop"
    """What becomes of clips that a published division leaves out: drop them, or train on them."""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """Stored color; auto keeps gray only if every image is gray."""
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    """What to do when files cannot be decoded: refuse with the full list, or skip them and keep the list as a ledger."""
    most_corrupt: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """With on_corrupt skip: share of a split that may be missing or damaged, and no class may lose more than half; empty allows any."""
    order: Literal["canonical", "source"] = "canonical"
    """Order of images: canonical is the same in every copy of a set whose images have names of their own; source is that of the files."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Images with equal pixels: keep them; or drop repeats in a class, pictures in several classes, training images found in test."""
    bits: Annotated[int, Field(ge=9, le=16)] | None = None
    """Depth of 16-bit gray images: 12 for data of 0..4095 in 16-bit files; empty reads them as 0..65535."""
    max_pixels: Positive | None = None
    """Largest width x height of an image that is decoded; empty takes what decodes within 640 MiB, at most 178,956,970."""
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of each class held out for testing when the source has no test split of its own."""
    hold_out: Literal["share", "pixels"] = "share"
    """Which: share, that share of each class exactly, drawn anew when images are added or go; pixels, those whose pixels draw them, which
    stay what they are when others come or go, and are that share about."""
    split_seed: int = 0
    """Seed of that split."""
    long_tail: LongTailConfig = LongTailConfig()
    """Training images that are left out on purpose, first of all changes."""
    label_noise: LabelNoiseConfig = LabelNoiseConfig()
    """Labels of training images that are made wrong on purpose."""
    duplicates_added: DuplicatesAddedConfig = DuplicatesAddedConfig()
    """Copies of training images, added on purpose."""
    corrections: Location | None = None
    """CSV file of corrections to the labels of training images, as suspects writes it; applied last."""
    normalization: NormalizationName = "auto"
    """Mean and standard deviation of the channels: auto takes the published ones of a known data set and measures others;
    measured always measures; a name takes the published ones of that data set."""
    whitening: Annotated[Literal["none", "zca"], NoneIsAChoice] = "none"
    """What becomes of pixels in [0, 1]: they are normalized, or whitened by ZCA of the training images (in some cells)."""
    whitening_epsilon: Rate = 0.1
    """What is added to the eigenvalues of their covariance before its root is taken."""

    @property
    def noun(self) -> str:
        """What a sample is called: image or clip."""
        return SOURCES[self.source].noun

    @model_validator(mode="after")
    def _uri_fits_source(self) -> Self:
        source = SOURCES[self.source]
        if source.from_python and not self.uri:
            others = _readers(("uri",))
            raise ValueError(f"source {self.source!r} is of Python alone: call {source.from_python} there, or set source to {others}")
        if source.needs_uri and not self.uri:
            raise ValueError(f"source {self.source!r} needs uri: give the path or s3:// URI of the data")
        if self.uri and "uri" not in source.reads:
            raise ValueError(f"source {self.source!r} brings its own data: remove uri, or set source to {_readers(('uri',))}")
        unread = [name for name in READ_BY_SOME if getattr(self, name) and name not in source.reads]
        if unread:
            raise ValueError(f"source {self.source!r} does not read {', '.join(unread)}: remove that, or set source to {_readers(unread)}")
        if source.media == "video" and self.whitening != "none":
            raise ValueError(f"source {self.source!r} has clips, and whitening {self.whitening} is for pictures: set whitening to none")
        return self

    @model_validator(mode="after")
    def _frames_fit_together(self) -> Self:
        fields, reads = type(self).model_fields, SOURCES[self.source].reads
        unread = [name for name in OF_CLIPS if name not in reads and getattr(self, name) != fields[name].default]
        if unread:
            raise ValueError(f"source {self.source!r} does not read {', '.join(unread)}: remove that, or set source to {_readers(unread)}")
        before = None if self.pre_crop is None else size_of(self.pre_crop)
        if before is not None and self.resolution is None:
            raise ValueError(f"pre_crop {self.pre_crop} says from what a square is cut: set resolution to its side")
        if before is not None and self.resolution is not None and min(before) < self.resolution:
            raise ValueError(f"pre_crop {self.pre_crop} is smaller than resolution {self.resolution}: make it as large or larger")
        for name in ("fps", "stride", "clips"):
            if getattr(self, name) != fields[name].default and name not in SAMPLINGS[self.sampling].reads:
                readers = " or ".join(other for other in SAMPLINGS if name in SAMPLINGS[other].reads)
                raise ValueError(f"sampling {self.sampling} does not read {name}: remove it, or set sampling to {readers}")
        return self


def _readers(settings: Sequence[str]) -> str:
    """This package's sources that read all of these settings, in words: those of pictures of one's own, or of clips, if there are any."""
    able = [source for source in OWN if source.reads.issuperset(settings) and not source.from_python]
    own = [source for source in able if source.any_data]
    pictures = [source for source in own if source.media == "image"]
    return " or ".join(source.name for source in pictures or own or able)
