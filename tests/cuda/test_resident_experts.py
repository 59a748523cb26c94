"""Parameters of experts travel to a device as one vector and stay there, as far as its share goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pretend_cuda import pretend_cuda

from bilp.config import settings
from bilp.data import ingest
from bilp.experts import resident_experts
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.resident_experts import Resident, moved
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.seeds import generator

VALUES = tuple(torch.randn(shape, generator=generator(7, *shape)) for shape in ((4, 3, 3, 3), (4,), (5, 16)))


def test_they_travel_in_one_copy() -> None:
    with pretend_cuda() as counts:
        there = moved(VALUES, torch.device("cuda"))
        assert sum(counts.copies.values()) == 1
        assert [value.device.type for value in there] == ["cuda"] * 3
        assert all(torch.equal(value.cpu(), expected) for value, expected in zip(there, VALUES, strict=True))
    here = moved(VALUES, torch.device("cpu"))
    assert all(torch.equal(value, expected) and value is not expected for value, expected in zip(here, VALUES, strict=True))


def test_they_are_kept_within_the_share_of_the_type_of_device(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(value.numel() * 4 for value in VALUES)
    monkeypatch.setattr(resident_experts, "SHARES", {"cuda": 2 * size})
    first, other, kept = torch.device("cuda"), torch.device("cpu"), Resident()
    for epoch in range(3):
        kept.keep(first, 0, epoch, VALUES)
    kept.keep(other, 1, 0, VALUES)
    assert [kept.find(first, 0, epoch) is VALUES for epoch in range(3)] == [True, True, False]
    assert kept.find(first, 1, 0) is None
    assert kept.find(other, 1, 0) is None


@pytest.mark.slow
def test_a_buffer_reads_an_epoch_once_for_a_gpu(tmp_path: Path) -> None:
    narrow = {"network": {"width": 4}, "trajectory": {"max_start": 0, "expert_epochs": 1}}
    config = settings(dataset="digits", method="mtt", experts={"count": 1, "epochs": 1}, distill=narrow)
    dataset, root = ingest(config.ingest, str(tmp_path / "data")), str(tmp_path)
    train_expert(dataset, None, config.experts, config.distill.network, 0, root)
    buffer = ExpertBuffer(collect_experts(dataset, None, config.experts, config.distill.network, root))
    at_home = buffer.parameters(0, 1)
    with pretend_cuda() as counts:
        first = buffer.parameters(0, 1, "cuda")
        counts.clear()
        assert buffer.parameters(0, 1, "cuda") is first
        assert not counts.copies
        assert all(torch.equal(one.cpu(), other) for one, other in zip(first, at_home, strict=True))
    assert buffer.parameters(0, 1) is not at_home
