"""A data set that was ingested, as `bilp.ingest` returns it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bilp.api import showing
from bilp.api.keywords import Given, pinned, stored
from bilp.api.placed import Result, located
from bilp.api.watching import Watch
from bilp.artifacts.artifact import manifest_kind
from bilp.config import IngestConfig
from bilp.config.shapes import Shape, sample_noun
from bilp.config.sources import SOURCES as SOURCE_ENTRIES
from bilp.config.sources import UNKNOWN_DATA
from bilp.data import open_dataset, read_source
from bilp.data import store as dataset_store
from bilp.data.contents import SPLITS, SplitName
from bilp.data.source_record import KIND as RECORD
from bilp.data.source_record import SOURCES, SourceRecord, open_record
from bilp.data.whitened import whiten
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.storage import objects
from bilp.storage.objects import Uri
from bilp.truth.table import Truth, open_truth

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from bilp.data import Dataset as OpenedDataset

EXAMPLES = 10
"""Classes and images per class that a notebook shows at most."""


class Dataset(Result):
    """Real images: `opened` gives them as tensors, `to_pandas` where each came from."""

    def __init__(self, uri: str, record_uri: str | None, config: IngestConfig, given: Given | None = None, held: object = None) -> None:
        """Use `bilp.ingest`.

        Args:
            uri: The data set.
            record_uri: The record of its source, if there is one.
            config: The settings that it was ingested with.
            given: Those of them that were given, with all others that were; by default every one.
            held: What must stay in memory for its source to be read again.
        """
        super().__init__(uri)
        self.record_uri, self.config, self._held = record_uri, config, held
        self.given: Given = pinned(config) if given is None else given

    @cached_property
    def opened(self) -> OpenedDataset:
        """Its images and labels: `opened.train.images()` is uint8 `[N, C, H, W]`, or `[N, T, C, H, W]` of clips, `opened.train.labels`
        `[N]`."""
        return open_dataset(self.uri, self.record_uri)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return self.opened.class_names

    @property
    def shape(self) -> Shape:
        """`[C, H, W]` of an image, `[T, C, H, W]` of a clip."""
        return self.opened.shape

    @property
    def notes(self) -> list[str]:
        """What there is to know of its source: choices, skipped files, duplicates."""
        return [] if self.record_uri is None else open_record(self.record_uri).lines()

    @cached_property
    def truth(self) -> Truth | None:
        """Which labels are wrong and which images are copies, where that was done on purpose: to judge results by, not to train with."""
        return None if self.record_uri is None else open_truth(self.record_uri)

    def origins(self, split: SplitName = "train") -> list[str]:
        """Where each image came from, such as its file name; empty texts if nobody knows any more."""
        opened = self.opened
        known = opened.record is not None
        return opened.origins(split) if known else [""] * len(opened.train if split == "train" else opened.test)

    def to_pandas(self) -> pd.DataFrame:
        """One row per image: split, sample_id, class, label, origin and the SHA-256 of its pixels."""
        import pandas as pd

        return pd.concat([self._frame(split) for split in SPLITS], ignore_index=True)

    def _frame(self, split: SplitName) -> pd.DataFrame:
        import pandas as pd

        index = (self.opened.train if split == "train" else self.opened.test).index()
        labels = index["label"].to_pylist()
        columns = {
            "split": split,
            "sample_id": index["sample_id"].to_numpy(),
            "class": [self.class_names[label] for label in labels],
            "label": labels,
            "origin": self.origins(split),
            "sha256": index["sha256"].to_pylist(),
        }
        return pd.DataFrame(columns)

    def samples(self, ids: Sequence[int]) -> tuple[Tensor, list[str]]:
        """Training images `[n, C, H, W]` or clips `[n, T, C, H, W]`, uint8, and in words what each is."""
        import torch

        chosen = torch.tensor(list(ids), dtype=torch.int64)
        labels, origins = self.opened.train.labels[chosen].tolist(), self.origins()
        told = [f"{self.class_names[label]}, {origins[i] or f'sample {i}'}" for label, i in zip(labels, ids, strict=True)]
        return self.opened.train.images(chosen), told

    def __repr__(self) -> str:
        opened = self.opened
        size = "x".join(map(str, opened.shape))
        return (
            f"{len(opened.train):,} training and {len(opened.test):,} test {sample_noun(opened.shape)}s, {opened.classes} classes, {size}, "
            f"{opened.name}, from {self.place}"
        )

    def _repr_html_(self) -> str:
        lines = [showing.paragraph(repr(self)), *map(showing.paragraph, self.notes)]
        for index in list(range(self.opened.classes))[:EXAMPLES]:
            pixels, told = self.samples(self.opened.train.by_class()[index][:EXAMPLES].tolist())
            lines.append(showing.strip(pixels, told))
        return "".join(lines)


def as_data(given: Dataset | Uri, root: Uri | None = None) -> Dataset:
    """The data set itself, or the one that lies at a path, a URI or a key, or that a record of a source leads to."""
    if isinstance(given, Dataset):
        return given
    if isinstance(given, str) and given in SOURCE_ENTRIES.choosable():
        raise ConfigError(f"{given!r} is the name of a source, and a data set is needed here: give bilp.ingest({given!r})")
    uri = located(given, root, (dataset_store.KIND, RECORD))
    kind = manifest_kind(uri)
    if kind == RECORD:
        found = open_record(uri)
        return Dataset(found.dataset_uri, uri, _read_by(found, None))
    if kind not in (None, dataset_store.KIND):
        raise IncompatibleArtifact(f"{uri} is of kind {kind}, and a data set is needed here: give what bilp.ingest returns, or its path")
    opened = open_dataset(uri)
    whitened = opened.whitening_facts
    mark = opened.fingerprint if whitened is None else str(whitened["of"])
    record = max(_records(opened.uri, mark), key=lambda found: found.artifact.manifest.created_at, default=None)
    return Dataset(uri, None if record is None else record.artifact.uri, _read_by(record, whitened))


def read(config: IngestConfig, root: str, watch: Watch) -> tuple[str, str]:
    """The URIs of the record of a source and of the data set, whitened if the configuration says so."""
    record = read_source(config, root, watch.step("ingesting"))
    uri = open_record(record).dataset_uri
    if config.whitening != "none":
        uri = whiten(uri, config.whitening_epsilon, watch.step("whitening"))
    return record, uri


def _records(uri: str, fingerprint: str) -> Iterator[SourceRecord]:
    """The records that lead to a data set."""
    home = uri.partition(f"/{fingerprint}")[0]
    for key in objects.children(objects.join(home, SOURCES)):
        record = open_record(objects.join(home, SOURCES, key))
        if record.facts.fingerprint == fingerprint:
            yield record


def _read_by(record: SourceRecord | None, whitened: Mapping[str, Any] | None) -> IngestConfig:
    """The settings that the images were ingested with; of data whose record is gone, that no rule knows them."""
    if record is None:
        return IngestConfig.model_validate({"source": UNKNOWN_DATA, "uri": "unknown"})
    more = {"whitening": "none"} if whitened is None else {"whitening": whitened["kind"], "whitening_epsilon": whitened["epsilon"]}
    return stored(IngestConfig, record.artifact.manifest.config, **more)
