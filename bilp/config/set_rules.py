"""What papers share about large published sets: the side of their images, the constants, and how deep the ConvNet is for it.

Rules of the sources' names in `bilp.config.sources`; a set that is not among these has none. What says how a source is read (frames of
clips, how they are cut) is part of its own entry.
"""

from __future__ import annotations

from collections.abc import Mapping
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


_AT_64, _AT_128, _AT_224 = SetRules(64), SetRules(128), SetRules(224)
SET_RULES: Mapping[str, SetRules] = {
    "imagenet1k": _AT_64,  # TESLA and those after it
    "tiny_imagenet": _AT_64,
    **dict.fromkeys(("imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk"), _AT_128),  # MTT
    **dict.fromkeys(("imagenet10", "imagenet100"), _AT_224),  # IDC
    **dict.fromkeys(("kinetics400", "ssv2"), SetRules(64, convnet=False)),  # Wang et al. 2024
    **dict.fromkeys(("ucf101", "miniucf", "hmdb51"), SetRules(112, convnet=False)),
}
"""By the name of the source."""


def convnet_depth(side: int) -> int:
    """Blocks of the ConvNet, each of which halves the side, for images of this side: as many as leave 4 pixels, at least one."""
    return max(1, (side // LAST_SIDE).bit_length() - 1)


def set_rules(dataset: str) -> dict[str, Any]:
    """Nested values for a data set; empty if it has no rules."""
    found = SET_RULES.get(dataset)
    return {} if found is None else {"ingest": {"resolution": found.side, "normalization": found.normalization}}


def depth_for(dataset: str, side: int | None) -> int | None:
    """Depth of the ConvNet for a data set whose images have this side; None where no rule says it."""
    found = SET_RULES.get(dataset)
    return convnet_depth(side or found.side) if found is not None and found.convnet else None
