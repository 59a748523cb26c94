"""Clips on the pretended device: an image step and its graphs move them as the CPU does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_data import held, source_of
from pretend_cuda import pretend_cuda
from torch import Tensor

from bilp.capture.captured_step import WARM_UPS
from bilp.config import DistillConfig, ReselectConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.captured import CapturedIterations
from bilp.distill.loops.dm_dc import SummedIterations
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import Setting

pytestmark = pytest.mark.slow

SETTINGS: dict[str, dict[str, Any]] = {
    "dm": {"augment": ["color", "crop", "rotate"]},
    "dsa": {"augment": ["flip", "scale", "cutout"], "outer_loops": 2, "inner_epochs": 1},
}


def dataset_in(folder: Path) -> Dataset:
    arrays = held()
    return open_dataset(ingest(source_of(arrays), str(folder)))


def distilled(dataset: Dataset, method: str, loop: type[SummedIterations], device: str) -> Tensor:
    """The synthetic clips after some iterations, on the CPU."""
    network = {"name": "video_convnet_mean", "width": 6, "depth": 2}
    settings = {"method": method, "ipc": 2, "iterations": 20, "rounds": 1, "batch_real": 4, "init": "real", "learning_rate": 0.1}
    config = DistillConfig.model_validate({**settings, "network": network, **SETTINGS[method]})
    pool = RealPool(dataset)
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, torch.device(device))
    state = initial_state(config, pool).to(torch.device(device))
    loop.distill(setting, state, WARM_UPS + 2, None, Guard(config.learning_rate, dataset.class_names, math.nan, ""))
    return state.images.detach().cpu()


@pytest.mark.parametrize("method", SETTINGS)
def test_clips_move_as_on_a_cpu_one_by_one_and_as_graphs(method: str, tmp_path: Path) -> None:
    dataset = dataset_in(tmp_path)
    reference = distilled(dataset, method, SummedIterations, "cpu")
    moved = reference - dataset.train.batch(torch.zeros(1, dtype=torch.int64))
    assert reference.shape == (8, 4, 3, 16, 16) and float(moved.abs().max()) > 0
    found = []
    for loop in (SummedIterations, CapturedIterations):
        with pretend_cuda():
            found.append(distilled(dataset, method, loop, "cuda"))
    torch.testing.assert_close(found[0], reference, rtol=1e-3, atol=2e-4)
    assert torch.equal(found[1], found[0])
