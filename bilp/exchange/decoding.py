"""What a synthetic set's manifest says about images that stand for several ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bilp.errors import IncompatibleArtefact


def decoded(images: Tensor, labels: Tensor, facts: Mapping[str, Any], where: str) -> tuple[Tensor, Tensor]:
    """The images that networks are trained on, of stored ones `[n, C, H, W]` and labels `[n]`, by the fact `decode`.

    A set without that fact, or with factor 1, is used as it is. Raises IncompatibleArtefact for any other factor: training
    on the stored images themselves would give a number that means nothing.
    """
    factor = (facts.get("decode") or {}).get("factor", 1)
    if factor != 1:
        raise IncompatibleArtefact(
            f"{where} holds images that stand for {factor * factor} each (decode.factor = {factor}), which this version cannot decode: "
            "use a version whose methods include idc"
        )
    return images, labels
