"""Augmentation and losses of several classes at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_distillation import assemble, small_config

from bilp.config import NetworkConfig
from bilp.data.pool import RealPool
from bilp.distill.step.initial import initial_state
from bilp.distill.step.real import draw_batches, targets
from bilp.distill.step.synthetic import (
    PASS_BYTES,
    VALUES_PER_PIXEL,
    augment_classes,
    class_losses,
    classes_per_pass,
    grouped,
    image_bytes,
)
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.matching import FeatureMatching
from bilp.nets import build
from bilp.seeds import generator

FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("draw", [augment.draw, augment.draw_combined])
def test_every_class_gets_its_own_augmentation(draw: Callable[..., AugParams | None], each: int) -> None:
    params = [draw(FAMILIES, (10, 8), generator(5, "params", c)) for c in range(17)]
    params[4] = None
    images = torch.randn(17 * each, 3, 10, 8, generator=generator(5, "images"))
    wanted = torch.cat([augment.apply(part, own) for part, own in zip(images.split(each), params, strict=True)])
    torch.testing.assert_close(augment_classes(images, params), wanted, rtol=1e-6, atol=1e-6)
    assert augment_classes(images, [None] * 17) is images


@pytest.mark.parametrize("method", ["dm", "dc", "dsa"])
def test_losses_do_not_depend_on_how_classes_share_passes(few: Callable[[int], RealPool], method: str) -> None:
    pool = few(6)
    setting = assemble(small_config(method, ipc=2), pool)
    state = initial_state(setting.config, pool)
    setting.draw_network("network", 0)
    found = list(targets(setting, draw_batches(setting, None, 0, 0)))
    whole = class_losses(setting, state.images, state.labels, found)
    for size in (1, 4):
        parts = []
        for group in grouped(found, size):
            rows = torch.cat([setting.row_numbers(target.batch.class_index) for target in group])
            parts.append(class_losses(setting, state.images[rows], state.labels[rows], group))
        torch.testing.assert_close(torch.cat([losses for losses, _ in parts]), whole[0], rtol=1e-5, atol=1e-6)
        assert float((torch.cat([gradient for _, gradient in parts]) - whole[1]).norm()) < 1e-5 * float(whole[1].norm())


def test_targets_are_computed_when_their_group_comes() -> None:
    taken: list[int] = []
    source = (taken.append(k) or k for k in range(5))
    groups = grouped(source, 2)  # type: ignore[type-var]
    assert next(groups) == [0, 1]
    assert taken == [0, 1]
    assert list(groups) == [[2, 3], [4]]


def test_a_pass_holds_fewer_classes_the_larger_their_images(few: Callable[[int], RealPool]) -> None:
    few_images, many = (classes_per_pass(assemble(small_config("dc", ipc=ipc), few(60))) for ipc in (1, 50))
    assert 1 <= many < few_images < 100_000


def test_a_pass_counts_what_is_matched_and_on_a_cpu_as_if_gradients_were(few: Callable[[int], RealPool]) -> None:
    """Groups of classes decide how sums are rounded: those of a CPU stay as they were when all methods counted parameters."""

    def each(method: str, device: str) -> int:
        return classes_per_pass(replace(assemble(small_config(method, ipc=1), few(20)), device=torch.device(device)))

    setting = assemble(small_config("dm", ipc=1), few(20))
    parameters = sum(parameter.numel() for parameter in setting.network.parameters())
    assert setting.matching.values(setting.network) == setting.network.embed(torch.zeros(1, *setting.pool.dataset.shape)).numel()
    assert each("dm", "cpu") == each("dc", "cpu") == PASS_BYTES.cpu // (image_bytes(setting) + 8 * parameters)
    assert each("dc", "meta") == PASS_BYTES.gpu // (image_bytes(setting) + 8 * parameters)
    assert each("dm", "meta") == PASS_BYTES.gpu // (image_bytes(setting) + 8 * setting.network.classifier.in_features) > each("dc", "meta")


def test_passes_of_imagenet_at_64_pixels() -> None:
    """At one image a class: 72 passes of 14 classes where parameters were counted, 33 now, and 2 where a GPU is large."""
    config = NetworkConfig(width=128, depth=4)
    network = build(config, (3, 64, 64), 1000)
    counted = [FeatureMatching().values(network), sum(parameter.numel() for parameter in network.parameters())]
    image = 4 * VALUES_PER_PIXEL * 64 * 64 * config.width
    passes = [[-(-1000 // (budget // (image + 8 * values))) for values in counted] for budget in (PASS_BYTES.gpu, PASS_BYTES.large)]
    assert passes == [[33, 72], [2, 5]]
