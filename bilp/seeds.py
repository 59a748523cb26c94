"""Random streams that are named, not stored.

Every draw in bilp comes from a generator that is a pure function of a seed and a path of names, for example
`generator(seed, "augment", iteration, class_index)`. A run that is resumed therefore needs no generator state:
it asks for the same stream again. Streams with different paths are independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch


def stream_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream called `path` under `seed`; equal arguments give equal results everywhere."""
    name = "\x1f".join([str(seed), *map(_spelled, path)])
    return _seed_of(hashlib.sha256(name.encode()).digest())


def generator(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` for the stream called `path` under `seed`."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *path))


def numbered_streams(seed: int, *path: str | int) -> Callable[[int], torch.Generator]:
    """A function of c that gives `generator(seed, *path, c)`, at a part of its cost: for draws that every class makes.

    It is one generator, set anew by every call: draw from it before another number is asked for.
    """
    begun = hashlib.sha256("\x1f".join([str(seed), *map(_spelled, path), ""]).encode())
    shared = torch.Generator()

    def stream(number: int) -> torch.Generator:
        name = begun.copy()
        name.update(_spelled(number).encode())
        return shared.manual_seed(_seed_of(name.digest()))

    return stream


def _spelled(part: str | int) -> str:
    return f"{type(part).__name__}:{part}"


def _seed_of(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") >> 1
