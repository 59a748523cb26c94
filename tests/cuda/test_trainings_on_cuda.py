"""Trainings on the pretended device: the parameters of the CPU, no wait in between, and one launch for all of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from launch_counts import Counts
from pretend_cuda import pretend_cuda
from tiers import first_tier
from torch import Tensor, nn

from bilp.capture import to_device
from bilp.capture.captured_step import WARM_UPS
from bilp.config import NetworkConfig, settings
from bilp.data import ingest, open_dataset
from bilp.distill.step.inner_training import InnerTraining
from bilp.distill.step.real_training import RealStep, sgd
from bilp.distill.step.schedule import Schedule as InnerSchedule
from bilp.evaluate.stacked_training import fresh_stack, predictions_of_all, train_together
from bilp.experts.expert import train_epochs as train_expert
from bilp.images.cutmix import draw_mix, mix_images
from bilp.nets import Network, build, initialize
from bilp.nets.dropout import Dropout
from bilp.scoring.coverage import herding, k_center
from bilp.scoring.loss_curves import train_trial
from bilp.seeds import generator
from bilp.training import replayed
from bilp.training.batch_augment import Streams
from bilp.training.course import Losses
from bilp.training.replayed import Replayed
from bilp.training.train import ImageSet, predictions, train
from bilp.training.training_schedule import Schedule

SHAPE, CLASSES, IMAGES = (1, 8, 8), 3, 10
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def network(name: str, device: torch.device, **changes: Any) -> Network:
    made = build(NetworkConfig(width=4, depth=1, **changes), SHAPE, CLASSES)
    initialize(made, generator(0, name))
    made.to(device)
    return made


def drawn(device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.randn(IMAGES, *SHAPE, generator=generator(0, "images"))
    return images.to(device), (torch.arange(IMAGES) % CLASSES).to(device)


def close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.detach().cpu(), other.detach(), rtol=1e-4, atol=1e-5)


# Operations that launch something, in all of a training whose steps are graphs already. Budgets only ever fall.
INNER = {"plain": ((), 85), "augmented": (("flip", "crop", "color"), 304)}


@pytest.mark.parametrize("kind", first_tier(INNER, "plain"))
def test_inner_epochs(kind: str) -> None:
    augment, most = INNER[kind]
    schedule = InnerSchedule(1, 8, 0.05, 6, augment, features=False)
    at_home = network("inner", CPU)
    expected = InnerTraining(at_home, schedule, CPU)
    for turn in range(2):
        expected.run(*drawn(CPU), 0, "inner", turn)
    with pretend_cuda() as counts:
        away = network("inner", CUDA)
        images, labels = drawn(CUDA)
        training = InnerTraining(away, schedule, CUDA)
        training.run(images, labels, 0, "inner", 0)
        counts.clear()
        training.run(images, labels, 0, "inner", 1)
        assert (dict(counts.waits), sum(counts.copies.values()) <= 2) == ({}, True), counts.copies
        assert counts.operations["graph"] == 16, "two mini-batches in each of eight epochs"
        assert counts.launches <= most
        assert all(parameter.grad is None for parameter in away.parameters())
        close(list(away.parameters()), list(at_home.parameters()))


SCHEDULE = Schedule(6, 6, 0.05, 0.9, 5e-4)
TRAININGS: dict[str, Schedule] = {
    "plain": SCHEDULE,
    "restarts": replace(SCHEDULE, decay="half"),
    "steps": replace(SCHEDULE, decay="steps", milestones=(0.5,), augment=("flip", "crop")),
    "adamw": replace(SCHEDULE, optimizer="adamw", decay="cosine", learning_rate=0.01, decay_vectors=False),
    "cutmix": replace(SCHEDULE, cutmix=0.5),
    "soft": replace(SCHEDULE, temperature=4.0),
    "fixed": replace(SCHEDULE, temperature=4.0, fixed_labels=True, cutmix=0.5, decay="none"),
}


def alone(schedule: Schedule, device: torch.device, teacher: nn.Module, losses: Losses) -> list[Tensor]:
    module = network("alone", device, norm="none")  # else the bias has a gradient of nothing but rounding, which AdamW enlarges
    for _ in train(module, ImageSet.of_tensors(*drawn(device), str(device)), schedule, Streams.of(0, "alone", 0), teacher, losses):
        pass
    return list(module.parameters())


def together(schedule: Schedule, device: torch.device, teacher: nn.Module, losses: Losses) -> list[Tensor]:
    module, data = network("together", device, norm="none"), ImageSet.of_tensors(*drawn(device), str(device))
    stacked = fresh_stack(module, [generator(0, "together", k) for k in range(2)])
    streams = [Streams.of(0, "together", k) for k in range(2)]
    for _ in train_together(module, stacked, [data, data], schedule, streams, teacher, losses):
        pass
    return list(stacked.values())


@pytest.mark.parametrize("name", first_tier(TRAININGS, "restarts"))
@pytest.mark.parametrize("kind", first_tier(("alone", "together"), "alone"))
def test_evaluations(kind: str, name: str) -> None:
    trained = {"alone": alone, "together": together}[kind]
    told, seen = Losses(), Losses()
    expected = trained(TRAININGS[name], CPU, network("teacher", CPU).eval(), told)
    with pretend_cuda() as counts:
        teacher = network("teacher", CUDA).eval()
        counts.clear()
        found = trained(TRAININGS[name], CUDA, teacher, seen)
        assert not counts.waits
        assert counts.operations["graph"] >= 3
        sent = sum(number for place, number in counts.copies.items() if "bilp/capture/transfer.py" in place)
        assert sent == TRAININGS[name].passes, "all that is drawn for an epoch travels together"
        close(found, expected)
        torch.testing.assert_close(torch.from_numpy(seen.curves()), torch.from_numpy(told.curves()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_training_on_real_images_that_are_mixed_or_not() -> None:
    """IDC's and DREAM's, whose shares and partners are tensors in a graph."""

    mixes = [draw_mix(0.5, SHAPE[1:], IMAGES, generator(0, "mix", number)) for number in range(10)]
    mixed = sum(mix is not None for mix in mixes)
    assert WARM_UPS < mixed < 10 - WARM_UPS

    def trained(device: torch.device) -> tuple[list[Tensor], list[int]]:
        module, (images, labels) = network("real", device), drawn(device)
        step, right = RealStep(module, sgd(module, 0.05, 0.9, 5e-4), device), []
        for mix in mixes:
            right.append(int(step(mix_images(images, mix), labels, mix)))
        return list(module.parameters()), right

    expected, right = trained(CPU)
    with pretend_cuda() as counts:
        found, seen = trained(CUDA)
        assert counts.operations["graph"] == 10 - 2 * WARM_UPS
        close(found, expected)
    assert seen == right
    assert 0 < sum(right) < 10 * IMAGES


@pytest.mark.slow
def test_a_network_that_draws_is_told_each_operation() -> None:
    """Dropout draws on the host in each forward pass, which no graph can repeat."""

    def trained(device: torch.device) -> list[Tensor]:
        module = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), 8, CLASSES, Dropout(0.5))
        initialize(module, generator(0, "dropout"))
        module.to(device)
        data = ImageSet.of_tensors(*drawn(device), str(device))
        for _ in train(module, data, SCHEDULE, Streams.of(0, "dropout", 0)):
            pass
        return list(module.parameters())

    expected = trained(CPU)
    with pretend_cuda() as counts:
        close(trained(CUDA), expected)
        assert counts.operations["graph"] == 0


@pytest.mark.slow
def test_tests_take_many_images_at_once_and_wait_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bilp.training.train.TEST_BATCH", 2)
    monkeypatch.setattr("bilp.training.train.TEST_VALUES", {"cuda": 6 * 64})
    module, data = network("test", CPU), ImageSet.of_tensors(*drawn(CPU))
    expected = predictions(module, data)
    stacked = fresh_stack(module, [generator(0, "test", k) for k in range(2)])
    of_all = predictions_of_all(module, stacked, data)
    with pretend_cuda() as counts:
        away = network("test", CUDA)
        data = ImageSet.of_tensors(*drawn(CUDA), "cuda")
        moved = fresh_stack(network("test", CUDA), [generator(0, "test", k) for k in range(2)])
        counts.clear()
        found = predictions(away, data)
        assert counts.operations["convolution"] == 2, "10 images, 6 at a time"
        assert (sum(counts.waits.values()), sum(counts.copies.values())) == (1, 1)
        counts.clear()
        all_found = predictions_of_all(away, moved, data)
        assert (counts.operations["convolution"], sum(counts.waits.values())) == (4, 1)
        assert found.tolist() == expected.tolist()
        assert all_found.tolist() == of_all.tolist()


@pytest.mark.parametrize("rule", [herding, pytest.param(k_center, marks=pytest.mark.slow)])
def test_picking_waits_for_no_pick(rule: Callable[..., Tensor]) -> None:
    features = torch.randn(25, 4, generator=generator(0, "features")) + 5
    with pretend_cuda() as counts:
        away = features.cuda()
        counts.clear()
        order = rule(away)
        assert sum(counts.waits.values()) == 2, "whether all is finite, and the order"
        assert not counts.copies
        assert counts.operations["graph"] >= 25 - 4
        assert counts.launches <= 110
    assert order.tolist() == rule(features).tolist()


def counted(counts: Counts) -> tuple[int, int, int]:
    return counts.launches, sum(counts.waits.values()), sum(counts.copies.values())


@pytest.mark.slow
def test_scoring_and_experts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Per epoch of 1438 images in six mini-batches, of which the copies of images are one of pixels and two of constants each."""
    config = settings(
        dataset="digits", score={"network": {"width": 4, "depth": 1}, "epochs": 4, "batch_size": 256, "gradient_norm": "last_layer"}
    )
    dataset = open_dataset(ingest(config.ingest, str(tmp_path_factory.mktemp("trainings"))))
    expected = train_trial(dataset, config.score, 0)
    experts = settings(dataset="digits", method="mtt").experts.model_copy(update={"epochs": 4, "batch_size": 256})
    with pretend_cuda() as counts:
        found = train_trial(dataset, config.score, 0, "cuda")
        launches, waits, copies = (number / 4 for number in counted(counts))
        assert (launches <= 209, waits <= 3.25, copies <= 4) == (True, True, True), (launches, waits, copies)
        counts.clear()
        for _ in train_expert(dataset, torch.arange(len(dataset.train)), experts, config.score.network, 0, "cuda"):
            pass
        launches, waits, copies = (number / 4 for number in counted(counts))
        assert (launches <= 167, waits <= 1, copies <= 3.25) == (True, True, True), (launches, waits, copies)
    assert float(abs(found.losses - expected.losses).max()) < 1e-3
    assert found.predictions is not None
    assert expected.predictions is not None
    assert float(abs(found.predictions.own - expected.predictions.own).max()) < 1e-4


