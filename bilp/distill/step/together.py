"""Whether the classes of an image step are handled together or one after the other, by the type of the device.

On a CPU they take turns, which is the definition. Elsewhere a launch costs as much as a small pass, and every question to the device a
wait; together they are the same but for the rounding of sums.
"""

from __future__ import annotations

import torch

TOGETHER = {"cpu": False}
TOGETHER_ELSEWHERE = True


def together_on(device: torch.device) -> bool:
    """Whether classes are handled together there."""
    return TOGETHER.get(device.type, TOGETHER_ELSEWHERE)
