"""The protocols restated plainly: step sizes, cutmix, soft labels, and one whole training under IDC's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import EvaluateConfig, NetworkConfig, PipelineConfig
from bilp.config.explain import explain
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.nets import Network, build, initialize
from bilp.seeds import generator
from bilp.training.batch_augment import Streams, Treatment, augment_batch, draw
from bilp.training.objective import Mixed, hard_loss, soft_loss
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

IDC = Schedule.of_config(PipelineConfig(dataset="cifar10", evaluate={"protocol": "idc"}).evaluate, 12)


def fresh() -> Network:
    network = build(NetworkConfig(width=8), (1, 8, 8), 10)
    initialize(network, generator(0, "init"))
    return network


def some(count: int) -> tuple[Tensor, Tensor]:
    stream = generator(0, "data", count)
    return torch.randn(count, 1, 8, 8, generator=stream), torch.randint(10, (count,), generator=stream)


@pytest.mark.parametrize("epochs", [1000, 6, 7])
def test_step_sizes_of_idc_fall_by_a_fifth_at_two_thirds_and_five_sixths(epochs: int) -> None:
    schedule = Schedule(epochs, 64, 0.01, 0.9, 5e-4, decay="steps", milestones=(2 / 3, 5 / 6), decay_factor=0.2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * epochs // 3, 5 * epochs // 6], gamma=0.2)
    assert schedule.passes == epochs
    for epoch in range(epochs):
        assert schedule.rate(epoch) == pytest.approx(reference.get_last_lr()[0]), epoch
        optimizer.step()
        reference.step()


def test_step_sizes_of_a_cosine_and_of_none() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    schedule = Schedule(20, 64, 0.5, 0.0, 0.0, decay="cosine")
    for epoch in range(schedule.passes):
        assert schedule.rate(epoch) == pytest.approx(reference.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        reference.step()
    assert {Schedule(9, 64, 0.5, 0.0, 0.0, decay="none").rate(epoch) for epoch in range(9)} == {0.5}


def test_momentum_survives_a_milestone_but_not_the_middle() -> None:
    assert [epoch for epoch in range(13) if Schedule(12, 8, 0.1, 0.9, 0.0).restarts(epoch)] == [0, 8]
    assert [epoch for epoch in range(12) if IDC.restarts(epoch)] == [0]


def test_cutmix_pastes_a_box_of_the_partner_and_shares_the_label_by_area() -> None:
    images, labels = some(9)
    streams = Streams.of(0, "net", 0)
    schedule = Schedule(1, 9, 0.1, 0.9, 0.0, cutmix=1.0)
    shares = []
    for _ in range(200):
        mix = draw(schedule, (8, 8), 9, streams).mix
        assert mix is not None
        top, bottom, left, right = mix.box
        expected = images.clone()
        for i, j in enumerate(mix.partner.tolist()):
            for y in range(top, bottom):
                for x in range(left, right):
                    expected[i, 0, y, x] = images[j, 0, y, x]
        mixed = augment_batch(images, Treatment((), mix))
        assert torch.equal(mixed, expected)
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / 64)
        assert sorted(mix.partner.tolist()) == list(range(9))
        shares.append(mix.share)
    assert min(shares) < 0.5 < 0.9 < max(shares)
    logits = torch.randn(1, 9, 10, generator=generator(1))
    own, other = (functional.cross_entropy(logits[0], some_labels) for some_labels in (labels, labels[mix.partner]))
    assert float(hard_loss(logits, labels[None], Mixed.of([mix], len(labels)))) == pytest.approx(
        float(mix.share * own + (1 - mix.share) * other), rel=1e-5
    )
    assert float(hard_loss(logits, labels[None], Mixed.of([None], len(labels)))) == pytest.approx(float(own), rel=1e-6)


def test_cutmix_comes_with_its_probability() -> None:
    streams = Streams.of(3, "net", 0)
    schedule = Schedule(1, 4, 0.1, 0.9, 0.0, cutmix=0.25)
    hits = sum(draw(schedule, (8, 8), 4, streams).mix is not None for _ in range(2000))
    assert 0.21 < hits / 2000 < 0.29
    assert draw(Schedule(1, 4, 0.1, 0.9, 0.0), (8, 8), 4, streams).mix is None


def test_families_that_always_apply_come_first_and_one_of_the_others_follows() -> None:
    streams = Streams.of(0, "net", 1)
    seen = {tuple(params.family for params in draw(IDC, (32, 32), 4, streams).families) for _ in range(60)}
    assert seen == {("flip", "color", last) for last in ("crop", "scale", "rotate")}
    drawn = draw(IDC, (32, 32), 4, streams)
    assert all(len(value) == 4 for params in drawn.families for value in params.values.values()), "fresh parameters per image"


def test_families_after_the_drawn_one_always_apply() -> None:
    """IDC's program: color, one of three, cutout at the end (misc/augment.py:53)."""
    schedule = Schedule(1, 4, 0.1, 0.9, 0.0, augment=("crop", "rotate"), augment_always=("color",), augment_after=("cutout",))
    drawn = [[part.family for part in draw(schedule, (8, 8), 4, Streams.of(0, "net", k)).families] for k in range(20)]
    assert {(first, last) for first, _, last in drawn} == {("color", "cutout")}
    assert {second for _, second, _ in drawn} == {"crop", "rotate"}
    alone = Schedule.of_config(EvaluateConfig(augment_after=("cutout",)), 1)
    images = torch.ones(4, 1, 8, 8)
    augmented = augment_batch(images, draw(alone, (8, 8), 4, Streams.of(0, "net", 0)))
    assert 0 < int((augmented == 0).sum()) < augmented.numel()


