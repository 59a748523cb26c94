"""The real side on the pretended device: one pass for all classes, the means of the CPU, and no image that travels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretend_cuda import Properties, pretend_cuda
from torch import Tensor

from benchmarks.gpu.iterations import SHORT, beginning, config_for
from bilp.config import IngestConfig, ReselectConfig
from bilp.data import Dataset, ingest, open_dataset, resident
from bilp.data.resident import Resident
from bilp.distill.step.batch import Batch, Target
from bilp.distill.step.real import draw_batches, targets
from bilp.distill.step.sample_scores import score_batches
from bilp.distill.step.setting import Setting
from bilp.distill.step.whole_batches import REAL_PASS_BYTES, batches_per_pass
from bilp.errors import ConfigError
from bilp.nets.by_device import LARGE_MEMORY, ByDevice, memory_of
from bilp.training.train import ImageSet

CUDA = torch.device("cuda")
Change = Callable[[list[Batch]], list[Batch]]


def uneven(batches: list[Batch]) -> list[Batch]:
    """Some batches are shorter, as after pruning, and the others weighted."""
    return [
        replace(batch, ids=batch.ids[: 3 + c]) if c % 2 else replace(batch, weights=torch.arange(1.0, len(batch.ids) + 1))
        for c, batch in enumerate(batches)
    ]


def on(device: torch.device, method: str, change: Change = list) -> tuple[Setting, Callable[[], list[Target]]]:
    """A setting with its first network, and what takes the first image step's targets."""
    setting, _ = beginning(config_for(method, 1, 8, 8, SHORT.get(method)), device)
    setting.draw_network("network", 0)
    batches = change(draw_batches(setting, None, 0, 0))
    return setting, lambda: list(targets(setting, batches))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("method", "change"),
    [("dm", list), ("dsa", uneven), *(pytest.param(*row, marks=SLOW) for row in (("dm", uneven), ("dc", list), ("idc", uneven)))],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_means_from_one_pass_are_those_of_the_cpu(method: str, change: Change) -> None:
    _, expected = on(torch.device("cpu"), method, change)
    at_home = expected()
    with pretend_cuda() as counts:
        setting, found = on(CUDA, method, change)
        found()  # makes the constants of augmentation, which stay on the device
        counts.clear()
        away = found()
        depth = setting.config.network.depth
        assert counts.operations["convolution"] == depth, "every layer sees all classes at once"
        assert not counts.waits
        assert counts.copied_bytes < 32 * sum(len(target.batch.ids) for target in at_home) + 4096, "no image travels"
        means = [[block.cpu() for block in target.mean] for target in away]
    for target, blocks in zip(at_home, means, strict=True):
        for one, other in zip(target.mean, blocks, strict=True):
            scale = float(one.abs().max())
            assert scale > 0
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.slow
def test_classes_that_do_not_fit_take_passes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_cuda() as counts:
        setting, found = on(CUDA, "dc")
        whole = found()
        counts.clear()
        monkeypatch.setattr("bilp.distill.step.whole_batches.REAL_PASS_BYTES", ByDevice(1, 1, 6 * 8 * 4 * 8 * 32 * 32 * 8))
        assert batches_per_pass(setting, 8) == 5
        parts = found()
        assert counts.operations["convolution"] == 2 * setting.config.network.depth
        for one, other in zip(whole, parts, strict=True):
            for a, b in zip(one.mean, other.mean, strict=True):
                torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "launches", "waits"), [("dm", 1360, 1), ("dc", 1000, 1)])
def test_effects_of_all_classes_wait_once(method: str, launches: int, waits: int) -> None:
    def effects(device: torch.device) -> tuple[Callable[[], list[Tensor]], Any]:
        setting, state = beginning(config_for(method, 2, 8, 8), device)
        setting = replace(setting, reselect=ReselectConfig(estimator="cotangent"))
        setting.draw_network("network", 0)
        first, *others = draw_batches(setting, None, 0, 0)
        batches = [replace(first, ids=first.ids[:1].expand(len(first.ids))), *others]  # equal samples have no effect
        return lambda: [scored.values for scored in score_batches(setting, state.images, batches)], setting

    at_home, _ = effects(torch.device("cpu"))
    with pretend_cuda() as counts:
        found, _ = effects(CUDA)
        counts.clear()
        away = found()
        assert sum(counts.waits.values()) <= waits
        assert counts.launches <= launches
    assert not away[0].any()
    for one, other in zip(at_home(), away, strict=True):
        torch.testing.assert_close(other, one, rtol=2e-3, atol=1e-6)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("digits"))))


