"""MTT and TESLA as graphs: replays give the bits of the operations one by one, and an iteration launches little beside its graph."""

from __future__ import annotations

import math

import pytest
import torch
from pretend_cuda import pretend_cuda
from torch import Tensor

from benchmarks.gpu.iterations import beginning, config_for
from bilp.capture import captured_step
from bilp.capture.captured_step import WARM_UPS
from bilp.distill.loops.registry import loop_for
from bilp.distill.step.divergence import Guard

pytestmark = pytest.mark.slow

ITERATIONS = WARM_UPS + 2
BESIDE = 60
"""Operations beside the graph of a replayed iteration without augmentation, however many steps it has."""


def run(method: str, batch: int | None) -> tuple[Tensor, Tensor, list[tuple[int, int, int]]]:
    """Images and step size after some iterations, and of each one the launches, kernels and waits."""
    config = config_for(method, 1, 4, None, {"trajectory": {"steps": 3, "batch": batch}, "augment": ()})
    with pretend_cuda() as counts:
        setting, state = beginning(config, torch.device("cuda"))
        told = []

        def look(done: int, total: int, note: str = "") -> None:
            told.append((counts.launches, counts.kernels, sum(counts.waits.values())))
            counts.clear()

        counts.clear()
        guard = Guard(config.learning_rate, setting.pool.dataset.class_names, math.nan, "")
        loop_for(method)(setting, state, ITERATIONS, None, guard, look)
        return state.images.detach().cpu(), state.method["step_size"].cpu(), told


@pytest.mark.parametrize(("method", "batch"), [("mtt", 4), ("tesla", None)])
def test_replays_give_the_bits_of_single_operations(method: str, batch: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    images, step_size, replayed = run(method, batch)
    monkeypatch.setattr(captured_step, "WARM_UPS", ITERATIONS + 1)
    expected, expected_size, one_by_one = run(method, batch)
    assert torch.equal(images, expected)
    assert torch.equal(step_size, expected_size)
    assert [waits for _, _, waits in replayed] == [1] * ITERATIONS
    for (launches, kernels, _), (all_launches, all_kernels, _) in zip(replayed[WARM_UPS:], one_by_one[WARM_UPS:], strict=True):
        assert kernels == all_kernels
        assert launches <= BESIDE < all_launches
