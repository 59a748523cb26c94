"""Mini-batches of the training on real images: passes of IDC's program, and steps of IDM's."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from bilp.data.pool import RealPool
from bilp.distill.step.real_training import RealTraining

Few = Callable[[int], RealPool]


def training(pool: RealPool, batch: int) -> RealTraining:
    return RealTraining(pool, batch, (), 0.0, 0, torch.device("cpu"))


def sizes(real: RealTraining, most: int | None) -> list[int]:
    return [len(ids) for ids in real.one_pass(real.endless("x"), most)]


@pytest.mark.parametrize(
    ("batch", "most", "expected"),
    [
        (16, 50, [16] * 4),
        (16, 48, [16] * 3),
        (16, 1, [16]),
        (64, 20, [64]),
        (32, 90, [32] * 3),
        (32, 5000, [32] * 3 + [24]),
        (32, None, [32] * 3 + [24]),
    ],
)
def test_a_pass_ends_with_a_whole_mini_batch_and_never_exceeds_an_epoch(
    few: Few, batch: int, most: int | None, expected: list[int]
) -> None:
    """IDC's train.py:251 stops once that many images were seen, its loader after an epoch; 120 images here."""
    assert sizes(training(few(12), batch), most) == expected


def test_passes_go_on_through_the_epochs(few: Few) -> None:
    """Two passes of 40 of 120 images repeat none (IDC's data.py, ClassMemDataLoader); each epoch meets every image once."""
    real = training(few(12), 10)
    waiting = real.endless("x")
    met = [torch.cat(list(real.one_pass(waiting, 40))) for _ in range(6)]
    assert [len(ids) for ids in met] == [40] * 6
    first, second = torch.cat(met[:3]), torch.cat(met[3:])
    everyone = torch.cat(real.pool.by_class).sort().values
    assert torch.equal(first.sort().values, everyone) and torch.equal(second.sort().values, everyone)
    assert not torch.equal(first, second)


def test_steps_are_the_first_of_the_same_endless_row(few: Few) -> None:
    real = training(few(3), 8)
    found = list(real.steps(9, "pool", 4))
    assert len(found) == 9
    for ids, expected in zip(found, itertools.islice(real.endless("pool", 4), 9), strict=True):
        assert torch.equal(ids, expected)
