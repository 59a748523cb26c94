"""RDED on the pretended device: the images, crops and soft labels of the CPU, and sums in a fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pretend_cuda import pretend_cuda

from bilp.config import DistillConfig, IngestConfig, NetworkConfig, ReselectConfig, TeacherConfig, settings
from bilp.data import ingest, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.loops.crops import BOXES, IDS, LOGITS, SCORES, distill
from bilp.distill.step.divergence import Guard
from bilp.distill.step.initial import initial_state
from bilp.distill.step.setting import RunInputs, Setting
from bilp.distill.step.state import DistillState
from bilp.evaluate import train_teacher
from bilp.nets.arithmetic import arithmetic
from bilp.teachers.stored_teacher import StoredTeacher

pytestmark = pytest.mark.slow

NARROW = NetworkConfig(width=8, depth=2)


def run(config: DistillConfig, pool: RealPool, teacher: StoredTeacher, device: str) -> DistillState:
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, device, RunInputs(teacher=teacher))
    state = initial_state(config, pool).to(device)
    guard = Guard(config.learning_rate, pool.dataset.class_names, float("nan"), "No round of the run was finished before.")
    with arithmetic(config.gpu, device):
        distill(setting, state, 2, None, guard)
    return state.to("cpu")


def test_a_device_chooses_as_the_cpu_does(tmp_path: Path) -> None:
    uri = ingest(IngestConfig(), str(tmp_path))
    dataset = open_dataset(uri)
    teacher = StoredTeacher(train_teacher(uri, TeacherConfig(network=NARROW, epochs=1, batch_size=64), 0, str(tmp_path)))
    patches = {"pool": 12, "factor": 2}
    config = settings(method="rded", ipc=2, distill={"network": {"width": 8, "depth": 2}, "patches": patches, "iterations": 2}).distill
    pool = RealPool(dataset, torch.cat([ids[:20] for ids in dataset.train.by_class()]))
    here = run(config, pool, teacher, "cpu")
    with pretend_cuda() as counts:
        there = run(config, pool, teacher, "cuda")
        unordered = dict(counts.unordered)
    assert unordered == {}, "another run would give other bytes"
    assert torch.equal(there.method[IDS], here.method[IDS])
    assert torch.equal(there.method[BOXES], here.method[BOXES])
    for name in (SCORES, LOGITS):
        torch.testing.assert_close(there.method[name], here.method[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there.images, here.images, rtol=1e-4, atol=1e-5)
