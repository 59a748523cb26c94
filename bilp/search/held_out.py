"""The data set that a search works on: the training images of another, of which a part is held out in the place of the test images.

It is a data set of its own with a fingerprint of its own, so that nothing of a search meets anything of the data set itself, and so that
no stage of a search can read a test image: there is none in it. Copies of an image (equal pixels) lie on one side.

The constants of normalization stay those of the data set; labels and choices have no part in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bilp.artifacts import parquet
from bilp.artifacts.artifact import open_artifact, there_already
from bilp.artifacts.facts import DatasetFacts
from bilp.artifacts.publication import publish
from bilp.data import Dataset, open_dataset
from bilp.data.contents import SplitName
from bilp.data.duplicates import numbered
from bilp.data.measure import fingerprint
from bilp.data.shards import ShardWriter
from bilp.data.splitting import held_out as divided
from bilp.data.store import INDEX, KIND, WINDOWS, index_name, index_table
from bilp.data.videos import renumbered, together, videos_fact
from bilp.data.whitened import whiten
from bilp.errors import ConfigError
from bilp.progress import Progress, silent
from bilp.seeds import stream_seed
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.storage.scratch import scratch_folder

BLOCK_BYTES = 16 * 2**20
"""Pixels that are copied at once."""
FEWEST = 4
"""Training images that a class needs so that one can be held out and something is left to choose from."""

Mask = NDArray[np.bool_]


def held_out_mask(dataset: Dataset, share: float, seed: int) -> Mask:
    """Which training images are held out, `[N]`: the share of each class, at random by a stream of its own, copies together.

    Raises ConfigError if a class has too few images.
    """
    counts = np.bincount(dataset.train.labels.numpy(), minlength=dataset.classes)
    if counts.min() < FEWEST:
        name = dataset.class_names[int(counts.argmin())]
        raise ConfigError(
            f"a search holds training samples out, and class {name!r} has {int(counts.min())}: give numbers instead of search, "
            f"or at least {FEWEST} samples of each class"
        )
    pictures = numbered(dataset.train.index()["sha256"].to_pylist())
    if dataset.train.videos is not None:
        pictures = together(dataset.train.videos.numpy(), pictures)
    own = stream_seed(seed, "search", "held out")
    return divided(dataset.train.labels.numpy(), dataset.class_names, share, own, dataset.name, pictures)


def hold_out(dataset_uri: Uri, share: float, seed: int, root: Uri, progress: Progress = silent) -> str:
    """Publish the data set whose test split is a part of the training images of the one at `dataset_uri`; its URI.

    Whitened data sets have theirs whitened anew, by what is left for training. Reads no test image.

    Args:
        dataset_uri: The data set.
        share: Part of each class of its training images that is held out.
        seed: Of which ones.
        root: Where results lie.
        progress: Counts images.
    """
    dataset_uri, root = as_uri(dataset_uri), as_uri(root)
    dataset = open_dataset(dataset_uri)
    mask = held_out_mask(dataset, share, seed)
    plain_uri = dataset_uri if dataset.whitening_facts is None else dataset_uri.rstrip("/").rsplit("/", 2)[0]
    uri = _publish(open_dataset(plain_uri), mask, root, progress)
    if dataset.whitening_facts is None:
        return uri
    return whiten(uri, float(dataset.whitening_facts["epsilon"]), progress)


def _publish(dataset: Dataset, mask: Mask, root: str, progress: Progress) -> str:
    labels, digests = dataset.train.labels.numpy(), dataset.train.index()["sha256"].to_pylist()
    sides: dict[SplitName, Mask] = {"train": ~mask, "test": mask}
    whole = dataset.train.videos
    videos = {} if whole is None else {split: renumbered(whole.numpy()[side]) for split, side in sides.items()}
    mark = fingerprint(
        dataset.class_names,
        dataset.shape,
        {split: labels[side] for split, side in sides.items()},
        {split: list(compress(digests, side.tolist())) for split, side in sides.items()},
        {"mean": list(dataset.mean), "std": list(dataset.std)},
        videos=videos,
    )
    uri = objects.join(root, "datasets", dataset.name, mark)
    if there_already(uri, KIND, mark) is not None:
        return uri
    objects.check_storage(root)
    with scratch_folder("bilp-search-") as folder:
        writers = {split: ShardWriter(folder, split) for split in sides}
        _copy(dataset, sides, writers, progress)
        files: dict[str, bytes | Path] = {path.name: path for writer in writers.values() for path in writer.close()}
        for split, side in sides.items():
            index = index_table(labels[side], list(compress(digests, side.tolist())), videos.get(split))
            files[index_name(split)] = parquet.encode(index, WINDOWS if videos else INDEX, {"fingerprint": mark})
        facts = {**_facts(dataset, labels, sides), "fingerprint": mark, "shard_rows": {s: list(w.rows) for s, w in writers.items()}}
        facts |= videos_fact(videos)
        publish(uri, KIND, mark, files, config={}, parents={}, facts=facts)
    return uri


def _copy(dataset: Dataset, sides: Mapping[SplitName, Mask], writers: Mapping[SplitName, ShardWriter], progress: Progress) -> None:
    total = len(dataset.train)
    rows = max(1, BLOCK_BYTES // int(np.prod(dataset.shape)))
    for start in range(0, total, rows):
        stop = min(start + rows, total)
        block = dataset.train.images(torch.arange(start, stop)).numpy()
        for split, side in sides.items():
            writers[split].append(block[side[start:stop]])
        progress(stop, total, "holding samples out")


def _facts(dataset: Dataset, labels: NDArray[np.int64], sides: Mapping[SplitName, Mask]) -> dict[str, Any]:
    stated = open_artifact(dataset.uri, KIND).stated(DatasetFacts).model_dump(mode="json", exclude_none=True, exclude={"skipped"})
    counts = {split: np.bincount(labels[side], minlength=dataset.classes).tolist() for split, side in sides.items()}
    return {**stated, **{f"{split}_images": sum(count) for split, count in counts.items()}, "images_per_class": counts}