def test_soft_loss_is_the_divergence_from_the_teacher() -> None:
    ours, theirs = (torch.randn(2, 5, 10, generator=generator(k), dtype=torch.float64) for k in (1, 2))
    found = soft_loss(ours, theirs, 3.0)
    for k in range(2):
        total = 0.0
        for b in range(5):
            p = [math.exp(v / 3) for v in theirs[k, b].tolist()]
            q = [math.exp(v / 3) for v in ours[k, b].tolist()]
            total += sum(a / sum(p) * math.log((a / sum(p)) / (c / sum(q))) for a, c in zip(p, q, strict=True))
        assert float(found[k]) == pytest.approx(total / 5, rel=1e-9)
    assert float(soft_loss(theirs, theirs, 3.0).abs().max()) < 1e-12


def test_a_whole_training_under_idc_written_without_the_schedule() -> None:
    images, labels = some(23)
    ours, theirs = fresh(), fresh()
    schedule = Schedule(
        12, 8, 0.05, 0.9, 5e-3, ("crop", "rotate"), ("color",), cutmix=0.5, decay="steps", milestones=(2 / 3, 5 / 6), decay_factor=0.2
    )
    list(train(ours, ImageSet.of_tensors(images, labels), schedule, Streams.of(1, "net", 0)))
    streams = Streams.of(1, "net", 0)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    for epoch in range(12):
        if epoch in (8, 10):
            optimizer.param_groups[0]["lr"] *= 0.2
        for rows in torch.randperm(23, generator=streams.order).split(8):
            treatment = draw(schedule, (8, 8), len(rows), streams)
            inputs = images[rows]
            for params in treatment.families:
                inputs = augment.apply(inputs, params)
            targets = functional.one_hot(labels[rows], 10).float()
            if treatment.mix is not None:
                top, bottom, left, right = treatment.mix.box
                mask = torch.zeros(8, 8, dtype=torch.bool)
                mask[top:bottom, left:right] = True
                inputs = torch.where(mask, inputs[treatment.mix.partner], inputs)
                part = mask.float().mean()
                targets = (1 - part) * targets + part * targets[treatment.mix.partner]
            loss = functional.cross_entropy(theirs(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-3, atol=1e-5, msg=name)


def test_soft_labels_without_a_teacher_are_refused() -> None:
    images, labels = some(4)
    with pytest.raises(ConfigError, match="need a teacher"):
        next(train(fresh(), ImageSet.of_tensors(images, labels), Schedule(1, 4, 0.1, 0.9, 0.0, temperature=2.0), Streams.of(0, "n", 0)))


def test_presets_fill_only_what_is_not_given_and_say_so() -> None:
    given = {"dataset": "cifar10", "evaluate": {"protocol": "idc", "cutmix": 0.0}}
    settings = {row.path: (row.value, row.origin) for row in explain(given)}
    assert settings["evaluate.cutmix"] == (0.0, "given")
    assert settings["evaluate.batch_size"] == (64, "protocol idc")
    assert settings["evaluate.augment_always"] == (["flip", "color"], "protocol idc")
    assert settings["evaluate.epochs"] == (1000, "protocol idc")
    digits = {row.path: row.value for row in explain({"dataset": "mnist", "evaluate": {"protocol": "idc"}})}
    assert digits["evaluate.augment_always"] == ["color"], "a mirrored digit is another one"
    dc = PipelineConfig(dataset="mnist", method="dc").evaluate
    assert (dc.augment_each, dc.augment, dc.epochs) == (("crop", "scale", "rotate"), (), 1000)
    for other in ({"method": "dm"}, {"method": "dc", "dataset": "svhn"}, {"method": "dc", "evaluate": {"protocol": "idc"}}):
        assert PipelineConfig.model_validate({"dataset": "mnist", **other}).evaluate.augment_each == ()
    soft = PipelineConfig(dataset="cifar100", ipc=10, evaluate={"protocol": "soft"}).evaluate
    assert (soft.optimizer, soft.decay, soft.labels, soft.batch_size, soft.weight_decay) == ("adamw", "cosine", "soft", 100, 0.01)
    assert PipelineConfig(dataset="cifar10", method="dm").evaluate.protocol == "dc"
