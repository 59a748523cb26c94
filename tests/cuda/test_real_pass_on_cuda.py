"""Ways in which real samples pass the network, on the pretended device: taken in whole passes and in graphs, or refused."""

from __future__ import annotations

import pytest
import torch
from pretend_cuda import pretend_cuda
from torch import Tensor

from benchmarks.gpu.iterations import SHORT, beginning, config_for
from bilp.capture.captured_step import WARM_UPS
from bilp.distill.loops.captured import CapturedIterations
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.step.divergence import Guard
from bilp.distill.step.iteration_record import Record
from bilp.distill.step.real import draw_batches, targets
from bilp.errors import ConfigError

CUDA = torch.device("cuda")


@pytest.mark.parametrize(("method", "error"), [("dm", 1e-2), pytest.param("dsa", 1e-1, marks=pytest.mark.slow)])
def test_means_of_whole_passes_are_rounded_and_stay_float32(method: str, error: float) -> None:
    means: dict[str, list[Tensor]] = {}
    for way in ("float32", "bfloat16"):
        with pretend_cuda():
            setting, _ = beginning(config_for(method, 1, 8, 8, {**SHORT.get(method, {}), "real_pass": way}), CUDA)
            setting.draw_network("network", 0)
            found = list(targets(setting, draw_batches(setting, None, 0, 0)))
            means[way] = [torch.cat([block.flatten().cpu() for block in target.mean]) for target in found]
    for exact, rounded in zip(*means.values(), strict=True):
        assert rounded.dtype == torch.float32
        assert 0.0 < float((rounded - exact).norm() / exact.norm()) < error


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_graphs_round_as_the_loop_does(method: str) -> None:
    def images(way: str, loop: type[SummedIterations]) -> tuple[list[Record], Tensor]:
        with pretend_cuda():
            config = config_for(method, 1, 4, 6, {**SHORT.get(method, {}), "real_pass": way})
            setting, state = beginning(config, CUDA)
            guard = Guard(config.learning_rate, setting.pool.dataset.class_names, float("nan"), "")
            return loop.distill(setting, state, WARM_UPS + 2, None, guard), state.images.detach().cpu()

    one_by_one, graphs = (images("bfloat16", loop) for loop in (SummedIterations, CapturedIterations))
    assert graphs[0] == one_by_one[0]
    assert torch.equal(graphs[1], one_by_one[1])
    assert not torch.equal(graphs[1], images("float32", CapturedIterations)[1])


def test_code_for_cpus_is_refused_elsewhere() -> None:
    with pretend_cuda(), pytest.raises(ConfigError, match="real_pass=compiled is for CPUs, and this is device cuda"):
        beginning(config_for("dm", 1, 8, 8, {"real_pass": "compiled"}), CUDA)
