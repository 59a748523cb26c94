"""The record of a source: what one reading of it said that is no content of the data set.

datasets/<name>/sources/<key>/        for each configuration and signature of a source

File names, paths and skipped files are facts about a source. The same pictures under other names are the same data set, so
the store of the pixels knows no names; the record of each reading does, and it is new whenever the source has changed.

Files: train.parquet and test.parquet (ORIGINS), ledger.json with the skipped files, duplicates.parquet (see
`bilp.data.duplicates`) and corrections.parquet (see `bilp.data.corrections_table`) if there are any. Facts: name, fingerprint (of
the data set), source, uri, notes, skipped (by split of the source), duplicates, listing, and the key of the plan if the source was
decoded in parts, which nobody needs from then on. Config: all settings of ingest but the whitening's.
Parents: dataset, and truth if the data set was changed on purpose (see `bilp.data.truth_file`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bilp.artifacts import parquet, tables
from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import DatasetFacts, SourceFacts
from bilp.artifacts.publication import publish, replace
from bilp.artifacts.table_rules import Rules
from bilp.data.contents import SPLITS, Skipped, SplitName, counted, lost
from bilp.data.corrections_table import CORRECTIONS
from bilp.data.corrections_table import FILE as CORRECTIONS_FILE
from bilp.data.duplicates import DUPLICATES, duplicates_table, told_duplicates
from bilp.data.duplicates import FILE as DUPLICATES_FILE
from bilp.errors import DamagedArtifact, IncompatibleArtifact
from bilp.storage import objects
from bilp.storage.verification import again

if TYPE_CHECKING:
    from bilp.data.arrange import Arranged

KIND = "source"
SOURCES = "sources"
"""Folder of the records beside the stores of a data set's pixels."""
LEDGER = "ledger.json"
ORIGINS = tables.declare(pa.schema([("sample_id", pa.int64()), ("origin", pa.string())]), Rules(places="sample_id"))
"""Position in the split, and where the image came from, relative to the source."""


def origins_name(split: SplitName) -> str:
    """File name of a split's table of origins."""
    return f"{split}.parquet"


@dataclass(frozen=True)
class SourceRecord:
    """An opened record."""

    artifact: Artifact
    images: Mapping[SplitName, int] | None = None
    """How many images each split of the data set has, where that is known."""

    @property
    def facts(self) -> SourceFacts:
        """What it states."""
        return self.artifact.stated(SourceFacts)

    @property
    def dataset_uri(self) -> str:
        """The store of the pixels, wherever the storage lies by now."""
        home = self.artifact.uri.rsplit("/", 2)[0]
        return objects.join(home, self.facts.fingerprint)

    @property
    def place(self) -> str:
        """Where the source lies, or its name if it is built in."""
        return self.facts.uri or self.facts.source

    def lines(self) -> list[str]:
        """What there is to know of this reading, in one line each: choices, skipped files, duplicates."""
        return [*self.facts.notes, *_told_skipped(self), *told_duplicates(self.artifact.fact("duplicates"))]

    def origin(self, split: SplitName, sample_id: int) -> str:
        """Where an image of the data set came from, relative to the source."""
        return str(self._origins[split][sample_id].as_py())

    def origins(self, split: SplitName) -> list[str]:
        """Where each image of a split came from, relative to the source, in their order."""
        return [str(origin) for origin in self._origins[split].to_pylist()]

    def of(self, dataset: DatasetFacts) -> SourceRecord:
        """The record as that of this data set. Raises IncompatibleArtifact if it leads to another one."""
        found = self.facts.fingerprint
        if found != dataset.fingerprint:
            raise IncompatibleArtifact(
                f"{self.artifact.uri} is the record of data set {found}, not of {dataset.fingerprint}: ingest the source again"
            )
        return dataclasses.replace(self, images={"train": dataset.train_images, "test": dataset.test_images})

    def corrections(self) -> pa.Table | None:
        """Table CORRECTIONS of `bilp.data.corrections_table`: what a person has decided on images; None if nobody has."""
        return self.artifact.table(CORRECTIONS_FILE, CORRECTIONS) if CORRECTIONS_FILE in self.artifact.manifest.files else None

    @cached_property
    def _origins(self) -> dict[SplitName, pa.ChunkedArray]:
        rows = self.images or {}
        return {split: self.artifact.table(origins_name(split), ORIGINS, rows=rows.get(split)).column("origin") for split in SPLITS}


