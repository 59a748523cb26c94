"""The canonical store of a data set: memory-mapped uint8 images with labels, read by every later stage.

Facts in the manifest (layout and value range are compared when it is opened): name, fingerprint, class_names in label order,
classes, shape [C, H, W], value_range [0, 255], layout CHW, colour (grey or rgb), resolution [H, W], mean, std, train_images,
test_images, images_per_class (train and test, in label order), shard_rows (train and test), skipped. A whitened data set
(see `bilp.data.whitened`) states the same under another fingerprint, and in whitening what its fit was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from bilp import storage
from bilp.data.contents import SplitName
from bilp.data.shards import Shape, map_shard, shard_name
from bilp.data.whitening import Whitening, decode
from bilp.errors import DamagedArtefact, IncompatibleArtefact, MissingArtefact
from bilp.manifest import Artefact, open_artefact
from bilp.storage import Uri, as_uri

KIND = "dataset"
WHITENED, FIT = "whitened", "whitening.safetensors"
"""Folder of whitened data sets below the one whose pixels they are, and the file that holds a fit."""
INDEX = pa.schema([("sample_id", pa.int64()), ("label", pa.int32()), ("origin", pa.string()), ("sha256", pa.string())])
"""Table beside the shards: position in the split, class, where the picture came from, digest of its uint8 pixels."""


def index_name(split: SplitName) -> str:
    """File name of a split's index table."""
    return f"{split}.parquet"


