"""Images that small networks, which all classes share, make of bases (Liu et al. 2022, section 3.2).

Hallucinator k makes of a base x the image dec_k(scale_k * enc_k(x) + shift_k): enc is a convolution without padding, dec a transposed
one, and scale and shift have a number for every place and channel between them. Image number j S + k is what hallucinator k of S makes
of base j.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bilp.images.factors import Factors, Ingredient

BASES = "bases"
HALLUCINATORS = ("encoder", "encoder_bias", "inner_scale", "inner_shift", "decoder", "decoder_bias")
"""Their tensors, with an axis of hallucinators in front."""


def rendered(factors: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """All images `[N S, C, H, W]`, or clips, that S hallucinators make of N bases, for an image of `shape`; differentiable."""
    bases = factors[BASES]
    pictures = bases.reshape(-1, *bases.shape[-3:])
    made = []
    for encoder, encoder_bias, scale, shift, decoder, decoder_bias in zip(*(factors[name] for name in HALLUCINATORS), strict=True):
        inner = scale * functional.conv2d(pictures, encoder, encoder_bias) + shift
        made.append(functional.conv_transpose2d(inner, decoder, decoder_bias).view(len(bases), *shape))
    return torch.stack(made, dim=1).flatten(0, 1)


def fit(factors: Mapping[str, Tensor], images: Sequence[int]) -> bool:
    """Whether images of shape `[M, C, H, W]`, or clips, are what these make."""
    bases, dims = factors[BASES], {name: factors[name].dim() for name in HALLUCINATORS}
    wanted = {"encoder": 5, "encoder_bias": 2, "inner_scale": 4, "inner_shift": 4, "decoder": 5, "decoder_bias": 2}
    count, *shape = images
    if dims != wanted or bases.dim() != len(images) or tuple(bases.shape[1:-3]) != tuple(shape[:-3]):
        return False
    number, middle, entering, height, width = factors["encoder"].shape
    inner = (number, middle, shape[-2] - height + 1, shape[-1] - width + 1)
    return (
        tuple(bases.shape[-3:]) == (entering, *shape[-2:])
        and tuple(factors["inner_scale"].shape) == tuple(factors["inner_shift"].shape) == inner
        and tuple(factors["decoder"].shape) == (number, middle, shape[-3], height, width)
        and (tuple(factors["encoder_bias"].shape), tuple(factors["decoder_bias"].shape)) == ((number, middle), (number, shape[-3]))
        and count == len(bases) * number
    )


def base_of(factors: Mapping[str, Tensor], number: int) -> list[Ingredient]:
    """The base of image `number`."""
    base = number // hallucinators(factors)
    return [Ingredient(f"base {base + 1} of {len(factors[BASES])}", factors[BASES][base])]


def hallucinators(factors: Mapping[str, Tensor]) -> int:
    """How many there are, and so how many images are made of a base."""
    return len(factors["encoder"])


HALLUCINATIONS = Factors(
    (BASES, *HALLUCINATORS),
    rendered,
    fit,
    ingredients=base_of,
    together=hallucinators,
    heading="Their base",
    meaning="Every image is what one of the hallucinators, small networks that all classes share, makes of a base. Here are the images "
    "that all hallucinators, one after the other, make of the first base of each class, and this base. Bases have no range of pixels: each "
    "is shown from its smallest number in black to its largest in white.",
)
