"""What a synthetic set's manifest says about images that stand for several ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from bilp.config.decode import DecodeConfig
from bilp.errors import IncompatibleArtifact
from bilp.images.multiformation import decode_set, gray


def decoded(images: Tensor, labels: Tensor, facts: Mapping[str, Any], where: str) -> tuple[Tensor, Tensor]:
    """The images that networks are trained on, of stored ones `[n, C, H, W]` and labels `[n]`, by the fact `decode`.

    A set without that fact, or with factor 1, is used as it is. The facts `mean` and `std` say what fills up a side that
    is no multiple of the factor. Raises IncompatibleArtifact for a decoding that this version does not know: training on
    the stored images themselves would give a number that means nothing.
    """
    try:
        config = DecodeConfig.model_validate(facts.get("decode") or {}, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        what = f"decode.{problem['loc'][0]}: {problem['msg']}"
        raise IncompatibleArtifact(
            f"{where} holds images that stand for several, which this version cannot decode ({what}): use the version that made it"
        ) from error
    return decode_set(images, labels, config, gray(facts["mean"], facts["std"]))
