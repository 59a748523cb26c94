"""The plan of an ingestion that is done in parts: every item of a large source, and which consecutive ones are decoded together.

datasets/<name>/plans/<key>/   for each signature of a source and all settings that decide which items there are and how they are decoded

A part is as many consecutive items of one split as fill a shard, cut where a file or row group ends if one does in its second half.
Whoever decodes a part reads its rows of the plan, and lists nothing. What is done with decoded images (duplicates, a test
split, changes on purpose) is no matter of the plan, so other such settings find the same parts.

Files: plan.parquet (PLAN), and absent.json with what the source names and does not hold, if there is anything. Facts: name,
class_names, class_ids, notes, parts (split, first and behind the last item) and listing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bilp.artifacts import parquet, tables
from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import IngestPlanFacts
from bilp.artifacts.publication import publish
from bilp.artifacts.table_rules import Rules
from bilp.config.shapes import Shape, values_in
from bilp.data.clips.conversion import ClipConversion
from bilp.data.contents import SPLITS, Contents, Skipped, Source, SplitName
from bilp.data.convert import Converter
from bilp.data.decode import Conversion
from bilp.data.items import UNKNOWN, Items
from bilp.data.shards import HEADER_BYTES, SHARD_BYTES
from bilp.data.texts import Texts
from bilp.progress import silent
from bilp.storage import strict_json
from bilp.storage.scratch import scratch_folder

KIND = "ingest_plan"
PLANS = "plans"
"""Folder of the plans beside the stores of a data set's pixels."""
FILE, ABSENT = "plan.parquet", "absent.json"
VERSION = 1
"""Raised whenever that of `bilp.data.ingestion` is because images are decoded otherwise."""
PART_BYTES = SHARD_BYTES
LEAST_ITEMS = 1000
"""Fewer items are never decoded in parts: starting them would take longer than decoding."""
TRIED = 64
"""Items that are decoded, at most, to know how large one is."""

PLAN = tables.declare(
    pa.schema(
        {
            "split": pa.string(),
            "label": pa.int32(),
            "file": pa.binary(),
            "offset": pa.int64(),
            "length": pa.int64(),
            "row_group": pa.int32(),
            "row": pa.int64(),
            "stem": pa.string(),
            "origin": pa.string(),
        }
    ),
    Rules(
        ranges={"label": (0, 2**31), "offset": (0, 2**62), **dict.fromkeys(("length", "row_group", "row"), (UNKNOWN, 2**62))},
        nullable=frozenset({"stem", "origin"}),
        texts={"split": f"^({'|'.join(SPLITS)})$"},
    ),
)
"""One row for each item, in the order of the source: the columns of `bilp.data.items.Items`; a path's bytes need be no text."""


@dataclass(frozen=True)
class Part:
    """Consecutive items of a split."""

    number: int
    split: SplitName
    start: int
    stop: int


@dataclass(frozen=True)
class IngestPlan:
    """An opened plan."""

    artifact: Artifact

    @property
    def facts(self) -> IngestPlanFacts:
        """What it states."""
        return self.artifact.stated(IngestPlanFacts)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts, by number."""
        return tuple(Part(number, part.split, part.start, part.stop) for number, part in enumerate(self.facts.parts))

    @cached_property
    def items(self) -> dict[SplitName, Items]:
        """The items of each split in the source's order."""
        table = self.artifact.table(FILE, PLAN, below={"label": len(self.facts.class_names)})
        ends = {part.split: part.stop for part in self.parts}
        first, found = 0, dict[SplitName, Items]()
        for split, count in ends.items():
            found[split] = _items(table.slice(first, count))
            first += count
        return found

    def items_of(self, part: Part) -> Items:
        """The items of a part."""
        return self.items[part.split].slice(part.start, part.stop)

    @cached_property
    def contents(self) -> Contents:
        """What the source listed."""
        facts = self.facts
        absent: list[Any] = strict_json.parse(self.artifact.read(ABSENT)) if ABSENT in self.artifact.manifest.files else []
        known = tuple(Skipped(**entry) for entry in absent)
        return Contents(facts.class_names, self.items, facts.class_ids, facts.notes, facts.listing, known)


def open_plan(uri: str) -> IngestPlan:
    """The plan at `uri`. Raises MissingArtifact, DamagedArtifact or IncompatibleArtifact."""
    return IngestPlan(open_artifact(uri, KIND))


def find_plan(uri: str, key: str) -> IngestPlan | None:
    """The plan at `uri` if it is there."""
    artifact = find(uri, KIND, key)
    return None if artifact is None else IngestPlan(artifact)