def test_each_combination_of_shapes_has_a_graph_and_too_many_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replayed, "MOST_GRAPHS", 2)
    with pretend_cuda() as counts:
        total = torch.zeros((), device="cuda")

        def summed(one: Tensor, other: Tensor | None) -> tuple[Tensor]:
            total.add_(one.sum())
            return (one * 2 if other is None else one + other,)

        function, expected = Replayed(summed, CUDA), 0.0
        for turn in range(6):
            for size, both in ((3, False), (2, True), (4, False)):
                one = torch.full((size,), float(turn), device="cuda")
                (result,) = function(one, torch.ones(size, device="cuda") if both else None)
                expected += turn * size
                assert result.tolist() == [turn + 1.0 if both else 2.0 * turn] * size
        assert float(total) == expected
        assert counts.operations["graph"] == 2 * 3


def test_tensors_of_all_types_travel_in_one_copy() -> None:
    values = [torch.tensor([True, False, True]), torch.arange(5), torch.tensor(2.5), torch.rand(2, 3), torch.zeros(0)]
    assert all(one is other for one, other in zip(to_device(values, "cpu"), values, strict=True))
    with pretend_cuda() as counts:
        moved = to_device(values, "cuda")
        assert (sum(counts.copies.values()), sum(counts.waits.values())) == (1, 0)
        for one, other in zip(moved, values, strict=True):
            assert (one.dtype, one.shape, one.tolist()) == (other.dtype, other.shape, other.tolist())
