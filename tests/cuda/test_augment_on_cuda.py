"""Augmentation on the pretended device: what the CPU computes, in operations whose number no draw changes, after one copy."""

from __future__ import annotations

import pytest
import torch
from pretend_cuda import pretend_cuda
from torch import Tensor

from bilp.config.arithmetics import FLOAT32
from bilp.config.augmentations import ALL_FAMILIES, AUGMENTATIONS
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix, mix_images, mixed_loss
from bilp.nets.arithmetic import arithmetic
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.mini_batches import AT_ONCE, MiniBatch, mini_batches
from bilp.training.training_schedule import Schedule

SIDE = (16, 16)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# Launches of the augmentation of any number of classes, families and images: forward, and backward to the images.
FORWARD, BACKWARD = 18, 26


def images(count: int, *path: str | int) -> Tensor:
    return torch.randn(count, 3, *SIDE, generator=generator(0, "images", *path))


def drawn(seed: int, classes: int, count: int = 1) -> list[AugParams | None]:
    return [augment.draw(ALL_FAMILIES, SIDE, generator(seed, "augment", c), count) for c in range(classes)]


@pytest.mark.parametrize("family", AUGMENTATIONS)
def test_a_family_is_what_it_is_on_the_cpu(family: str) -> None:
    for count in (1, 3):
        params = augment.draw([family], SIDE, generator(2, family), count)
        with pretend_cuda() as counts:
            found = augment.apply(images(3).cuda(), params)
            assert not counts.waits
            torch.testing.assert_close(found.cpu(), augment.apply(images(3), params), **CLOSE)


def test_what_all_classes_drew_is_sent_once_and_serves_both_sides() -> None:
    real, synthetic, sizes = images(23, "real"), images(14, "synthetic"), [5, 1, 2, 3, 4, 6, 2]
    found, expected = [], []
    for device, into in (("cpu", expected), ("cuda", found)):
        with pretend_cuda() as counts, arithmetic(FLOAT32, device):
            up, leaf = real.to(device), synthetic.to(device).requires_grad_()
            augment.apply_each(up, drawn(9, 7), sizes)  # makes the constants
            counts.clear()
            params = augment.send(drawn(5, 7), SIDE, device)
            assert sum(counts.copies.values()) == (1 if device == "cuda" else 0)
            into.append(augment.apply_each(up, params, sizes).cpu())
            shown = augment.apply_each(leaf, params, [2] * 7)
            (gradient,) = torch.autograd.grad(shown.square().sum(), leaf)
            assert sum(counts.copies.values()) == (1 if device == "cuda" else 0)
            assert not counts.unordered
            into += [shown.detach().cpu(), gradient.cpu()]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_number_of_operations_is_the_same_whatever_was_drawn() -> None:
    seen = set()
    with pretend_cuda() as counts:
        for seed in range(6):
            leaf = images(30).cuda().requires_grad_()
            params = augment.send(drawn(seed, 10), SIDE, "cuda")
            counts.clear()
            shown = augment.apply_each(leaf, params, [3] * 10)
            forward = counts.launches
            torch.autograd.grad(shown, leaf, torch.ones_like(shown))
            seen.add((forward, counts.launches - forward))
    assert len(seen) == 1
    assert max(seen) <= (FORWARD, BACKWARD)


@pytest.mark.parametrize("mixes", [0.0, 0.7])
def test_mini_batches_of_all_networks_and_of_many_steps_are_sent_at_once(mixes: float) -> None:
    families = {"augment_always": ("flip", "color"), "augment": ALL_FAMILIES, "augment_after": ("cutout",)}
    schedule = Schedule(1, 6, 0.01, 0.0, 0.0, cutmix=mixes, **families)

    def epoch(device: str) -> list[MiniBatch]:
        orders = torch.stack([torch.randperm(15, generator=generator(0, "order", k)) for k in range(5)])
        return list(mini_batches(orders, schedule, SIDE, [Streams.of(0, "network", k) for k in range(5)], torch.device(device)))

    at_home = epoch("cpu")
    expected = [batch.treated(images(75)[batch.indices]) for batch in at_home]
    with pretend_cuda() as counts:
        up = images(75).cuda()
        away = epoch("cuda")
        assert sum(counts.copies.values()) == 2, "the images, and all of the epoch"
        away[0].treated(up[away[0].there])  # makes the constants
        counts.clear()
        launches = []
        for batch, wanted in zip(away, expected, strict=True):
            before = counts.launches
            torch.testing.assert_close(batch.treated(up[batch.there]).cpu(), wanted, **CLOSE)
            launches.append(counts.launches - before)
        assert not counts.copies
        assert max(launches) <= 100, launches
    assert [batch.count for batch in away] == [6, 6, 3]
    assert any(batch.mixed for batch in at_home) is (mixes > 0)


def test_no_more_is_sent_ahead_than_a_device_is_meant_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(1, 6, 0.01, 0.0, 0.0, augment=ALL_FAMILIES)
    monkeypatch.setitem(AT_ONCE, "cuda", 13)
    with pretend_cuda() as counts:
        found = [
            (batch.count, sum(counts.copies.values()))
            for batch in mini_batches(torch.arange(21)[None], schedule, SIDE, [Streams.of(0, "network", 0)], torch.device("cuda"), 4)
        ]
    assert found == [(6, 1), (6, 1), (6, 2)], "two mini-batches, and one; the three images that are left are too few"


def test_partners_of_a_mix_are_sent_once() -> None:
    mix = draw_mix(1.0, SIDE, 4, generator(3))
    labels, logits = torch.arange(4), torch.randn(4, 4, generator=generator(4))
    expected = mix_images(images(4), mix), mixed_loss(logits, labels, mix)
    with pretend_cuda() as counts:
        up, right, said = images(4).cuda(), labels.cuda(), logits.cuda()
        counts.clear()
        found = mix_images(up, mix), mixed_loss(said, right, mix)
        assert sum(counts.copies.values()) == 1
        torch.testing.assert_close([part.cpu() for part in found], list(expected))