class Split:
    """One split of a data set; safe to use from several threads.

    Images stay on disk: a call copies only the rows it asks for out of the memory map.
    """

    def __init__(self, artefact: Artefact, split: SplitName, whitening: Callable[[], Whitening] | None = None) -> None:
        """`artefact` holds the pixels, `whitening` gives what `batch` applies to them.

        Raises IncompatibleArtefact if its labels and shards differ in number.
        """
        self._whitening = whitening
        self._artefact = artefact
        self._split: SplitName = split
        self._shape = _shape(artefact)
        self._rows: list[int] = list(artefact.fact("shard_rows")[split])
        mean, std = (np.asarray(artefact.fact(name), dtype=np.float64) for name in ("mean", "std"))
        # (x / 255 - mean) / std as one multiplication and one addition
        self._scale = torch.from_numpy(1 / (255 * std)).float().view(-1, 1, 1)
        self._offset = torch.from_numpy(-mean / std).float().view(-1, 1, 1)
        labels = artefact.table(index_name(split), INDEX, ["label"]).column("label")
        self.labels: Tensor = torch.from_numpy(labels.to_numpy().astype(np.int64))
        if len(self.labels) != sum(self._rows):
            raise IncompatibleArtefact(
                f"{artefact.uri}: {split} has {len(self.labels)} labels but {sum(self._rows)} images: ingest it again"
            )
        self._lock = Lock()
        self._shards: list[Tensor] | None = None
        self._members: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Tensor | None = None) -> Tensor:
        """Copies of the images at `indices` (int64 [n], any order, repeats allowed; None is all), uint8 [n, C, H, W].

        Raises IndexError for an index outside the split.
        """
        shards = self._mapped()
        if indices is None:
            return torch.cat(shards)
        indices = indices.to("cpu", torch.int64)
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(self)):
            raise IndexError(f"sample ids must lie in 0..{len(self) - 1}, found {int(indices.min())}..{int(indices.max())}")
        if len(shards) == 1:
            return shards[0].index_select(0, indices)
        gathered = torch.empty((len(indices), *self._shape), dtype=torch.uint8)
        number = indices // self._rows[0]  # all shards but the last are equally long
        for shard in torch.unique(number).tolist():
            places = (number == shard).nonzero().squeeze(1)
            gathered.index_copy_(0, places, shards[shard].index_select(0, indices[places] - shard * self._rows[0]))
        return gathered

    def batch(self, indices: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
        """The images at `indices`, normalised: float32 [n, C, H, W] = (x / 255 - mean) / std, on `device`; then whitened, if
        the data set is.

        Pixels travel to the device as uint8. Raises IndexError for an index outside the split.
        """
        pixels = self.images(indices).to(device)
        normalised = pixels.float().mul_(self._scale.to(device)).add_(self._offset.to(device))
        return normalised if self._whitening is None else self._whitening().apply(normalised)

    def by_class(self) -> list[Tensor]:
        """For each class the indices of its images, int64, ascending. Do not write into them: they are kept."""
        if self._members is None:
            order = torch.argsort(self.labels, stable=True)
            counts = torch.bincount(self.labels, minlength=len(self._artefact.fact("class_names")))
            self._members = list(torch.split(order, counts.tolist()))
        return self._members

    def index(self) -> pa.Table:
        """Table INDEX of the split: sample_id, label, origin, sha256."""
        return self._artefact.table(index_name(self._split), INDEX)

    def _mapped(self) -> list[Tensor]:
        """The shards, mapped and verified at first use."""
        with self._lock:
            if self._shards is None:
                names = [shard_name(self._split, number) for number in range(len(self._rows))]
                shards = [map_shard(Path(self._artefact.local(name)), self._shape) for name in names]
                if [len(shard) for shard in shards] != self._rows:
                    raise IncompatibleArtefact(
                        f"{self._artefact.uri}: shards of {self._split} have other lengths than the manifest: ingest it again"
                    )
                self._shards = shards
            return self._shards


class Dataset:
    """A data set in the canonical store. sample_id is the position in the train split, the order of the source."""

    def __init__(self, artefact: Artefact, pixels: Artefact) -> None:
        """Use `open_dataset`. `pixels` is `artefact` itself, or the data set that it is the whitened one of."""
        self._artefact = artefact
        self.uri: str = artefact.uri
        self.name: str = artefact.fact("name")
        self.fingerprint: str = artefact.fact("fingerprint")
        self.class_names: tuple[str, ...] = tuple(artefact.fact("class_names"))
        self.shape: Shape = _shape(artefact)
        self.mean: tuple[float, ...] = tuple(artefact.fact("mean"))
        self.std: tuple[float, ...] = tuple(artefact.fact("std"))
        self.whitening_facts: dict[str, Any] | None = artefact.manifest.facts.get("whitening")
        """What a whitening was fitted on and how, or None without one."""
        fitted = None if self.whitening_facts is None else self._fit
        self.train = Split(pixels, "train", fitted)
        self.test = Split(pixels, "test", fitted)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def whitening(self) -> Whitening | None:
        """What is applied to normalised images, read and verified at first use; None for a data set that is not whitened."""
        if self.whitening_facts is None:
            return None
        return decode(self._artefact.read(FIT), storage.join(self.uri, FIT))

    def _fit(self) -> Whitening:
        fitted = self.whitening
        assert fitted is not None
        return fitted


def open_dataset(uri: Uri) -> Dataset:
    """Open a data set that was ingested.

    Cheap: verifies the manifest, the index tables and the sizes of the shards; their checksums are compared when their
    images are first used. Raises MissingArtefact, DamagedArtefact or IncompatibleArtefact.
    """
    uri = as_uri(uri)
    artefact = open_artefact(uri, KIND, expect={"layout": "CHW", "value_range": [0, 255]})
    check_sizes(artefact)
    told = artefact.manifest.facts.get("whitening")
    if told is None:
        return Dataset(artefact, artefact)
    pixels = open_artefact(uri.rstrip("/").rsplit("/", 2)[0], KIND, expect={"fingerprint": told["of"]})
    check_sizes(pixels)
    return Dataset(artefact, pixels)


def check_sizes(artefact: Artefact) -> None:
    """Raise DamagedArtefact if a file is missing or has another size than the manifest says."""
    for name, entry in artefact.manifest.files.items():
        uri = storage.join(artefact.uri, name)
        try:
            found = storage.size(uri)
        except MissingArtefact as error:
            raise DamagedArtefact(f"{uri} is missing: delete {artefact.uri} and ingest the data set again") from error
        if found != entry.size:
            raise DamagedArtefact(f"{uri} has {found} bytes instead of {entry.size}: delete {artefact.uri} and ingest the data set again")


def _shape(artefact: Artefact) -> Shape:
    channels, height, width = artefact.fact("shape")
    return channels, height, width
