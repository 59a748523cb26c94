"""Augmentation by rows of numbers says what the families say, for all classes and images at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bilp.config.augmentations import ALL_FAMILIES, AUGMENTATIONS
from bilp.images import augment, resampling
from bilp.images.apply_rows import apply_rows
from bilp.images.augment import AugParams, chained, host_rows
from bilp.images.resampling import sample_bilinearly, sample_in_order
from bilp.seeds import generator

SIDES = [(9, 14), *(pytest.param(side, marks=pytest.mark.slow) for side in ((32, 32), (15, 15)))]
CLOSE = {"rtol": 1e-4, "atol": 3e-5}


def images(count: int, side: tuple[int, int], *path: str | int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, *side, generator=generator(0, "images", *path)).to(dtype)


def drawn(family: str, side: tuple[int, int], count: int, *path: str | int) -> AugParams:
    params = augment.draw([family], side, generator(1, family, *path), count)
    assert params is not None
    return params


def by_rows(batch: Tensor, params: AugParams) -> Tensor:
    rows = host_rows([params], (batch.shape[-2], batch.shape[-1]))
    return apply_rows(batch, rows, [len(batch)] if params.count == 1 else None)


def agree(batch: Tensor, one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> None:
    """Values, and products of a cotangent with the Jacobian."""
    leaf, weights = batch.clone().requires_grad_(), images(len(batch), (batch.shape[-2], batch.shape[-1]), "weights")
    found = [(way(leaf), *torch.autograd.grad((way(leaf) * weights).sum(), leaf)) for way in (one, other)]
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, **CLOSE)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("family", AUGMENTATIONS)
def test_each_family_is_its_rows(family: str, side: tuple[int, int], count: int) -> None:
    for round_ in range(3):
        params = drawn(family, side, count, round_)
        agree(images(4, side, round_), lambda x, p=params: augment.apply(x, p), lambda x, p=params: by_rows(x, p))  # type: ignore[misc]


def test_whole_pixels_stay_what_they_are() -> None:
    batch = images(4, (32, 32))
    for family in ("crop", "cutout", "flip"):
        params = drawn(family, (32, 32), 4)
        assert torch.equal(by_rows(batch, params), augment.apply(batch, params)), family
    assert torch.equal(apply_rows(batch, host_rows([None] * 4, (32, 32))), batch)


@pytest.mark.parametrize(
    ("families", "steps"),
    [
        (("flip", "color", "crop", "cutout"), 1),
        (("color", "flip", "rotate", "flip"), 1),
        (("resized_crop", "flip"), 1),
        (("scale", "color"), 2),
        (("crop", "scale", "cutout", "flip"), 3),
        (("color", "color", "cutout", "cutout"), 3),
    ],
    ids=str,
)
def test_a_row_says_a_chain_as_long_as_its_order_allows(families: tuple[str, ...], steps: int) -> None:
    side = (16, 12)
    for count in (1, 3):
        chain = chained([drawn(family, side, count, place) for place, family in enumerate(families)])
        assert chain is not None
        assert host_rows([chain], side).shape == (steps, count, 9, 2)
        agree(images(3, side), lambda x, p=chain: augment.apply(x, p), lambda x, p=chain: by_rows(x, p))  # type: ignore[misc]


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2, 2, 2, 2), (1, 3, 0, 2, 0, 1, 0)])
def test_groups_have_rows_of_their_own(sizes: tuple[int, ...]) -> None:
    side = (10, 8)
    params: list[AugParams | None] = [drawn(family, side, 1) for family in ALL_FAMILIES]
    params.insert(3, None)
    batch = images(sum(sizes), side)
    agree(
        batch,
        lambda x: torch.cat([augment.apply(part, own) for part, own in zip(x.split(sizes), params, strict=True)]),
        lambda x: apply_rows(x, host_rows(params, side), sizes),
    )
    mixed = [own if size != 2 else drawn("rotate", side, 2) for own, size in zip(params, sizes, strict=True)]
    rows = host_rows(mixed, side, sizes)
    assert rows.shape[1] == len(batch)
    expected = torch.cat([augment.apply(part, own) for part, own in zip(batch.split(sizes), mixed, strict=True)])
    torch.testing.assert_close(apply_rows(batch, rows), expected, **CLOSE)


def test_a_step_that_some_rows_lack_leaves_their_images_alone() -> None:
    side = (12, 12)
    long, short = chained([drawn("scale", side, 1), drawn("color", side, 1)]), drawn("crop", side, 1)
    batch = images(4, side)
    found = apply_rows(batch, host_rows([long, short], side), [2, 2])
    torch.testing.assert_close(found, torch.cat([augment.apply(batch[:2], long), augment.apply(batch[2:], short)]), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_derivatives_of_both_orders(count: int) -> None:
    chain = chained([drawn(family, (4, 3), count) for family in ("flip", "color", "rotate", "cutout")])
    assert chain is not None
    batch = images(count, (4, 3), dtype=torch.float64)[:, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: by_rows(x, chain), batch)
    assert torch.autograd.gradgradcheck(lambda x: by_rows(x, chain), batch)


@pytest.mark.slow
def test_under_vmap() -> None:
    side = (12, 12)
    chain = chained([drawn(family, side, 3) for family in ("color", "rotate", "cutout")])
    assert chain is not None
    stack = images(6, side).unflatten(0, (2, 3))
    together = torch.func.vmap(lambda batch: by_rows(batch, chain))(stack)
    torch.testing.assert_close(together, torch.stack([by_rows(batch, chain) for batch in stack]))
    energy = torch.func.grad(lambda batch: by_rows(batch, chain).square().sum())
    torch.testing.assert_close(torch.func.vmap(energy)(stack), torch.stack([energy(batch) for batch in stack]))
    leaf = stack[0].clone().requires_grad_()
    directions = images(15, side, "directions").unflatten(0, (5, 3))
    (found,) = torch.autograd.grad(by_rows(leaf, chain), leaf, directions, is_grads_batched=True)
    torch.testing.assert_close(found[4], torch.autograd.grad(by_rows(leaf, chain), leaf, directions[4])[0])


@pytest.mark.parametrize(("together", "strip"), [(1, 1), (4 * 3 * 6 * 42 * 2, 2**20), (2**30, 4 * 3 * 42 * 4)])
def test_parts_of_the_transpose_are_the_whole(together: int, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = torch.rand(5, 6, 7, 2, generator=generator(4)) * 2.4 - 1.2
    leaf, weights = images(5, (6, 7)).requires_grad_(), images(5, (6, 7), "weights")
    (whole,) = torch.autograd.grad(sample_in_order(leaf, grid), leaf, weights)
    monkeypatch.setattr(resampling, "TRANSPOSED_BYTES", together)
    monkeypatch.setattr(resampling, "STRIP_BYTES", strip)
    (parts,) = torch.autograd.grad(sample_in_order(leaf, grid), leaf, weights)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    (native,) = torch.autograd.grad(sample_bilinearly(leaf, grid), leaf, weights)
    torch.testing.assert_close(parts, native, **CLOSE)