def publish_plan(uri: str, key: str, name: str, contents: Contents, rows: int, settings: Mapping[str, Any]) -> IngestPlan:
    """Publish the plan of a source.

    Args:
        uri: Where it will lie.
        key: Of the settings and the source's signature.
        name: Of the data set.
        contents: What the source listed.
        rows: Items of a part, at most.
        settings: What decides which items there are and how they are decoded.
    """
    parts = [
        {"split": split, "start": start, "stop": stop} for split, items in contents.items.items() for start, stop in cut_parts(items, rows)
    ]
    table = pa.concat_tables([_rows(split, items) for split, items in contents.items.items()])
    files: dict[str, bytes | Path] = {FILE: parquet.encode(table, PLAN, {"stage": KIND, "key": key})}
    if contents.absent:
        files[ABSENT] = json.dumps([entry.kept for entry in contents.absent], indent=1, ensure_ascii=False).encode()
    facts = {
        "name": name,
        "class_names": list(contents.class_names),
        "class_ids": None if contents.class_ids is None else list(contents.class_ids),
        "notes": list(contents.notes),
        "parts": parts,
        "listing": dict(contents.facts),
    }
    return IngestPlan(publish(uri, KIND, key, files, config=settings, parents={}, facts=facts))


def rows_of_part(source: Source, contents: Contents, conversion: Conversion | ClipConversion) -> int | None:
    """How many items fill a part, or None for a source that is not worth dividing: each of its splits would be one part, or no
    item can be decoded.

    One item is decoded to know how large it is. Raises DataError as decoding does.
    """
    if sum(map(len, contents.items.values())) < LEAST_ITEMS:
        return None
    shape = shape_of_one(source, contents, conversion)
    return None if shape is None else rows_of_shape(shape, [len(found) for found in contents.items.values()])


def shape_of_one(source: Source, contents: Contents, conversion: Conversion | ClipConversion) -> Shape | None:
    """The shape of the first training item, of a few evenly spread ones, that can be decoded; None if none can."""
    items = contents.items["train"]
    for place in dict.fromkeys(np.linspace(0, len(items) - 1, TRIED).astype(int).tolist()):
        with scratch_folder("bilp-size-") as folder:
            one = Contents(contents.class_names, {"train": items.slice(place, place + 1)})
            shape = Converter(folder, conversion).run(source, one, silent)["train"].shape
        if np.prod(shape):
            return shape
    return None


def rows_of_shape(shape: Shape, counts: Sequence[int]) -> int | None:
    """How many items of this shape fill a part, or None where splits of so many items are not worth dividing."""
    if sum(counts) < LEAST_ITEMS:
        return None
    rows = max(1, (PART_BYTES - HEADER_BYTES) // values_in(shape))
    return rows if any(count > rows for count in counts) else None


def cut_parts(items: Items, rows: int) -> list[tuple[int, int]]:
    """Start and stop of parts of at most `rows` items; where a file or row group ends in its second half, a part ends there."""
    ends = np.flatnonzero((np.diff(items.file) != 0) | (np.diff(items.row_group) != 0)) + 1
    parts, start = [], 0
    while start < len(items):
        stop = min(start + rows, len(items))
        if stop < len(items):
            before = ends[np.searchsorted(ends, stop, side="right") - 1] if len(ends) and ends[0] <= stop else 0
            stop = int(before) if before > start + rows // 2 else stop
        parts.append((start, stop))
        start = stop
    return parts


def _rows(split: SplitName, items: Items) -> pa.Table:
    count = len(items)
    paths = pa.array([path.encode("utf-8", "surrogateescape") for path in items.files], pa.binary())
    columns = {
        "split": pa.repeat(pa.scalar(split), count),
        "label": items.labels,
        "file": paths.take(pa.array(items.file)),
        "offset": items.offset,
        "length": items.length,
        "row_group": items.row_group,
        "row": items.row,
        "stem": pa.nulls(count, pa.string()) if items.stems is None else items.stems,
        "origin": pa.nulls(count, pa.string()) if items.origins is None else items.origins,
    }
    return pa.table(columns).cast(PLAN)


def _items(table: pa.Table) -> Items:
    paths = table["file"].combine_chunks()
    begins = np.append(True, pc.not_equal(paths[1:], paths[:-1]).to_numpy(zero_copy_only=False))[: len(paths)]
    texts = {name: None if table[name].null_count else table[name].combine_chunks() for name in ("stem", "origin")}
    numbers = {name: table[name].to_numpy() for name in ("offset", "length", "row_group", "row")}
    return Items(
        labels=table["label"].to_numpy().astype(np.int64),
        files=Texts(paths.take(pa.array(np.flatnonzero(begins)))),
        file=(np.cumsum(begins) - 1).astype(np.int32),
        stems=texts["stem"],
        origins=texts["origin"],
        **numbers,
    )
