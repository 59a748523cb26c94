"""What a round keeps to be shown: a few images of a few classes, so that nobody reads whole checkpoints to make a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bilp.artifacts.artifact import Artifact
from bilp.artifacts.run_layout import SNAPSHOT
from bilp.artifacts.tensors import read_tensors, require_tensors
from bilp.config import ReportConfig
from bilp.data import Dataset
from bilp.distill.pictures import displayable
from bilp.errors import DamagedArtifact
from bilp.storage.verification import again

CLASSES: int = ReportConfig().max_classes
IMAGES = 10
"""Most images of a class."""


def shown_classes(classes: int, most: int = CLASSES) -> list[int]:
    """Classes that are shown in pictures, of so many: all, or `most` evenly spread ones from the first to the last."""
    if classes <= most:
        return list(range(classes))
    return [int(c) for c in np.linspace(0, classes - 1, most).round()]


def first_of_each(labels: Tensor, classes: Sequence[int], most: int | None = IMAGES) -> Tensor:
    """Rows of the first `most` images, or of all, of each of these classes, int64; `labels` [N] are in the order of their classes."""
    found = [(labels == c).nonzero().squeeze(1)[:most] for c in classes]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)


def snapshot(images: Tensor, labels: Tensor, dataset: Dataset) -> dict[str, Tensor]:
    """The tensors of a round's snapshot: `images` uint8 `[n, C, H, W]` as they are shown, and their `labels` int64 `[n]`.

    `images` `[N, C, H, W]` are normalized, `labels` `[N]` theirs in order; of a shard those of its classes alone.
    """
    rows = first_of_each(labels.cpu(), shown_classes(dataset.classes))
    chosen = images.detach()[rows.to(images.device)]
    if len(rows):
        pixels = displayable(chosen, dataset.mean, dataset.std, dataset.whitening)
    else:
        pixels = torch.zeros(chosen.shape, dtype=torch.uint8)
    return {"images": pixels, "labels": labels.cpu()[rows]}


def read_snapshot(artifact: Artifact, dataset: Dataset) -> tuple[Tensor, Tensor] | None:
    """Images uint8 `[n, C, H, W]` and labels `[n]` of a round's snapshot; None for a round of an earlier version, which has none.

    Raises DamagedArtifact unless they can be those of the data set.
    """
    if SNAPSHOT not in artifact.manifest.files:
        return None
    where = artifact.place(SNAPSHOT)
    with artifact.fetched(SNAPSHOT) as file:
        tensors = read_tensors(file, where)
    count = len(tensors["labels"]) if tensors.get("labels", torch.tensor(0)).dim() == 1 else 0
    require_tensors(tensors, {"images": (torch.uint8, (count, *dataset.shape)), "labels": (torch.int64, (count,))}, where)
    labels = tensors["labels"]
    if count and (int(labels.min()) < 0 or int(labels.max()) >= dataset.classes):
        raise DamagedArtifact(f"{where} holds images of classes that the data set does not have: {again(artifact.uri)}")
    return tensors["images"], labels
