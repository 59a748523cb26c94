"""How a training of an evaluation went: its loss, its test accuracy on the way, and which classes it took for which at the end."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from bilp.config import Frozen
from bilp.config.base import Fraction, Positive

MOST_POINTS = 100
"""Values of a recorded loss curve."""
MOST_TESTED = 2**31
"""Test images, above which counts are no counts of ours."""


class Losses:
    """Mean training loss of each epoch of K networks, gathered where they are trained and fetched once."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._images = 0
        self._epochs: list[Tensor] = []

    def add(self, loss: Tensor, images: int) -> None:
        """The losses `[K]` of a mini-batch of so many images for each network."""
        weighted = loss.detach() * images
        self._sum = weighted if self._sum is None else self._sum + weighted
        self._images += images

    def end(self) -> None:
        """An epoch is over."""
        if self._sum is not None:
            self._epochs.append(self._sum / self._images)
        self._sum, self._images = None, 0

    def curves(self) -> np.ndarray:
        """Of each network, `[K, epochs]`."""
        curves: np.ndarray = torch.stack(self._epochs, dim=1).cpu().numpy()
        return curves


class Course(Frozen):
    """What was seen of a training besides its accuracy."""

    epochs: Positive
    """Passes over the set."""
    losses: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    """Mean training loss over equal stretches of the epochs, in order; empty where it left the finite numbers on the way."""
    tested: tuple[Annotated[int, Field(ge=1)], ...]
    """Numbers of epochs after which the network was tested."""
    accuracies: tuple[Fraction, ...]
    """Test accuracy after each of these."""
    classes: Positive
    confusion: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]*$")]
    """Test images by class and prediction after the last epoch, packed (`unpacked`)."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.tested) != len(self.accuracies) or len(self.losses) > MOST_POINTS or self.epochs < max(self.tested, default=1):
            raise ValueError("epochs, losses and tests of a training do not agree")
        unpacked(self.confusion, self.classes)
        return self

    @classmethod
    def of(cls, losses: np.ndarray, looks: Sequence[int], accuracies: Sequence[float], confusion: np.ndarray) -> Self:
        """A course.

        Args:
            losses: Mean training loss `[epochs]` of each epoch.
            looks: Epochs, from 0, after which the network was tested.
            accuracies: What was found there.
            confusion: Test images `[classes, classes]` by class and prediction.
        """
        points = means_of_stretches(losses, MOST_POINTS) if np.isfinite(losses).all() else []
        return cls(
            epochs=looks[-1] + 1,
            losses=tuple(float(f"{value:.6g}") for value in points),
            tested=tuple(look + 1 for look in looks),
            accuracies=tuple(accuracies),
            classes=len(confusion),
            confusion=packed(confusion),
        )

    def loss_epochs(self) -> list[int]:
        """The last epoch, from 1, of the stretch that each value of `losses` is the mean of."""
        return [self.epochs * (k + 1) // len(self.losses) for k in range(len(self.losses))]


def means_of_stretches(values: np.ndarray, most: int) -> list[float]:
    """At most so many values: means over equal stretches of a longer list."""
    count = min(len(values), most)
    cuts = [len(values) * k // count for k in range(count + 1)] if count else [0]
    return [float(np.mean(values[cuts[k] : cuts[k + 1]])) for k in range(count)]


def packed(confusion: np.ndarray) -> str:
    """Counts `[classes, classes]` as text: most are zero where there are many classes, so that places and counts of the others are kept."""
    flat = confusion.ravel()
    places = np.flatnonzero(flat)
    numbers = np.concatenate([np.diff(places, prepend=0), flat[places]]).astype("<u4")
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")


def unpacked(text: str, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, prediction and number of test images, each `[n]`, of all pairs that occur. Raises ValueError if these are no such counts."""
    unzip = zlib.decompressobj()
    try:
        data = unzip.decompress(base64.b64decode(text, validate=True), 8 * classes * classes + 1)
    except zlib.error as error:
        raise ValueError(f"counts that cannot be read ({error})") from error
    numbers = np.frombuffer(data, dtype="<u4").astype(np.int64) if len(data) % 8 == 0 else np.zeros(0, np.int64)
    steps, counts = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
    places = np.cumsum(steps)
    if not len(places) or places[-1] >= classes * classes or (steps[1:] < 1).any() or (counts < 1).any() or counts.sum() > MOST_TESTED:
        raise ValueError(f"no counts of pairs of {classes} classes")
    return places // classes, places % classes, counts
