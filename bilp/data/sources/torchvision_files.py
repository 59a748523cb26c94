"""The files that torchvision wants: which they are, whether they can be had, and what to say if not."""

from __future__ import annotations

import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bilp.data.contents import SplitName
from bilp.data.listing import IRREGULAR
from bilp.errors import DataError

PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class Download:
    """A file that torchvision wants: where it lies below the downloads, where it comes from, its MD5."""

    path: str
    urls: tuple[str, ...]
    md5: str


def required(kind: Any, split: SplitName) -> tuple[Download, ...]:
    """The files that a torchvision class downloads for a split, as the class itself states them."""
    if hasattr(kind, "mirrors"):
        folder = f"{kind.__name__}/raw"
        return tuple(Download(f"{folder}/{file}", tuple(mirror + file for mirror in kind.mirrors), md5) for file, md5 in kind.resources)
    if hasattr(kind, "split_list"):
        url, file, md5 = kind.split_list[split]
        return (Download(file, (url,), md5),)
    return (Download(kind.filename, (kind.url,), kind.tgz_md5),)


def check_regular(kind: Any, root: Path, split: SplitName) -> None:
    """Raise DataError if what torchvision would open is a device, pipe or socket: reading it might never end."""
    wanted = [root / download.path for download in required(kind, split)]
    folders = {path.parent for path in wanted if path.parent != root}
    folders |= {root / kind.base_folder} if hasattr(kind, "base_folder") else set()
    folders |= {root / kind.__name__ / "processed"}
    inside = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    for path in (*wanted, *inside):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path} is {IRREGULAR}: remove it, so that the file is downloaded")


def wrong(kind: Any, root: Path, split: SplitName) -> str:
    """Words for each file that torchvision would open and that has another checksum than the published one."""
    from torchvision.datasets.utils import calculate_md5

    if hasattr(kind, "train_list"):
        files = [(root / kind.base_folder / file, md5) for file, md5 in (*kind.train_list, *kind.test_list)]
    elif hasattr(kind, "split_list"):
        files = [(root / kind.split_list[split][1], kind.split_list[split][2])]
    else:
        files = []
    found = [(path, md5, calculate_md5(path)) for path, md5 in files if path.is_file()]
    return "".join(f"; {path} is not the published file: expected MD5 {md5}, found {other}" for path, md5, other in found if other != md5)


def check_reachable(root: Path, wanted: Sequence[Download]) -> None:
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


def unreachable(name: str, root: Path, wanted: Sequence[Download], error: Exception, misplaced: str) -> DataError:
    """The error for files that could not be downloaded.

    Args:
        name: Of the data set.
        root: Where downloads lie.
        wanted: The files.
        error: What happened.
        misplaced: The words of `wrong`, for files that are there and are not the published ones.
    """
    hosts = sorted({urlsplit(url).hostname or url for download in wanted for url in download.urls})
    files = ", ".join(f"{root / download.path} (MD5 {download.md5}) from {download.urls[0]}" for download in wanted)
    return DataError(
        f"{name}: could not download from {' or '.join(hosts)}: {error}{misplaced}: "
        f"check the network (a proxy is taken from http_proxy and https_proxy), or put these files there by hand: {files}; "
        f"or ingest a Parquet copy in the Hugging Face layout: --dataset parquet --ingest.uri DIRECTORY, "
        f"where a directory called {name} also gets the published normalization"
    )


def damaged(name: str, root: Path, wanted: Sequence[Download], error: Exception) -> DataError:
    """The error for files that are there but cannot be read."""
    folders = sorted({str((root / download.path).parent) for download in wanted})
    return DataError(
        f"{name}: damaged files in {' and '.join(folders)}: {error or type(error).__name__}. Delete them, so that they are downloaded again"
    )
