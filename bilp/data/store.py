"""The canonical store of a data set: memory-mapped uint8 images with labels, read by every later stage.

Facts in the manifest (layout and value range are compared when it is opened): name, fingerprint, class_names in label order,
class_ids (where classes have such), classes, shape [C, H, W], value_range [0, 255], layout CHW, colour (grey or rgb),
resolution [H, W], mean, std, train_images, test_images, images_per_class (train and test, in label order), shard_rows (train and
test); of clips shape [T, C, H, W], layout TCHW and frames T, and a clip counts as an image everywhere. Where the images came from is
no content: the record of a source tells it (see `bilp.data.source_record`). A whitened data set (see `bilp.data.whitened`) states the
same under another fingerprint, with mean 0 and std 1, and in whitening what its fit was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.artifacts.artifact import Artifact, check_sizes, open_artifact
from bilp.artifacts.facts import DatasetFacts
from bilp.artifacts.table_rules import Rules
from bilp.artifacts.tables import declare
from bilp.capture import to_device
from bilp.config.shapes import LAYOUTS, Shape, values_in
from bilp.data.contents import SplitName
from bilp.data.resident import Kept, Resident
from bilp.data.shards import gather, map_shard, shard_name
from bilp.data.source_record import SourceRecord, open_record
from bilp.data.whitening import Whitening, decode
from bilp.errors import DamagedArtifact, IncompatibleArtifact, MissingArtifact
from bilp.storage.objects import Uri, as_uri

KIND = "dataset"
WHITENED, FIT = "whitened", "whitening.safetensors"
"""Folder of whitened data sets below the one whose pixels they are, and the file that holds a fit."""
VIDEO = "video"
_ROWS = Rules(ranges={"label": (0, 2**31)}, places="sample_id", texts={"sha256": "^[0-9a-f]{64}$"})
INDEX = declare(pa.schema([("sample_id", pa.int64()), ("label", pa.int32()), ("sha256", pa.string())]), _ROWS)
"""Table beside the shards: position in the split, class, digest of the picture's uint8 pixels."""
WINDOWS = declare(
    pa.schema([*INDEX, (VIDEO, pa.int64())]), Rules(ranges={**_ROWS.ranges, VIDEO: (0, 2**62)}, places="sample_id", texts=_ROWS.texts)
)
"""INDEX where several clips were taken of a video, and the number of the video that each is a window of."""
_WITH_ORIGINS = declare(
    pa.schema([("sample_id", pa.int64()), ("label", pa.int32()), ("origin", pa.string()), ("sha256", pa.string())]), _ROWS
)
"""The same as data sets have it that were published before sources had records; its origins are those of the first source."""

Values = tuple[float, ...]
Fit = Callable[[], Whitening]


def index_table(labels: NDArray[np.int64], digests: Sequence[str], videos: NDArray[np.int64] | None = None) -> pa.Table:
    """Table INDEX of the labels and digests of a split, or WINDOWS with the video of each clip."""
    columns = {
        "sample_id": np.arange(len(labels), dtype=np.int64),
        "label": labels.astype(np.int32),
        "sha256": pa.array(digests, pa.string()),
    }
    return pa.table(columns if videos is None else {**columns, VIDEO: videos})


def index_name(split: SplitName) -> str:
    """File name of a split's index table."""
    return f"{split}.parquet"


