"""Several windows of each test clip, every one a sample of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from bilp.data.contents import SplitName
from bilp.data.items import Items


def windows(items: Items, split: SplitName, clips: int) -> Items:
    """The items, those of the test split `clips` times each; `row` is then the number of the window."""
    if split == "train" or clips == 1:
        return items
    several = items.take(np.repeat(np.arange(len(items)), clips))
    window = np.tile(np.arange(clips, dtype=np.int64), len(items))
    stems = several.stems
    if stems is not None:
        stems = pa.array([f"{stem}_{number}" for stem, number in zip(stems.to_pylist(), window.tolist(), strict=True)], pa.string())
    return replace(several, row=window, stems=stems)
