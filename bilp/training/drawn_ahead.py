"""The random choices of a whole epoch, drawn before it begins: they reach the device in one copy, and no step waits for its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.images.augment import AugParams
from bilp.training.transfer import Change, moved


def changed_params(params: AugParams | None, change: Change) -> AugParams | None:
    """The same augmentation with the results of `change` in the places of its tensors."""
    if params is None:
        return None
    return AugParams(params.family, {name: change(value) for name, value in params.values.items()}, changed_params(params.then, change))


def epoch_on_device(order: Tensor, drawn: Sequence[AugParams | None], device: torch.device | str) -> tuple[Tensor, list[AugParams | None]]:
    """Indices `[n]` and the augmentation of each mini-batch on a device, in one copy."""

    def changed(each: Tensor | AugParams | None, change: Change) -> Tensor | AugParams | None:
        return change(each) if isinstance(each, Tensor) else changed_params(each, change)

    first, *rest = moved([order, *drawn], changed, device)
    assert isinstance(first, Tensor)
    return first, [each for each in rest if not isinstance(each, Tensor)]
