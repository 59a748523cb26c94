"""What is computed from the stored pixels themselves: a digest per image, the counts of each pixel value, the fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bilp.config.shapes import Shape, channels_of
from bilp.data.contents import Labels, SplitName
from bilp.data.digests import SIZE, Digests
from bilp.data.shards import blocks, map_shard

COUNTED = 2**20
"""Values that are counted at once: each takes eight bytes for it."""


def image_digests(paths: Iterable[Path], shape: Shape) -> Digests:
    """sha256 of the uint8 pixels of each sample, in the order of its shape, in the shards of a split."""
    found = bytearray()
    for path in paths:
        for block in blocks(map_shard(path, shape)):
            for image in block:
                found += hashlib.sha256(image).digest()
    return Digests(np.frombuffer(found, dtype=np.uint8).reshape(-1, SIZE))


def value_counts(paths: Iterable[Path], shape: Shape) -> NDArray[np.int64]:
    """How often each channel has each pixel value in the shards of a split: counts [C, 256]."""
    histogram = np.zeros((channels_of(shape), 256), dtype=np.int64)
    for path in paths:
        for block in blocks(map_shard(path, shape)):
            for channel in range(channels_of(shape)):
                values = block[..., channel, :, :].reshape(-1)
                for start in range(0, len(values), COUNTED):
                    histogram[channel] += np.bincount(values[start : start + COUNTED], minlength=256)
    return histogram


def fingerprint(
    class_names: Sequence[str],
    shape: Shape,
    labels: Mapping[SplitName, Labels],
    digests: Mapping[SplitName, Sequence[str]],
    normalization: Mapping[str, Any] = {},
    class_ids: Sequence[str] | None = None,
    videos: Mapping[SplitName, NDArray[np.int64]] = {},
) -> str:
    """16 hexadecimal digits that depend on shape, class names, labels, all pixels in order, the constants, and on nothing else.

    Every stage computes from normalized pixels and keys its results by this alone, so the constants belong to it.

    Args:
        class_names: In label order.
        shape: [C, H, W] of every image, or [T, C, H, W] of every clip.
        labels: By split, in the order of the images.
        digests: By split, see `image_digests`.
        normalization: What is to be said of the constants, see `bilp.data.normalization.identity`.
        class_ids: What classes are known by in every copy of the set, if they are.
        videos: By split, the video [N] that each clip is a window of, where several were taken of one.
    """
    content = {
        "class_names": list(class_names),
        "shape": list(shape),
        **normalization,
        **({"class_ids": list(class_ids)} if class_ids else {}),
    }
    state = hashlib.sha256(json.dumps(content).encode())
    for split in sorted(labels):
        state.update(f"\n{split} {len(labels[split])}\n".encode())
        state.update(labels[split].astype("<i4").tobytes())
        state.update(Digests.of(digests[split]).values.tobytes())
        if split in videos:
            state.update(b"\nvideos\n" + videos[split].astype("<i8").tobytes())
    return state.hexdigest()[:16]
