"""Parts of an ingestion put together: what all of them say of their images, without reading a pixel.

Only where some parts are gray and others in color are pixels read: the gray ones become RGB, as one color image makes all of a set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from bilp.artifacts.artifact import Artifact, check_sizes, open_artifact
from bilp.artifacts.facts import IngestPartFacts
from bilp.config.shapes import channels_of, with_channels
from bilp.data.contents import Skipped, SplitName
from bilp.data.convert import check_same_size
from bilp.data.digests import Digests
from bilp.data.ingest_part import FILE, KIND, PART_INDEX, ledger_of, part_uri
from bilp.data.ingest_plan import IngestPlan
from bilp.data.measure import image_digests
from bilp.data.shards import ShardWriter, Stored, blocks, map_shard, shard_name
from bilp.data.texts import Texts, chained
from bilp.storage import objects


@dataclass(frozen=True)
class Decoded:
    """All images of a source, by its splits; what was skipped; the largest value of its 16-bit gray images, if it has any; and the number
    of clips with too few frames."""

    stored: dict[SplitName, Stored]
    skipped: list[Skipped]
    largest: int | None
    short: int = 0


def join_parts(plan: IngestPlan, folder: Path) -> Decoded:
    """What the parts of a plan hold, all of which are published; new files go to `folder`.

    Raises DataError if images of different parts differ in size, MissingArtifact if a part is not there, and DamagedArtifact if one
    has lost a file or some of its bytes.
    """
    artifacts = [open_artifact(part_uri(plan.artifact.uri, part.number), KIND) for part in plan.parts]
    check_sizes(artifacts[0].uri.rpartition("/")[0], artifacts)
    opened = list(map(_Opened, artifacts))
    channels = max((channels_of(part.facts.shape) for part in opened if part.facts.shape), default=0)
    sides: dict[SplitName, list[Stored]] = defaultdict(list)
    first: Stored | None = None
    for part in opened:
        if part.facts.shape is None:
            continue
        stored = part.stored()
        first = first or stored
        check_same_size(first.shape, first.origins[0], stored.shape, stored.origins[0])
        sides[part.facts.split].append(stored if channels_of(stored.shape) == channels else _widened(stored, part.facts.split, folder))
    largest = [part.facts.largest for part in opened if part.facts.largest is not None]
    short = sum(part.facts.short for part in opened)
    skipped = [entry for artifact, part in zip(artifacts, plan.parts, strict=True) for entry in ledger_of(artifact, plan, part)]
    return Decoded(
        {split: _united(sides[split]) for split in dict.fromkeys(part.split for part in plan.parts)},
        skipped,
        max(largest, default=None),
        short,
    )


class Fetched(Sequence[Path]):
    """Local files, each of which is fetched, or verified, when it is asked for."""

    def __init__(self, fetch: Sequence[Callable[[], Path]]) -> None:
        """`fetch` gives each."""
        self._fetch = fetch

    def __len__(self) -> int:
        return len(self._fetch)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Fetched: ...
    def __getitem__(self, index: int | slice) -> Path | Fetched:
        return Fetched(self._fetch[index]) if isinstance(index, slice) else self._fetch[index]()


@dataclass(frozen=True)
class _Opened:
    """A published part."""

    artifact: Artifact

    @property
    def facts(self) -> IngestPartFacts:
        return self.artifact.stated(IngestPartFacts)

    def stored(self) -> Stored:
        """The part as a split of its own, `[n, C, H, W]` or `[n, T, C, H, W]`: its shards are fetched when they are read."""
        facts, entries = self.facts, self.artifact.manifest.files
        assert facts.shape is not None
        names = [shard_name(facts.split, number) for number in range(len(facts.rows))]
        index = self.artifact.table(FILE, PART_INDEX, rows=sum(facts.rows))
        return Stored(
            facts.shape,
            Fetched([partial(self.artifact.local, name) for name in names]),
            facts.rows,
            index["label"].to_numpy().astype(np.int64),
            Texts(index["origin"].combine_chunks()),
            index["place"].to_numpy(),
            Digests.of(index["sha256"]),
            np.array(facts.histogram, dtype=np.int64),
            tuple(objects.Known(self.artifact.place(name), entries[name].sha256, entries[name].size) for name in names),
        )


def _widened(gray: Stored, split: SplitName, folder: Path) -> Stored:
    """A gray part in RGB."""
    place = folder / f"widened-{len(list(folder.iterdir()))}"
    place.mkdir()
    writer = ShardWriter(place, split)
    for path, rows in zip(gray.paths, gray.rows, strict=True):
        for block in blocks(map_shard(path, gray.shape, rows)):
            writer.append(np.repeat(block, 3, axis=-3))
    paths = writer.close()
    shape = with_channels(gray.shape, 3)
    histogram = None if gray.histogram is None else np.repeat(gray.histogram, 3, axis=0)
    return Stored(shape, paths, writer.rows, gray.labels, gray.origins, gray.places, image_digests(paths, shape), histogram)


def _united(parts: Sequence[Stored]) -> Stored:
    """Parts of a split, in their order, as one."""
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Stored((0, 0, 0), [], (), none, [], none)
    held = [shard for part in parts for shard in part.held]
    rows = tuple(count for part in parts for count in part.rows)
    return Stored(
        parts[0].shape,
        Fetched([partial(part.paths.__getitem__, place) for part in parts for place in range(len(part.paths))]),
        rows,
        np.concatenate([part.labels for part in parts]),
        chained([part.origins for part in parts]),
        np.concatenate([part.places for part in parts]),
        Digests.joined(Digests.of(part.digests or ()) for part in parts),
        np.sum([part.histogram for part in parts if part.histogram is not None], axis=0),
        tuple(held) if len(held) == len(rows) else (),
    )
