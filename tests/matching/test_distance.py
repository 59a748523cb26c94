"""Distances and their closed-form cotangents against plain restatements and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bilp.matching import FeatureMatching, GradientMatching, Matching
from bilp.matching.base import Vectors
from bilp.matching.distance import ABSOLUTE, ROWWISE_COSINE, SQUARED, Distance, rowwise_cosine, rowwise_cosine_cotangent, squared
from bilp.seeds import generator

SHAPES = ((4, 6), (3, 10), (5, 2))


def draw(name: str, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    stream = generator(11, name)
    return tuple(torch.randn(*batch, *shape, generator=stream, dtype=torch.float64).to(dtype) for shape in SHAPES)


def plain_cosine_distance(mu: tuple[Tensor, ...], psi: tuple[Tensor, ...]) -> float:
    """Zero tensors and one loop per number: sum over rows of 1 - <a, b> / (|a| |b| + 1e-6)."""
    total = 0.0
    for a_block, b_block in zip(mu, psi, strict=True):
        for a, b in zip(a_block.tolist(), b_block.tolist(), strict=True):
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            total += 1.0 - dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)) + 1e-6)
    return total


def test_cosine_equals_the_plain_restatement() -> None:
    mu, psi = draw("mu", dtype=torch.float32), draw("psi", dtype=torch.float32)
    assert float(rowwise_cosine(mu, psi)) == pytest.approx(plain_cosine_distance(mu, psi), rel=1e-5)


def test_cosine_is_zero_for_equal_and_two_for_opposite_rows() -> None:
    mu = draw("mu")
    rows = sum(len(block) for block in mu)
    assert float(rowwise_cosine(mu, mu)) == pytest.approx(0.0, abs=1e-4)
    assert float(rowwise_cosine(mu, tuple(-block for block in mu))) == pytest.approx(2.0 * rows, rel=1e-4)


def test_squared_equals_the_plain_restatement() -> None:
    mu, psi = draw("mu"), draw("psi")
    plain = sum((x - y) ** 2 for a, b in zip(mu, psi, strict=True) for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    assert float(squared(mu, psi)) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
@pytest.mark.parametrize("zero", ["none", "mu", "psi", "both"])
@pytest.mark.parametrize("scale", [1.0, 1e-4])  # at 1e-4 the constant in the denominator dominates
def test_cotangent_equals_autograd(matching: Matching, zero: str, scale: float) -> None:
    mu, psi = (tuple(scale * block for block in draw(name)) for name in ("mu", "psi"))
    for name, blocks in (("mu", mu), ("psi", psi)):
        if zero in (name, "both"):
            blocks[0][1] = 0.0
    leaves = tuple(block.clone().requires_grad_() for block in psi)
    expected = torch.autograd.grad(matching.distance(mu, leaves), leaves)
    for found, wanted in zip(matching.cotangent(mu, psi), expected, strict=True):
        assert found.isfinite().all()
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
def test_cotangent_with_leading_axis_equals_one_by_one(matching: Matching) -> None:
    many, psi = draw("many", (7,)), draw("psi")
    many[1][3] = 0.0
    together = matching.cotangent(many, psi)
    for i in range(7):
        for found, wanted in zip(together, matching.cotangent(tuple(block[i] for block in many), psi), strict=True):
            torch.testing.assert_close(found[i], wanted, rtol=1e-12, atol=1e-14)


def test_cotangent_leaves_its_arguments_alone() -> None:
    many, psi = draw("many", (3,)), draw("psi")
    before = [block.clone() for block in (*many, *psi)]
    rowwise_cosine_cotangent(many, psi)
    assert all(torch.equal(old, new) for old, new in zip(before, (*many, *psi), strict=True))


@pytest.mark.parametrize("distance", [SQUARED, ABSOLUTE, ROWWISE_COSINE], ids=["squared", "absolute", "cosine"])
@pytest.mark.parametrize("shapes", [((2048,),), ((128, 27), (128, 1152), (10, 2048)), ((3, 5),) * 19], ids=["features", "kernels", "deep"])
def test_classes_at_once_equal_one_by_one_to_the_bit(distance: Distance, shapes: tuple[tuple[int, ...], ...]) -> None:
    if distance is ROWWISE_COSINE and len(shapes[0]) == 1:
        shapes = ((1, *shapes[0]),)
    stream = generator(11, "by class")
    mu, psi = (tuple(torch.randn(3, *shape, generator=stream) for shape in shapes) for _ in range(2))
    psi[0][1].zero_()
    each = [(tuple(block[c] for block in mu), tuple(block[c] for block in psi)) for c in range(3)]
    assert torch.equal(distance.by_class(mu, psi), torch.stack([distance.value(*pair) for pair in each]))
    for c, pair in enumerate(each):
        for found, wanted in zip(distance.cotangent(mu, psi), distance.cotangent(*pair), strict=True):
            assert torch.equal(found[c], wanted)


def test_a_distance_of_its_own_is_not_taken_for_that_of_the_class_it_derives_from() -> None:
    class Doubled(FeatureMatching):
        def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
            return 2.0 * super().distance(mu, psi)

    mu, psi = ((torch.tensor([[1.0, 2.0], [3.0, 4.0]]),), (torch.zeros(2, 2),))
    assert Doubled().distances_by_class(mu, psi).tolist() == [10.0, 50.0]
    assert FeatureMatching().distances_by_class(mu, psi).tolist() == [5.0, 25.0]
