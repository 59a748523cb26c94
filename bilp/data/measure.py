"""What is computed from the stored pixels themselves: a digest per image, the counts of each pixel value, the fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import Labels, SplitName
from bilp.data.shards import Shape, blocks, map_shard


@dataclass(frozen=True)
class Measured:
    """sha256 of each image's uint8 pixels [C, H, W] in hexadecimal digits; counts [C, 256] of the pixel values."""

    digests: list[str]
    histogram: NDArray[np.int64]


def measure(paths: Iterable[Path], shape: Shape) -> Measured:
    """One pass over the shards of a split."""
    digests: list[str] = []
    histogram = np.zeros((shape[0], 256), dtype=np.int64)
    for path in paths:
        for block in blocks(map_shard(path, shape)):
            digests += [hashlib.sha256(image).hexdigest() for image in block]
            for channel in range(shape[0]):
                histogram[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    return Measured(digests, histogram)


def fingerprint(
    class_names: Sequence[str], shape: Shape, labels: Mapping[SplitName, Labels], digests: Mapping[SplitName, Sequence[str]]
) -> str:
    """16 hexadecimal digits that depend on shape, class names, labels and all pixels, in order, and on nothing else."""
    state = hashlib.sha256(json.dumps({"class_names": list(class_names), "shape": list(shape)}).encode())
    for split in sorted(labels):
        state.update(f"\n{split} {len(labels[split])}\n".encode())
        state.update(labels[split].astype("<i4").tobytes())
        for digest in digests[split]:
            state.update(bytes.fromhex(digest))
    return state.hexdigest()[:16]
