"""Blocks of the trainings of an evaluation: how it is divided, and whether all of a block are there.

Whoever shares an evaluation with others keeps its trainings in `trainings/`, where the one that publishes the table finds them all.
Networks that are trained in one computation are rounded together, so a block never cuts a group of these: it consists of whole groups
on a CPU and on a GPU alike, and leaves the files that one process would have left.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bilp.storage import objects

_PLACE = re.compile(r".*/trainings/[0-9a-f]{16}/[a-z0-9_]+-[0-9a-f]{16}/(?P<first>\d{4,})-(?P<last>\d{4,})")
_FILE = re.compile(r"(\d{4,})(?:-(\d{4,}))?\.json")

WORTH = 2**44
"""Values of a network's maps, over all images and passes of its trainings, that are worth a unit of their own: two minutes of an H100
in TensorFloat-32, by the arithmetic of bytes moved."""


def place(folder: str, first: int, last: int) -> str:
    """The URI that stands for a block: below the folder of its network's trainings, the seeds from `first` to `last`."""
    return objects.join(folder, f"{first:04d}-{last:04d}")


def is_block(uri: str) -> bool:
    """Whether a URI is that of a block."""
    return _PLACE.fullmatch(uri) is not None


def is_there(uri: str) -> bool:
    """Whether files with every training of a block lie in its folder. Damaged ones count: who reads them computes them again."""
    match = _PLACE.fullmatch(uri)
    if match is None:
        return False
    first, last = int(match["first"]), int(match["last"])
    wanted = set(range(first, last + 1))
    for name in objects.children(uri.rpartition("/")[0]):
        if (span := _FILE.fullmatch(name)) is not None and first <= int(span[1]) and int(span[2] or span[1]) <= last:
            wanted -= set(range(int(span[1]), int(span[2] or span[1]) + 1))
    return not wanted


@dataclass(frozen=True)
class Load:
    """The trainings of one network of an evaluation, before they are divided."""

    seeds: int
    together: tuple[int, ...]
    """How many are trained in one computation, on each kind of device that might carry them out."""
    values: int
    """Values of the network's maps over all images and passes of one training."""


def divided(loads: Sequence[Load], seeds_per_unit: int | None) -> list[list[range]]:
    """The seeds of each block, by network; no blocks at all where the whole is little work, or is one block anyway.

    Args:
        loads: One for each network.
        seeds_per_unit: Trainings of a block at least; None makes blocks that are worth their start.
    """
    if seeds_per_unit is None and sum(load.seeds * load.values for load in loads) < 2 * WORTH:
        return []
    blocks = []
    for load in loads:
        wanted = math.ceil(WORTH / load.values) if seeds_per_unit is None else seeds_per_unit
        group = math.lcm(*(min(together, load.seeds) for together in load.together))
        size = group * math.ceil(wanted / group)
        blocks.append([range(first, min(first + size, load.seeds)) for first in range(0, load.seeds, size)])
    return blocks if sum(map(len, blocks)) > 1 else []