class Split:
    """One split of a data set; safe to use from several threads.

    Images stay on disk: a call copies only the rows it asks for out of the memory map.
    """

    def __init__(self, artifact: Artifact, split: SplitName, mean: Values, std: Values, whitening: Fit | None = None) -> None:
        """`artifact` holds the pixels; `mean` and `std` of each channel, and what `whitening` gives, are what `batch` applies to them.

        Raises DamagedArtifact if its labels are not those that the manifest counts.
        """
        facts = artifact.stated(DatasetFacts)
        self._whitening = whitening
        self._artifact = artifact
        self._split: SplitName = split
        self._shape = facts.shape
        self._classes = facts.classes
        self._rows: tuple[int, ...] = getattr(facts.shard_rows, split)
        center, scale = (np.asarray(values, dtype=np.float64) for values in (mean, std))
        # (x / 255 - mean) / std as one multiplication and one addition
        self._scale = torch.from_numpy(1 / (255 * scale)).float().view(-1, 1, 1)
        self._offset = torch.from_numpy(-center / scale).float().view(-1, 1, 1)
        table = _index(artifact, split, ["label"] if facts.videos is None else ["label", VIDEO])
        labels = table.column("label")
        self.videos: Tensor | None = None
        """Of each clip the number of the video, int64 [N], where several are windows of one."""
        if facts.videos is not None:
            self.videos = _numbers_of_videos(table, artifact.uri, split, getattr(facts.videos, split))
        self.labels: Tensor = torch.from_numpy(labels.to_numpy().astype(np.int64))
        counts = tuple(torch.bincount(self.labels, minlength=self._classes).tolist())
        if counts != getattr(facts.images_per_class, split):
            raise DamagedArtifact(f"{artifact.uri}: the labels of {split} are not those that the manifest counts: ingest it again")
        self._lock = Lock()
        self._resident = Resident(self.images, len(self.labels) * values_in(self._shape), len(self.labels))
        self._factors: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._shards: list[Tensor] | None = None
        self._members: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answers(self) -> int:
        """How many answers a test has: one for each sample, or for each video that several clips are windows of."""
        return len(self) if self.videos is None else int(self.videos.max()) + 1

    def images(self, indices: Tensor | None = None) -> Tensor:
        """Copies of the images at `indices` (int64 [n], any order, repeats allowed; None is all), uint8 [n, C, H, W], or clips
        [n, T, C, H, W].

        Raises IndexError for an index outside the split.
        """
        shards = self._mapped()
        if indices is None:
            return torch.cat(shards)
        indices = self._within(indices.to("cpu", torch.int64))
        return gather(shards, indices)

    def batch(self, indices: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
        """The images or clips at `indices`, normalized: float32 [n, C, H, W] or [n, T, C, H, W] = (x / 255 - mean) / std, on `device`;
        of a whitened data set (mean 0, std 1) whitened.

        Pixels travel to the device as uint8, or are gathered there if it keeps them (see `keep_on`). Raises IndexError for an index
        outside the split, without reading indices that lie on a device that keeps the images.
        """
        place = torch.device(device)
        kept = self._resident.for_batch(place, len(self) if indices is None else len(indices))
        if kept is not None:
            here = indices if indices is None or indices.device.type != "cpu" else self._within(indices)
            rows = kept.rows(here)
            if rows is not None:
                return self.normalized(
                    kept.images if here is None else kept.images.index_select(0, rows.to(place, non_blocking=True)), place
                )
        return self.normalized(to_device([self.images(indices)], place)[0], place)

    def kept_on(self, device: torch.device | str, indices: Tensor) -> Kept | None:
        """What a device keeps of the split, if the images at `indices` (int64 [n] on the CPU) are among it; nothing is read."""
        kept = self._resident.kept(torch.device(device))
        return None if kept is None or kept.rows(indices) is None else kept

    def keep_on(self, device: torch.device | str, some: Tensor | None = None) -> bool:
        """Put the pixels of the split, or those of the images at `some` (int64 [n]), on a GPU of which they fill a small part; whether
        they are there now.

        All of them come there by themselves once a GPU has been given as many images as there are. Batches are the same with and without.
        Raises ConfigError if BILP_DATA wants them there and they do not fit.
        """
        kept = self._resident.keep(torch.device(device), some)
        return kept is not None and kept.rows(some) is not None

    def normalized(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images or clips, uint8, of whatever split or data set, as networks get those of this one (see `batch`)."""
        pixels = images.to(device)
        scale, offset = self._at(pixels.device)
        normalized = pixels.float().mul_(scale).add_(offset)
        return normalized if self._whitening is None else self._whitening().apply(normalized)

    def by_class(self) -> list[Tensor]:
        """For each class the indices of its images, int64, ascending. Do not write into them: they are kept."""
        if self._members is None:
            order = torch.argsort(self.labels, stable=True)
            counts = torch.bincount(self.labels, minlength=self._classes)
            self._members = list(torch.split(order, counts.tolist()))
        return self._members

    def index(self) -> pa.Table:
        """Table INDEX of the split: sample_id, label, sha256."""
        return _index(self._artifact, self._split, INDEX.names)

    def _within(self, indices: Tensor) -> Tensor:
        """Indices on the CPU, if they are inside of the split."""
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(self)):
            raise IndexError(f"sample ids must lie in 0..{len(self) - 1}, found {int(indices.min())}..{int(indices.max())}")
        return indices

    def _at(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Scale and offset on a device, which keeps them."""
        if device not in self._factors:
            self._factors[device] = (self._scale.to(device), self._offset.to(device))
        return self._factors[device]

    def _mapped(self) -> list[Tensor]:
        """The shards, mapped and verified at first use."""
        with self._lock:
            if self._shards is None:
                names = [shard_name(self._split, number) for number in range(len(self._rows))]
                files = zip(self._artifact.locals(names), self._rows, strict=True)
                shards = [map_shard(file, self._shape, rows) for file, rows in files]
                self._shards = shards
            return self._shards


class Dataset:
    """A data set in the canonical store. sample_id is the position in the train split, the order of the source."""

    def __init__(self, artifact: Artifact, pixels: Artifact, record: SourceRecord | None = None) -> None:
        """Use `open_dataset`. `pixels` is `artifact` itself, or the data set that it is the whitened one of."""
        facts = artifact.stated(DatasetFacts)
        self._artifact = artifact
        self.uri: str = artifact.uri
        self.name: str = facts.name
        self.fingerprint: str = facts.fingerprint
        self.class_names: tuple[str, ...] = facts.class_names
        self.class_ids: tuple[str, ...] | None = facts.class_ids
        self.shape: Shape = facts.shape
        self.mean: tuple[float, ...] = facts.mean
        self.std: tuple[float, ...] = facts.std
        self.whitening_facts: dict[str, Any] | None = artifact.manifest.facts.get("whitening")
        """What a whitening was fitted on and how, or None without one."""
        fitted = None if self.whitening_facts is None else self._fit
        self.train = Split(pixels, "train", self.mean, self.std, fitted)
        self.test = Split(pixels, "test", self.mean, self.std, fitted)
        self.record = record
        """What the source said that the images were read from, or None if nobody asked for it."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def origins(self, split: SplitName) -> list[str]:
        """Where each image of a split came from, relative to the source. Raises MissingArtifact without the source's record."""
        if self.record is None:
            raise MissingArtifact(f"{self.uri} was opened without the record of its source: open it with open_recorded")
        return self.record.origins(split)

    @cached_property
    def whitening(self) -> Whitening | None:
        """What is applied to images after mean and std, read and verified at first use; None for a data set that is not whitened."""
        if self.whitening_facts is None:
            return None
        return decode(self._artifact.read(FIT), self._artifact.place(FIT), self.shape)

    def _fit(self) -> Whitening:
        fitted = self.whitening
        assert fitted is not None
        return fitted


def open_dataset(uri: Uri, record_uri: Uri | None = None) -> Dataset:
    """Open a data set that was ingested, with the record of the source that it was read from if origins are wanted.

    Cheap: verifies the manifest, the index tables and the sizes of the shards; their checksums are compared when their
    images are first used. Raises MissingArtifact, DamagedArtifact, or IncompatibleArtifact, also for the record of another
    data set.
    """
    uri = as_uri(uri)
    artifact = open_artifact(uri, KIND, expect={"value_range": [0, 255]}, one_of={"layout": LAYOUTS})
    facts = artifact.stated(DatasetFacts)
    pixels = artifact
    if facts.whitening is not None:
        pixels = open_artifact(uri.rstrip("/").rsplit("/", 2)[0], KIND, expect=_kept_by_whitening(facts))
    check_sizes(pixels.uri, [pixels] if pixels is artifact else [pixels, artifact])  # the whitened one lies below the other
    record = None if record_uri is None else open_record(as_uri(record_uri)).of(pixels.stated(DatasetFacts))
    return Dataset(artifact, pixels, record)


def _kept_by_whitening(facts: DatasetFacts) -> dict[str, Any]:
    """What the data set that a whitened one is made of must state."""
    assert facts.whitening is not None
    changed = {"fingerprint", "mean", "std", "whitening", "skipped", "name"}
    return {**facts.model_dump(mode="json", exclude=changed, exclude_none=True), "fingerprint": facts.whitening.of}


def open_recorded(record_uri: Uri) -> Dataset:
    """Open the data set that the record of a source leads to, as it was stored, with that record."""
    return open_dataset(open_record(as_uri(record_uri)).dataset_uri, record_uri)


def _numbers_of_videos(table: pa.Table, uri: str, split: str, count: int) -> Tensor:
    """The video of each clip of a split. Raises DamagedArtifact if there are not `count` of them, numbered from 0."""
    numbers = table.column(VIDEO).to_numpy().astype(np.int64)
    if len(numbers) and not np.array_equal(np.unique(numbers), np.arange(count)):
        raise DamagedArtifact(f"{uri}: the videos of {split} are not those that the manifest counts: ingest it again")
    return torch.from_numpy(numbers)


def _index(artifact: Artifact, split: SplitName, columns: Sequence[str]) -> pa.Table:
    """Columns of INDEX; raises IncompatibleArtifact if the table has neither this nor the former schema."""
    name, facts = index_name(split), artifact.stated(DatasetFacts)
    rows, below = sum(getattr(facts.images_per_class, split)), {"label": facts.classes}
    if facts.videos is not None:
        return artifact.table(name, WINDOWS, columns, rows, below)
    try:
        return artifact.table(name, INDEX, columns, rows, below)
    except IncompatibleArtifact:
        with suppress(IncompatibleArtifact):
            return artifact.table(name, _WITH_ORIGINS, columns, rows, below)
        raise
