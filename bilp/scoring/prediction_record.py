"""What the network of a trial predicts for its own training samples: class and two best logits per epoch, and the mean softmax."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bilp.scoring.epoch_values import EpochValues
from bilp.storage.scratch import scratch_folder

KEPT_CLASSES = 10
"""Classes of a sample's mean softmax that are kept, the most probable ones; sets with so many classes are kept whole."""
IN_MEMORY = 2**29
"""Bytes of the sums over epochs, N times C float32, above which they lie in a file for temporary use, mapped into memory."""
PER_EPOCH = frozenset({"predicted", "best", "second"})
"""Arrays of `Predictions` that have a row for each epoch."""
BLOCK = 2**24
"""Values of these sums that are sorted at a time."""
ON_DEVICE = {"cuda": 2**32}
"""Bytes of these sums up to which they stay on a device until the last epoch, by its type; on others they lie with the host."""


@dataclass(frozen=True)
class Predictions:
    """Of one trial with E epochs, N samples and C classes, K = min(C, KEPT_CLASSES).

    Per epoch `[E, N]`: predicted (int32, the class with the largest logit), best and second (float32, the two largest logits).
    Softmax in float32, mean over all epochs: own `[N]`, of the label; classes (int32) and probabilities `[N, K]`, the most probable
    classes in descending order, equal ones by class.
    """

    predicted: NDArray[np.int32]
    best: NDArray[np.float32]
    second: NDArray[np.float32]
    own: NDArray[np.float32]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]


class PredictionRecord:
    """Takes in the logits of one pass over all samples after each epoch."""

    def __init__(self, epochs: int, labels: Tensor, classes: int, folder: Path | None = None) -> None:
        """Make an empty record.

        Args:
            epochs: E, how many passes there will be.
            labels: int64 `[N]`.
            classes: C.
            folder: where the sums lie; in memory, if there is none.
        """
        shape = (epochs, len(labels))
        self._predicted = np.empty(shape, dtype=np.int32)
        self._best, self._second = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        self._labels = labels.cpu().numpy()
        self._values, self._seen = EpochValues(), 0
        self._on_device: Tensor | None = None
        sums = (len(labels), classes)
        self._sums: NDArray[np.float32] = (
            np.zeros(sums, dtype=np.float32) if folder is None else np.memmap(folder / "softmax", dtype=np.float32, mode="w+", shape=sums)
        )

    def add(self, logits: Tensor) -> None:
        """Logits `[B, C]` of the next samples, in index order."""
        best, places = logits.topk(2, dim=1)
        self._values.add(places[:, 0], best[:, 0], best[:, 1])
        rows = slice(self._seen, self._seen + len(logits))
        shares = logits.softmax(dim=1)
        if self._sums.nbytes <= ON_DEVICE.get(shares.device.type, 0):
            if self._on_device is None:
                self._on_device = torch.zeros(self._sums.shape, device=shares.device)
            self._on_device[rows] += shares
        else:
            self._sums[rows] += shares.cpu().numpy()
        self._seen = rows.stop

    def end(self, epoch: int) -> None:
        """All samples, if there are any, have been added after an epoch, which counts from 0 here."""
        if self._seen == 0:
            return
        self._predicted[epoch], self._best[epoch], self._second[epoch] = self._values.fetch()
        self._seen = 0

    def finish(self) -> Predictions:
        """Everything, after the last epoch. The record is used up."""
        if self._on_device is not None:
            self._sums = self._on_device.cpu().numpy()
        samples, classes = self._sums.shape
        kept = min(classes, KEPT_CLASSES)
        order = np.empty((samples, kept), dtype=np.int32)
        values = np.empty((samples, kept), dtype=np.float32)
        own = np.empty(samples, dtype=np.float32)
        step = max(1, BLOCK // classes)
        for start in range(0, samples, step):
            rows = slice(start, min(start + step, samples))
            means = self._sums[rows] / np.float32(len(self._predicted))
            order[rows] = np.argsort(-means, axis=1, kind="stable")[:, :kept]
            values[rows] = np.take_along_axis(means, order[rows].astype(np.int64), axis=1)
            own[rows] = means[np.arange(len(means)), self._labels[rows]]
        return Predictions(self._predicted, self._best, self._second, own, order, values)


@contextmanager
def prediction_record(epochs: int, labels: Tensor, classes: int) -> Iterator[PredictionRecord]:
    """A record for the block, whose sums lie in a temporary file where they are large: 5 GB for ImageNet's 1.28 M x 1000."""
    large = 4 * len(labels) * classes > IN_MEMORY
    with scratch_folder("bilp-softmax-") if large else nullcontext() as folder:
        yield PredictionRecord(epochs, labels, classes, folder)
