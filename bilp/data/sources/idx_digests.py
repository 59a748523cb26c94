"""Checksums of the uncompressed IDX files of MNIST and Fashion-MNIST.

torchvision compares the checksums of the archives that it downloads, but takes any uncompressed file that lies in their
place: MNIST's files in Fashion's folder load without a word. These are the MD5 of the files as they are published.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from bilp.data.contents import SplitName

PREFIXES: dict[SplitName, str] = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"

PUBLISHED: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


def digests(split: SplitName, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, str]:
    """MD5 of the IDX files that hold these images [N, H, W] and labels [N], by the files' names."""
    return {
        f"{PREFIXES[split]}-{IMAGES}": _md5(images),
        f"{PREFIXES[split]}-{LABELS}": _md5(labels.astype(np.uint8)),
    }


def _md5(array: NDArray[np.uint8]) -> str:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)  # 8: unsigned bytes
    digest = hashlib.md5(header, usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