@pytest.mark.slow
def test_a_split_that_is_kept_gives_the_same_batches_without_a_copy_of_images(digits: Dataset) -> None:
    ids = torch.tensor([3, 1437, 3, 0])
    expected, everything = digits.train.batch(ids), digits.train.batch()
    with pretend_cuda() as counts:
        split = digits.train
        assert torch.equal(split.batch(ids, CUDA).cpu(), expected)
        assert split.keep_on(CUDA)
        counts.clear()
        away = split.batch(ids, CUDA)
        assert (counts.copied_bytes, sum(counts.waits.values())) == (8 * len(ids), 0)
        there = split.batch(ids.to(CUDA), CUDA)
        assert not counts.waits, "indices on the device are not read"
        assert torch.equal(away.cpu(), expected)
        assert torch.equal(there.cpu(), expected)
        assert torch.equal(split.batch(device=CUDA).cpu(), everything)
        with pytest.raises(IndexError, match=r"0\.\.1437"):
            split.batch(torch.tensor([1438]), CUDA)


@pytest.mark.slow
@pytest.mark.parametrize("ids", [None, torch.tensor([5, 3, 1437, 3])])
def test_a_set_that_is_too_large_as_float32_is_indexed_on_the_device(
    digits: Dataset, ids: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = torch.tensor([2, 0])
    expected = ImageSet.of_split(digits.train, digits.shape, "cpu", ids).images(chosen)
    monkeypatch.setattr("bilp.training.train.KEPT_BYTES_ON", {"cuda": 0})
    with pretend_cuda() as counts:
        data, there = ImageSet.of_split(digits.train, digits.shape, "cuda", ids), chosen.to(CUDA)
        data.images(there)  # makes the constants
        counts.clear()
        found = data.images(data.indices(chosen, there))
        assert (counts.copied_bytes, sum(counts.waits.values())) == (0, 0)
        assert torch.equal(found.cpu(), expected)
        assert len(data) == sum(len(part) for part in data.passes(100)) == (len(digits.train) if ids is None else 4)


def test_images_are_kept_once_as_many_were_given_as_there_are_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(12, dtype=torch.uint8).reshape(6, 1, 1, 2)
    read: list[int] = []

    def at(indices: Tensor) -> Tensor:
        read.append(len(indices))
        return images[indices]

    with pretend_cuda():
        kept = Resident(at, images.numel(), len(images))
        assert kept.for_batch(torch.device("cpu"), 100) is None
        assert [kept.for_batch(CUDA, 2) is None for _ in range(3)] == [True] * 3
        found = kept.for_batch(CUDA, 1)
        assert found is not None and torch.equal(found.images.cpu(), images)
        assert kept.keep(CUDA) is found
        assert read == [6]
        monkeypatch.setattr(resident, "SHARE", (images.numel() - 1) / Properties().total_memory)
        too_large = Resident(at, images.numel(), len(images))
        assert too_large.keep(CUDA) is None
        assert too_large.for_batch(CUDA, 100) is None


def test_a_device_that_is_too_full_keeps_none_unless_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(indices: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    with pretend_cuda():
        kept = Resident(full, 12, 6)
        assert kept.keep(CUDA) is None
        assert not kept.fits(CUDA)
        monkeypatch.setenv("BILP_DATA", "resident")
        with pytest.raises(ConfigError, match="BILP_DATA=resident: 0.0 GB of images do not fit on cuda beside"):
            Resident(full, 12, 6).keep(CUDA)


def test_numbers_follow_the_kind_of_device() -> None:
    number = ByDevice(cpu=1, gpu=2, large=3)
    assert number.on(torch.device("cpu")) == 1
    assert number.on(torch.device("mps")) == 2
    with pretend_cuda():
        assert memory_of(CUDA) >= LARGE_MEMORY
        assert number.on(CUDA) == 3
    assert REAL_PASS_BYTES.cpu <= REAL_PASS_BYTES.gpu <= REAL_PASS_BYTES.large
