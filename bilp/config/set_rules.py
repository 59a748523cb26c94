"""What papers share about large published sets: the side of their images, the constants, and how deep the ConvNet is for it.

An entry of `bilp.config.sources` names the rules of its set, if it has any; how it is read (frames of clips, how they are cut) is said
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LAST_SIDE = 4
"""Side of the last map of the ConvNets of the papers: depth 3 at 32 pixels, 4 at 64, 5 at 128 (Cazenavette et al. 2022)."""


@dataclass(frozen=True)
class SetRules:
    """What is usual for a set."""

    side: int
    """Of the images, unless another one is given."""
    convnet: bool = True
    """Whether papers use the ConvNet on its samples, whose depth follows from the side."""
    normalization: str = "imagenet"
    """Its constants, at any resolution and for any part of its classes."""


AT_64, AT_128, AT_224 = SetRules(64), SetRules(128), SetRules(224)
"""ImageNet-1K in TESLA and those after it, its parts in MTT, and in IDC."""
CLIPS_AT_64, CLIPS_AT_112 = SetRules(64, convnet=False), SetRules(112, convnet=False)
"""Sets of clips in Wang et al. 2024."""


def convnet_depth(side: int) -> int:
    """Blocks of the ConvNet, each of which halves the side, for images of this side: as many as leave 4 pixels, at least one."""
    return max(1, (side // LAST_SIDE).bit_length() - 1)


def set_values(found: SetRules | None) -> dict[str, Any]:
    """Nested values of settings by the rules of a data set; empty if it has none."""
    return {} if found is None else {"ingest": {"resolution": found.side, "normalization": found.normalization}}


def depth_for(found: SetRules | None, side: int | None) -> int | None:
    """Depth of the ConvNet for a data set with these rules whose images have this side; None where no rule says it."""
    return convnet_depth(side or found.side) if found is not None and found.convnet else None
