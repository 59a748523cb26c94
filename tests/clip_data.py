"""Small clips whose classes differ by color and by the way a bright square moves, and how they are brought into a storage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.data.sources.arrays import Arrays, hold
from bilp.data.sources.given_arrays import arrays_of

CLASSES, EACH = 4, 6
DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))


def clips(frames: int = 4, side: int = 16, channels: int = 3, each: int = EACH) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`each` clips of each class, uint8 `[CLASSES * each, T, C, H, W]`, and their labels."""
    stream = np.random.RandomState(0)
    labels = np.repeat(np.arange(CLASSES), each)
    made = stream.randint(0, 60, (len(labels), frames, channels, side, side)).astype(np.uint8)
    for clip, label in zip(made, labels.tolist(), strict=True):
        clip[:, label % channels] += np.uint8(60)
        row, column = stream.randint(0, side, 2).tolist()
        down, right = DIRECTIONS[label]
        for number, frame in enumerate(clip):
            rows = (row + down * number + np.arange(side // 4)) % side
            columns = (column + right * number + np.arange(side // 4)) % side
            frame[:, rows[:, None], columns] = 250
    return made, labels


def held(frames: int = 4, side: int = 16, **more: Any) -> Arrays:
    """Training and test clips as the arrays of a source; they must stay in memory until they are ingested."""
    images, labels = clips(frames, side, **more)
    return arrays_of(images, labels, ["right", "down", "left", "up"], (images[::2] // 2, labels[::2]))


def source_of(arrays: Arrays, **settings: Any) -> IngestConfig:
    """The settings that read these clips."""
    return IngestConfig(source="clip_arrays", uri=hold(arrays), **settings)
