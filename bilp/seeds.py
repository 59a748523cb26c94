"""Random streams that are named, not stored.

Every draw in bilp comes from a generator that is a pure function of a seed and a path of names, for example
`generator(seed, "augment", iteration, class_index)`. A run that is resumed therefore needs no generator state:
it asks for the same stream again. Streams with different paths are independent.
"""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream called `path` under `seed`; equal arguments give equal results everywhere."""
    name = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` for the stream called `path` under `seed`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *path))
