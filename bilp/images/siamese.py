"""Siamese augmentation of many classes at once: the draws and the bytes of class after class, one operation for each family.

A thousand classes make a thousand draws from streams of their own; what follows the generators is done together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TypeVar

import torch
from torch import Tensor

from bilp.images.augment import REFERENCE, AugParams, apply, apply_each, chosen_family, family_of, require_known
from bilp.images.augment_rows import Side
from bilp.images.families import Values

Name = TypeVar("Name", str, str | None)

# PyTorch divides sums over more values than this among threads if there is a single one of them, and rounds otherwise then.
DIVIDED_VALUES = 32768


def draw_siamese(
    choices: Sequence[Sequence[str]], side: Side, stream: Callable[[int], torch.Generator], classes: Iterable[int]
) -> list[AugParams | None]:
    """For each class the parameters `[1]` that `augment.draw` gives for each of `choices` in turn, from the stream of its number.

    None without families. Raises ConfigError for a family that does not exist.

    Args:
        choices: families of which a step is drawn, step by step; steps without any are left out.
        side: height and width of the images.
        stream: the stream of a class; it is used up before the next is asked for.
        classes: their numbers.
    """
    for families in choices:
        require_known(families)
    steps = [families for families in choices if families]
    drawn: list[list[tuple[str, Values]]] = []
    for c in classes:
        generator = stream(c)
        drawn.append([])
        for families in steps:
            family = chosen_family(families, generator)
            drawn[-1].append((family, family_of(family).raw(side, generator, 1)))
    found: list[AugParams | None] = [None] * len(drawn)
    for step in reversed(range(len(steps))):
        for family, members in _members([own[step][0] for own in drawn]).items():
            finished = family_of(family).finish(_together([drawn[place][step][1] for place in members]))
            parts = {name: value.split(1) for name, value in finished.items()}
            for row, place in enumerate(members):
                found[place] = AugParams(family, {name: part[row] for name, part in parts.items()}, found[place])
    return found


def apply_by_family(images: Tensor, params: Sequence[AugParams | None], sizes: Sequence[int]) -> Tensor:
    """`augment.apply_each` of siamese parameters `[1]`, for images that nobody differentiates: equal bytes, an operation for each family.

    Groups of consecutive images, `sizes` of them, have parameters of their own: `[N, C, H, W]` to the same shape.
    """
    if images.device.type != REFERENCE:
        return apply_each(images, params, sizes)
    alone = images[0].numel() > DIVIDED_VALUES
    links = [None if alone and size == 1 else own for own, size in zip(params, sizes, strict=True)]
    starts = [0, *accumulate(sizes)]
    result = images
    while any(link is not None for link in links):
        changed = torch.empty_like(result)
        found = _members([None if link is None else link.family for link in links])
        groups = torch.empty(len(links), dtype=torch.int64)
        for number, members in enumerate(found.values()):
            groups[members] = number
        of_image = groups.repeat_interleave(torch.tensor(sizes))
        for number, (family, members) in enumerate(found.items()):
            rows = (of_image == number).nonzero().squeeze(1)
            own = result[rows]
            if family is not None:
                own = apply(own, joined(family, [links[place] for place in members], [sizes[place] for place in members]))
            changed[rows] = own
        result, links = changed, [None if link is None else link.then for link in links]
    for place in [place for place, size in enumerate(sizes) if alone and size == 1 and params[place] is not None]:
        result = result.clone() if result is images else result
        result[starts[place]] = apply(images[starts[place]].unsqueeze(0), params[place])[0]
    return result


def joined(family: str, params: Sequence[AugParams | None], sizes: Sequence[int] | int) -> AugParams:
    """One set of parameters of a family per image, from those `[1]` of groups of `sizes` images, or of as many each."""
    values = _together([own.values for own in params if own is not None])
    repeats = sizes if isinstance(sizes, int) else torch.tensor(sizes)
    return AugParams(family, {name: value.repeat_interleave(repeats) for name, value in values.items()})


def _members(families: Sequence[Name]) -> dict[Name, list[int]]:
    """Places at which each family stands, families in the order of their first."""
    found: dict[Name, list[int]] = {}
    for place, family in enumerate(families):
        found.setdefault(family, []).append(place)
    return found


def _together(values: Sequence[Values]) -> Values:
    return {name: torch.cat([value[name] for value in values]) for name in values[0]}
