"""The classic sets through torchvision: MNIST, FashionMNIST, SVHN, CIFAR-10 and CIFAR-100.

Files are downloaded once into $BILP_DOWNLOADS (default ~/.cache/bilp/downloads), or may be put there by hand.
torchvision compares the published checksums of CIFAR's and SVHN's files before it opens them (CIFAR's are Python
pickles); what it loads as MNIST or FashionMNIST is compared here. So a store never holds anything but the published
set, and a source's signature need not look at the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.data.contents import SPLITS, Contents, Group, Labels, SplitName
from bilp.data.items import Items
from bilp.data.sources.idx_digests import PUBLISHED, digests
from bilp.data.sources.torchvision_files import check_reachable, check_regular, damaged, required, unreachable, wrong
from bilp.errors import DataError
from bilp.storage.saved_tensors import check_saved

GROUP = 256
CONVERTED_BYTES = 2**26
"""The largest file of 60,000 images of 28 x 28 with labels, as an old torchvision writes it: 47.5 MB."""

TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "svhn": "SVHN", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


class TorchvisionSet:
    """One of the sets in TORCHVISION."""

    def __init__(self, config: IngestConfig) -> None:
        """The set that `config.source` names."""
        self.name = config.source

    def signature(self) -> str:
        """The sets never change, torchvision's reading of them might: its version, and the checksums that are compared here."""
        return " ".join(["torchvision", version("torchvision"), TORCHVISION[self.name], *PUBLISHED.get(self.name, {}).values()])

    def read(self) -> Contents:
        """Both splits with torchvision's class names; downloads what is missing. Raises DataError if that fails."""
        return self._loaded.contents()

    def groups(self, items: Items) -> Iterator[Group]:
        """The rows of a split's array; downloads what is missing."""
        return self._loaded.groups(items)

    @cached_property
    def _loaded(self) -> LoadedArrays:
        root = downloads()
        kind = _kind(self.name)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{self.name}.lock"):
            loaded = {split: _load(self.name, kind, root, split) for split in SPLITS}
        train = loaded["train"]
        # SVHN has no list of names: its classes are the digits
        names = tuple(getattr(train, "classes", None) or [str(digit) for digit in range(10)])
        where = f"{self.name} in {root}"
        arrays = LoadedArrays(loaded, names, where)
        if self.name in PUBLISHED:
            for split, dataset in loaded.items():
                _check_published(self.name, split, dataset, where)
        return arrays


def downloads() -> Path:
    """Directory of downloaded source files: $BILP_DOWNLOADS or ~/.cache/bilp/downloads."""
    given = os.environ.get("BILP_DOWNLOADS")
    return (Path(given) if given else Path("~/.cache/bilp/downloads")).expanduser().absolute()


class LoadedArrays:
    """What torchvision-like data set objects hold: `data` plus `targets` or `labels`, whatever the axis order."""

    def __init__(self, datasets: Mapping[SplitName, Any], class_names: tuple[str, ...], where: str) -> None:
        """Raises DataError if pictures and labels differ in number or pictures have an unexpected form."""
        self._class_names = class_names
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._items: dict[SplitName, Items] = {}
        for split, dataset in datasets.items():
            self._images[split], labels = _arrays(dataset, f"{where} ({split})")
            self._items[split] = Items.of_rows(labels, split)

    def contents(self) -> Contents:
        """The splits."""
        return Contents(self._class_names, self._items)

    def groups(self, items: Items) -> Iterator[Group]:
        """Pixels of consecutive rows of a split."""
        (split,) = items.files
        for start, stop in items.rows(GROUP):
            yield Group([f"{split}/{row:05d}" for row in range(start, stop)], self._images[split][start:stop])


def _arrays(dataset: Any, where: str) -> tuple[NDArray[np.uint8], Labels]:
    images = np.asarray(dataset.data)
    if images.ndim == 4 and images.shape[1] == 3:  # SVHN is [N, C, H, W], CIFAR [N, H, W, C]
        images = images.transpose(0, 2, 3, 1)
    labels = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels).astype(np.int64)
    form_fits = images.dtype == np.uint8 and (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3))
    if not form_fits or labels.shape != images.shape[:1]:
        found = f"pictures {images.dtype} {images.shape} and labels {labels.shape}"
        raise DataError(f"{where}: {found} do not belong together: delete the files, so that they are downloaded again")
    return images, labels


def _check_published(name: str, split: SplitName, dataset: Any, where: str) -> None:
    """Raise DataError unless what torchvision has loaded is what the published files hold."""
    images, labels = _arrays(dataset, f"{where} ({split})")
    if images.nbytes > CONVERTED_BYTES:  # a tensor may claim any shape over a few bytes
        raise DataError(
            f"{where} ({split}): images {list(images.shape)} are more than the published ones: delete the files of "
            f"{Path(dataset.raw_folder).parent}, so that they are downloaded"
        )
    converted = Path(dataset.processed_folder) / (dataset.training_file if split == "train" else dataset.test_file)  # by an old torchvision
    for file, found in digests(split, images, labels).items():
        expected = PUBLISHED[name][file]
        if found != expected:
            path = converted if converted.is_file() else Path(dataset.raw_folder) / file
            raise DataError(
                f"{name}: {path} does not hold the published {file}: expected MD5 {expected}, found {found}. Move the files of "
                f"{path.parent} elsewhere, so that they are downloaded, or put the published ones there"
            )


def _check_converted(name: str, kind: Any, root: Path, split: SplitName) -> None:
    """What an old torchvision has converted is pickled, and loaded in place of the published files: look at what it declares."""
    file = root / kind.__name__ / "processed" / (getattr(kind, "training_file", "") if split == "train" else getattr(kind, "test_file", ""))
    if name in PUBLISHED and file.is_file():
        if file.stat().st_size > CONVERTED_BYTES:
            raise DataError(f"{file} is larger than the set that it should hold: delete it, so that the published files are used")
        check_saved(file.read_bytes(), str(file))


def _kind(name: str) -> Any:
    import torchvision.datasets  # slow to import, and only needed when the set is not yet in the store

    return getattr(torchvision.datasets, TORCHVISION[name])


def _load(name: str, kind: Any, root: Path, split: SplitName) -> Any:
    """A torchvision data set object, downloaded if its files are not there."""
    arguments: dict[str, Any] = {"split": split} if hasattr(kind, "split_list") else {"train": split == "train"}
    wanted = required(kind, split)
    check_regular(kind, root, split)
    _check_converted(name, kind, root, split)
    try:
        return kind(root, download=False, **arguments)
    except RuntimeError as error:
        if "not found" not in str(error):
            raise damaged(name, root, wanted, error) from error
    except Exception as error:  # a file is there but cannot be parsed: torchvision lets anything through
        raise damaged(name, root, wanted, error) from error
    try:
        check_reachable(root, wanted)
        return kind(root, download=True, **arguments)
    except Exception as error:  # urllib, tarfile, torchvision's RuntimeError: all mean that the files did not arrive
        raise unreachable(name, root, wanted, error, wrong(kind, root, split)) from error
