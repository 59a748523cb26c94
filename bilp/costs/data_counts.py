"""How many samples of which shape a run will have, in which shards: from built-in counts, or from a listing of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.config.set_counts import SetCounts
from bilp.config.shapes import Shape, channels_of, values_in, with_side
from bilp.config.sources import SOURCES
from bilp.data.contents import Contents, SplitName, check
from bilp.data.decoding_rules import conversion_of
from bilp.data.ingest_plan import cut_parts, rows_of_shape, shape_of_one
from bilp.data.shards import HEADER_BYTES, SHARD_BYTES, shard_file_bytes
from bilp.data.sources import open_source
from bilp.errors import ConfigError, DataError
from bilp.text.sample_words import spoken

Counts = NDArray[np.int64]

INDEX_BYTES = 36
"""Of a sample in the index of a split, about: nearly all of it is its checksum."""
CHANGING = {
    "duplicates": "dropped duplicates",
    "long_tail": "images left out for a long tail",
    "duplicates_added": "copies added on purpose",
    "hold_out": "images that their pixels hold out for testing, here an exact share",
}
"""Settings whose effect on the number of samples only decoded images tell."""


@dataclass(frozen=True)
class DataCounts:
    """The data set of a run."""

    shape: Shape
    train: Counts
    """Training samples of each class."""
    test: Counts
    """Test samples of each class."""
    shard_rows: Mapping[SplitName, tuple[int, ...]]
    part_items: tuple[int, ...]
    """Items of each part that is decoded by itself; empty where a source is ingested in one go."""
    items: int
    """Items that are decoded."""
    encoded: bool
    """Whether items are files that have to be decoded, and no arrays."""
    origin: str
    """Where the counts come from."""
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.train)

    @property
    def samples(self) -> int:
        """Training samples."""
        return int(self.train.sum())

    @property
    def sample_bytes(self) -> int:
        """Bytes of a stored sample."""
        return values_in(self.shape)

    @property
    def store_bytes(self) -> int:
        """Bytes of all shards, exactly."""
        return sum(shard_file_bytes(self.shape, rows) for split in self.shard_rows.values() for rows in split)

    @property
    def index_bytes(self) -> int:
        """Bytes of the tables of samples, about."""
        return INDEX_BYTES * (self.samples + int(self.test.sum()))


def data_counts(config: IngestConfig, listed: bool) -> DataCounts:
    """Of the data set that these settings make: from a listing of the source where `listed`, else from built-in counts.

    Of a listed source one item is decoded, to know the shape. Raises ConfigError without either, and DataError as ingestion does.
    """
    source = SOURCES[config.source]
    counts = source.counts
    if counts is None and source.needs_uri and not config.uri:
        raise ConfigError(
            f"how many {spoken('images')} source {config.source} has is not known before it is listed: give ingest.uri, their path or URI"
        )
    found = _known(config, counts) if counts is not None and not listed else _listed(config)
    fields = type(config).model_fields
    changing = [told for name, told in CHANGING.items() if getattr(config, name) != fields[name].get_default(call_default_factory=True)]
    notes = tuple(spoken(f"not counted, because decoded images alone tell them: {told}") for told in changing)
    return DataCounts(**{**found.__dict__, "notes": (*found.notes, *notes)})


def _known(config: IngestConfig, counts: SetCounts) -> DataCounts:
    classes, train, test = counts.classes, counts.train, counts.test
    if config.classes and not config.classes[0].endswith(".txt"):
        classes = len(config.classes)
        train, test = round(train * classes / counts.classes), round(test * classes / counts.classes)
    shape, windows = _known_shape(config), config.clips
    by_class: dict[SplitName, NDArray[np.int64]] = {"train": _spread(train, classes), "test": _spread(test * windows, classes)}
    rows = rows_of_shape(shape, [train, test * windows])
    parts = [(min(rows, count - start)) for count in (train, test * windows) for start in range(0, count, rows)] if rows else []
    shards: dict[SplitName, tuple[int, ...]] = {split: _written(int(by_class[split].sum()), shape) for split in by_class}
    if rows:
        shards = {split: tuple(_chunks(int(side.sum()), rows)) for split, side in by_class.items()}
    return DataCounts(
        shape,
        by_class["train"],
        by_class["test"],
        shards,
        tuple(parts),
        train + test * windows,
        bool(SOURCES[config.source].needs_uri),
        "built-in counts of the set, spread evenly over its classes",
    )


def _known_shape(config: IngestConfig) -> Shape:
    """Raises ConfigError where neither the settings nor the set say the side."""
    source = SOURCES[config.source]
    own = source.known.shape if source.known is not None else None
    side = config.resolution
    if own is None and side is None:
        raise ConfigError(f"source {config.source} has {spoken('images')} of many sizes: set ingest.resolution, such as 64")
    shape: Shape = own if own is not None else (3, side or 0, side or 0)
    if side is not None:
        shape = with_side(shape, side, side)
    if channels_of(shape) != 1 and config.color == "gray":
        shape = (1, *shape[1:])
    elif channels_of(shape) != 3 and config.color == "rgb":
        shape = (3, *shape[1:])
    return (config.frames, *shape) if source.video_files else shape


def _listed(config: IngestConfig) -> DataCounts:
    source = open_source(config)
    contents = source.read()
    where = config.uri or config.source
    check(contents, where)
    shape = shape_of_one(source, contents, conversion_of(config))
    if shape is None:
        raise DataError(f"{where}: none of a few {spoken('images')} that were tried can be decoded: look at the files, or at another copy")
    totals = {split: np.bincount(labels, minlength=len(contents.class_names)) for split, labels in contents.labels.items()}
    rows = None if SOURCES[config.source].from_python else rows_of_shape(shape, [int(side.sum()) for side in totals.values()])
    cuts = _cuts(contents, rows)
    if "test" in totals:
        train, test = totals["train"], totals["test"]
        shards = {split: cuts[split] if rows else _written(int(side.sum()), shape) for split, side in totals.items()}
    else:
        test = np.clip(np.round(config.test_fraction * totals["train"]).astype(np.int64), 1, totals["train"] - 1)
        train = totals["train"] - test
        shards = {"train": _written(int(train.sum()), shape), "test": _written(int(test.sum()), shape)}
    return DataCounts(
        shape,
        train,
        test,
        shards,
        tuple(count for split in cuts.values() for count in split),
        sum(int(side.sum()) for side in totals.values()),
        bool(SOURCES[config.source].needs_uri),
        f"the listing of {where}",
        tuple(contents.notes),
    )


def _cuts(contents: Contents, rows: int | None) -> dict[SplitName, tuple[int, ...]]:
    """Items of each part of each split; none without `rows`."""
    if rows is None:
        return {}
    return {split: tuple(stop - start for start, stop in cut_parts(items, rows)) for split, items in contents.items.items()}


def _written(count: int, shape: Shape) -> tuple[int, ...]:
    """Rows of the shards that are written one after the other."""
    return tuple(_chunks(count, max(1, (SHARD_BYTES - HEADER_BYTES) // values_in(shape))))


def _chunks(count: int, most: int) -> Sequence[int]:
    return [min(most, count - start) for start in range(0, count, most)]


def _spread(count: int, classes: int) -> Counts:
    """`count` in `classes` parts that differ by one at most."""
    share, rest = divmod(count, classes)
    return np.array([share + (number < rest) for number in range(classes)], dtype=np.int64)
