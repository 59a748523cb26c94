"""The classic sets through torchvision: MNIST, FashionMNIST, SVHN, CIFAR-10 and CIFAR-100.

Files are downloaded once into $BILP_DOWNLOADS (default ~/.cache/bilp/downloads), or may be put there by hand.
CIFAR's original files are Python pickles; torchvision compares their published checksums before it opens them.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from bilp.data.contents import SPLITS, Contents, Group, Labels, SplitName
from bilp.errors import DataError

GROUP = 256
PROBE_SECONDS = 20.0

TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "svhn": "SVHN", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


@dataclass(frozen=True)
class Download:
    """A file that torchvision wants: where it lies below the downloads, where it comes from, its MD5."""

    path: str
    urls: tuple[str, ...]
    md5: str


class TorchvisionSet:
    """One of the sets in TORCHVISION."""

    def __init__(self, name: str) -> None:
        """`name` as in TORCHVISION."""
        self.name = name

    def signature(self) -> str:
        """The sets never change, torchvision's reading of them might: its version."""
        return f"torchvision {version('torchvision')} {TORCHVISION[self.name]}"

    def read(self) -> Contents:
        """Both splits with torchvision's class names; downloads what is missing. Raises DataError if that fails."""
        root = downloads()
        kind = _kind(self.name)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{self.name}.lock"):
            loaded = {split: _load(self.name, kind, root, split) for split in SPLITS}
        train = loaded["train"]
        # SVHN has no list of names: its classes are the digits
        names = tuple(getattr(train, "classes", None) or [str(digit) for digit in range(10)])
        return contents_of(loaded, names, f"{self.name} in {root}")


def downloads() -> Path:
    """Directory of downloaded source files: $BILP_DOWNLOADS or ~/.cache/bilp/downloads."""
    given = os.environ.get("BILP_DOWNLOADS")
    return (Path(given) if given else Path("~/.cache/bilp/downloads")).expanduser().absolute()


def contents_of(datasets: Mapping[SplitName, Any], class_names: tuple[str, ...], where: str) -> Contents:
    """Contents of torchvision-like data set objects: `data` plus `targets` or `labels`, whatever the axis order.

    Raises DataError if pictures and labels differ in number or pictures have an unexpected form.
    """
    arrays = {split: _arrays(dataset, f"{where} ({split})") for split, dataset in datasets.items()}

    def groups(split: SplitName) -> Iterator[Group]:
        images = arrays[split][0]
        for start in range(0, len(images), GROUP):
            part = images[start : start + GROUP]
            yield Group([f"{split}/{start + i:05d}" for i in range(len(part))], part)

    return Contents(class_names, {split: labels for split, (_, labels) in arrays.items()}, groups)


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


def _kind(name: str) -> Any:
    import torchvision.datasets  # slow to import, and only needed when the set is not yet in the store

    return getattr(torchvision.datasets, TORCHVISION[name])


def _load(name: str, kind: Any, root: Path, split: SplitName) -> Any:
    """A torchvision data set object, downloaded if its files are not there."""
    arguments: dict[str, Any] = {"split": split} if name == "svhn" else {"train": split == "train"}
    wanted = required(kind, split)
    try:
        return kind(root, download=False, **arguments)
    except RuntimeError as error:
        if "not found" not in str(error):
            raise _damaged(name, root, wanted, error) from error
    except Exception as error:  # a file is there but cannot be parsed: torchvision lets anything through
        raise _damaged(name, root, wanted, error) from error
    try:
        _check_reachable(root, wanted)
        return kind(root, download=True, **arguments)
    except Exception as error:  # urllib, tarfile, torchvision's RuntimeError: all mean that the files did not arrive
        raise _unreachable(name, root, wanted, error) from error


def required(kind: Any, split: SplitName) -> tuple[Download, ...]:
    """The files that a torchvision class downloads for a split, as the class itself states them."""
    if hasattr(kind, "mirrors"):
        folder = f"{kind.__name__}/raw"
        return tuple(Download(f"{folder}/{file}", tuple(mirror + file for mirror in kind.mirrors), md5) for file, md5 in kind.resources)
    if hasattr(kind, "split_list"):
        url, file, md5 = kind.split_list[split]
        return (Download(file, (url,), md5),)
    return (Download(kind.filename, (kind.url,), kind.tgz_md5),)


def _check_reachable(root: Path, wanted: Sequence[Download]) -> None:
    """Raise the network's own error at once if no mirror of a missing file answers; torchvision would wait without limit."""
    from torchvision.datasets.utils import check_integrity

    for download in wanted:
        if check_integrity(root / download.path, download.md5):
            continue
        failures = [error for error in map(_probe, download.urls) if error is not None]
        if len(failures) == len(download.urls):
            raise failures[0]


def _probe(url: str) -> OSError | None:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS):
            return None
    except OSError as error:  # refused connections, timeouts, unknown hosts and HTTP errors
        return error


def _unreachable(name: str, root: Path, wanted: Sequence[Download], error: Exception) -> DataError:
    hosts = sorted({urlsplit(url).hostname or url for download in wanted for url in download.urls})
    files = "\n".join(f"  {root / download.path}  (MD5 {download.md5}) from {download.urls[0]}" for download in wanted)
    return DataError(
        f"{name}: could not download from {' or '.join(hosts)}: {error}\n"
        f"Check the network (a proxy is taken from http_proxy and https_proxy), or put these files there by hand:\n{files}\n"
        f"Or ingest a Parquet copy in the Hugging Face layout: --dataset parquet --ingest.uri DIRECTORY, "
        f"where a directory called {name} also gets the published normalisation."
    )


def _damaged(name: str, root: Path, wanted: Sequence[Download], error: Exception) -> DataError:
    folders = sorted({str((root / download.path).parent) for download in wanted})
    return DataError(
        f"{name}: damaged files in {' and '.join(folders)}: {error or type(error).__name__}. Delete them, so that they are downloaded again"
    )
