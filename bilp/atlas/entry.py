"""An entry of an atlas: what its table of scores is of, how it was made, and its checksum.

    ATLAS/README.md                     says what is here
    ATLAS/entries/KEY/entry.json        the entry (`Entry`), created last
    ATLAS/entries/KEY/scores.parquet    sample_id, label, and for each criterion its scores, and their deviations where there are any

The key is a digest of the entry without who published it and when, and so of the table as well, whose sha256 it holds: equal scores have
one place whoever publishes them, and what lies at a place can be compared with its name. Nothing is ever written again.

An atlas is what somebody else wrote: sizes are bounded before anything is read, names are names and no ways, and text is text.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, JsonValue, model_validator

from bilp.artifacts.facts.base import ClassNames, Counts, EntryName, Facts, Key, Shape, require_equal, require_length
from bilp.artifacts.parquet import ROWS_AT_LEAST, ROWS_PER_BYTE
from bilp.artifacts.table_rules import Rules
from bilp.config.criteria import End
from bilp.errors import DamagedArtifact
from bilp.storage import strict_json
from bilp.storage.objects import join
from bilp.storage.verification import digest

ENTRIES, ENTRY, TABLE = "entries", "entry.json", "scores.parquet"
KEY = re.compile("[0-9a-f]{32}")
LARGEST_ENTRY = 4 * 2**20
"""Bytes of an entry; one of 20,000 classes takes about a megabyte."""
LARGEST_TABLE = 2**30
"""Bytes of a table; seven criteria of ImageNet take about 60 MB."""
_NO_PART = ("by", "when")

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]


class ScoredData(Facts):
    """The data set whose training images have scores."""

    name: Line
    fingerprint: Key
    class_names: ClassNames
    images_per_class: Counts
    shape: Shape

    @model_validator(mode="after")
    def _agree(self) -> Self:
        require_length(len(self.class_names), "classes", images_per_class=self.images_per_class)
        return self

    @property
    def samples(self) -> int:
        """Training images."""
        return sum(self.images_per_class)


class ScoreColumn(Facts):
    """A criterion that the table has."""

    name: EntryName
    drop: End
    """The end of its ranking that is dropped unless settings say otherwise."""
    spread: bool
    """Whether the column NAME_std says how far trials lie apart."""


class TableFile(Facts):
    """The table."""

    sha256: Sha256
    size: Annotated[int, Field(gt=0, le=LARGEST_TABLE)]


class Entry(Facts):
    """An entry; `settings` are those of the scoring, empty where they are not known, and `versions` what it was made with."""

    format: Literal["bilp-atlas-entry"] = "bilp-atlas-entry"
    version: Literal[1] = 1
    title: Line
    origin: Annotated[str, Field(max_length=2000)]
    """Where the scores come from, in a sentence."""
    dataset: ScoredData
    criteria: Annotated[tuple[ScoreColumn, ...], Field(min_length=1, max_length=64)]
    settings: dict[str, JsonValue]
    versions: dict[str, JsonValue]
    table: TableFile
    license: Annotated[str, Field(max_length=20_000)] | None = None
    """On which terms the scores may be used, if anything is said about it."""
    by: Line | None = None
    when: Line | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [column.name for column in self.criteria]
        require_equal("criteria and different criteria", len(names), len(set(names)))
        if self.dataset.samples > ROWS_AT_LEAST + ROWS_PER_BYTE * self.table.size:
            raise ValueError(f"a table of {self.table.size:,} bytes does not hold scores of {self.dataset.samples:,} images")
        return self

    @property
    def key(self) -> str:
        """Of the place where it lies."""
        content = self.model_dump(mode="json", exclude=set(_NO_PART))
        return digest(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())[:32]

    @property
    def schema(self) -> pa.Schema:
        """What the table has to be."""
        scores = [name for column in self.criteria for name in (column.name, f"{column.name}_std")[: 1 + column.spread]]
        return pa.schema({"sample_id": pa.int64(), "label": pa.int32(), **dict.fromkeys(scores, pa.float32())})

    @property
    def rules(self) -> Rules:
        """What holds for its rows; a score may be missing (NaN), and is finite otherwise."""
        return Rules(
            ranges={"label": (0, len(self.dataset.class_names) - 1)},
            undefined=frozenset(self.schema.names[2:]),
            places="sample_id",
        )

    def encoded(self) -> bytes:
        """As it is stored."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode()


def place_of(atlas: str, key: str) -> str:
    """The folder of an entry."""
    return join(atlas, ENTRIES, key)


def split(uri: str) -> tuple[str, str | None]:
    """The atlas and the key of an entry that a URI names; without a key if it names an atlas as a whole."""
    atlas, _, last = uri.rstrip("/").rpartition("/")
    if KEY.fullmatch(last) and atlas.endswith(f"/{ENTRIES}"):
        return atlas.removesuffix(f"/{ENTRIES}"), last
    return uri.rstrip("/"), None


def parse(data: bytes, uri: str, key: str) -> Entry:
    """The entry in the bytes of a file below `uri`. Raises DamagedArtifact, naming the first thing that is wrong."""
    try:
        entry = strict_json.read(data, Entry, strict=True)
    except ValueError as error:
        raise DamagedArtifact(f"{uri} is no entry of an atlas: {error}; ask who published it, or use another one") from error
    if entry.key != key:
        raise DamagedArtifact(f"{uri} is another entry than its name says ({entry.key}): ask who published it, or use another one")
    return entry
