"""Images that are sums of memories which all classes share (Deng & Russakovsky 2022, section 3.2).

Image m is sum_k a_mk M_k, enlarged bilinearly: a_m is its row of the addressing matrix, M_k are the memories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from bilp.config.shapes import side_of
from bilp.images.enlarging import enlarged
from bilp.images.factors import Factors, Ingredient

MEMORIES, COEFFICIENTS = "memories", "coefficients"
"""The tensors that a set is stored as: memories `[K, C, h, w]`, of clips `[K, T, C, h, w]`, and coefficients `[M, K]`."""

SHOWN = 5
"""Most memories that are shown of an image."""


def rendered(factors: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor:
    """The images `[M, C, H, W]`, or clips, that memories and coefficients make, for an image of `shape`; differentiable."""
    memories, coefficients = factors[MEMORIES], factors[COEFFICIENTS]
    summed = (coefficients @ memories.flatten(1)).view(len(coefficients), *memories.shape[1:])
    return enlarged(summed, *side_of(shape))


def fit(factors: Mapping[str, Tensor], images: Sequence[int]) -> bool:
    """Whether images of shape `[M, C, H, W]`, or clips, are what these make."""
    memories, coefficients = factors[MEMORIES], factors[COEFFICIENTS]
    count, *shape = images
    return memories.dim() == len(images) and memories.shape[1:-2] == tuple(shape[:-2]) and coefficients.shape == (count, len(memories))


def heaviest(factors: Mapping[str, Tensor], number: int) -> list[Ingredient]:
    """The memories that change image `number` most, times their coefficients, those with the largest norm of this product first."""
    memories, coefficients = factors[MEMORIES], factors[COEFFICIENTS][number]
    order = (coefficients.abs() * memories.flatten(1).norm(dim=1)).sort(descending=True, stable=True).indices[:SHOWN].tolist()
    return [
        Ingredient(f"memory {k + 1} of {len(memories)}, times {float(coefficients[k]):.3g}", memories[k] * coefficients[k]) for k in order
    ]


MEMORY_SUMS = Factors(
    (MEMORIES, COEFFICIENTS),
    rendered,
    fit,
    ingredients=heaviest,
    heading="Its heaviest memories",
    meaning="Every image is a sum of memories that all classes share, each times a coefficient of the image. Beside the first image of "
    "each class stand the memories that change it most, the strongest first. Memories have no range of pixels: each is shown from its "
    "smallest number in black to its largest in white, or the other way round where its coefficient is negative.",
)