def open_record(uri: str) -> SourceRecord:
    """The record at `uri`. Raises MissingArtifact, DamagedArtifact or IncompatibleArtifact."""
    return record_of(open_artifact(uri, KIND))


def record_of(artifact: Artifact) -> SourceRecord:
    """The record that an artifact is. Raises DamagedArtifact if what it states and what it was made of are two data sets."""
    record, parent = SourceRecord(artifact), artifact.manifest.parents.get("dataset", "")
    if parent.rstrip("/").rsplit("/", 1)[-1] != record.facts.fingerprint:
        raise DamagedArtifact(
            f"{artifact.uri} states the data set {record.facts.fingerprint} and was made with {parent or 'none'}: {again(artifact.uri)}"
        )
    return record


def record_files(
    made: Arranged, skipped: Sequence[Skipped], class_names: Sequence[str], corrections: pa.Table | None = None
) -> dict[str, bytes]:
    """The files of a record, by name; `corrections` are those that were applied."""
    origin = {"stage": KIND}
    files = {origins_name(split): parquet.encode(_origins_table(side.origins), ORIGINS, origin) for split, side in made.stored.items()}
    if skipped:
        files[LEDGER] = json.dumps([each.entry for each in skipped], indent=1, ensure_ascii=False).encode()
    if made.duplicates.found:
        table = duplicates_table(made.duplicates, made.source, made.source_digests, class_names, made.dropped)
        files[DUPLICATES_FILE] = parquet.encode(table, DUPLICATES, origin)
    if corrections is not None:
        files[CORRECTIONS_FILE] = parquet.encode(corrections, CORRECTIONS, origin)
    return files


def publish_record(
    uri: str, key: str, files: Mapping[str, bytes], config: Mapping[str, Any], facts: Mapping[str, Any], truth: str | None = None
) -> None:
    """Publish a record; its `facts` name the data set that it leads to, which is published already, and so is the truth about it.

    A record of the same key that leads elsewhere is replaced: that data set is gone, and the source has changed since without its
    signature telling.

    Args:
        uri: Where it will lie.
        key: Of the settings and the source's signature.
        files: Content by name.
        config: The settings of the pixels.
        facts: What its manifest says; the fingerprint is that of the data set.
        truth: Where the truth about it lies, if it was changed on purpose.
    """
    there = find(uri, KIND, key)
    parents = {"dataset": objects.join(uri.rsplit("/", 2)[0], facts["fingerprint"]), **({"truth": truth} if truth else {})}
    if there is not None and there.fact("fingerprint") != facts["fingerprint"]:
        replace(there, files, config=config, parents=parents, facts=facts)
    else:
        publish(uri, KIND, key, files, config=config, parents=parents, facts=facts)


def skipped_facts(skipped: Sequence[Skipped]) -> dict[str, int]:
    """How many images of each split of the source were skipped."""
    return {split: lost(entry for entry in skipped if entry.split == split) for split in SPLITS}


def _origins_table(origins: Sequence[str]) -> pa.Table:
    return pa.table({"sample_id": pa.array(range(len(origins)), pa.int64()), "origin": pa.array(origins, pa.string())})


def _told_skipped(record: SourceRecord) -> list[str]:
    count = record.facts.skipped.train + record.facts.skipped.test
    return [f"{counted(count, 'file')} skipped, listed with the reasons in {record.artifact.place(LEDGER)}"] if count else []
