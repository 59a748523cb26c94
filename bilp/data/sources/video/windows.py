"""Several windows of each test clip, every one a sample; where no clip is a test clip yet, of all clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from bilp.data.contents import SplitName
from bilp.data.items import Items


def windows(found: Mapping[SplitName, Items], clips: int) -> dict[SplitName, Items]:
    """The items of a source, those of the test split `clips` times each; all of them are where a test split is made of them later."""
    tested = "test" if "test" in found else "train"
    return {split: _several(items, clips) if split == tested else items for split, items in found.items()}


def _several(items: Items, clips: int) -> Items:
    """The items `clips` times each; `row` is then the number of the window."""
    if clips == 1:
        return items
    several = items.take(np.repeat(np.arange(len(items)), clips))
    window = np.tile(np.arange(clips, dtype=np.int64), len(items))
    stems = several.stems
    if stems is not None:
        stems = pa.array([f"{stem}_{number}" for stem, number in zip(stems.to_pylist(), window.tolist(), strict=True)], pa.string())
    return replace(several, row=window, stems=stems)
