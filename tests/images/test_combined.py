"""Augmentation as IDC combines it, and CutMix, against plain restatements."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix, mix_images, mixed_loss
from bilp.seeds import generator

SIDE = (8, 6)


def chain(params: AugParams | None) -> list[str]:
    found = []
    while params is not None:
        found.append(params.family)
        params = params.then
    return found


def images(count: int) -> Tensor:
    return torch.randn(count, 3, *SIDE, generator=generator(91, "images"))


def test_flip_color_and_cutout_always_apply_and_one_of_the_others() -> None:
    everything = ("scale", "cutout", "rotate", "color", "crop", "flip")
    drawn = [chain(augment.draw_combined(everything, SIDE, generator(91, k))) for k in range(40)]
    assert {tuple(c[:2] + c[3:]) for c in drawn} == {("flip", "color", "cutout")}
    assert {c[2] for c in drawn} == {"crop", "scale", "rotate"}
    assert chain(augment.draw_combined(("color", "crop", "cutout"), SIDE, generator(91))) == ["color", "crop", "cutout"]
    assert chain(augment.draw_combined(("cutout",), SIDE, generator(91))) == ["cutout"]
    assert augment.draw_combined((), SIDE, generator(91)) is None


@pytest.mark.parametrize("count", [1, 5])
def test_a_chain_is_its_steps_one_after_the_other(count: int) -> None:
    params = augment.draw_combined(("color", "crop", "cutout"), SIDE, generator(92), count)
    plain, step = images(5), params
    while step is not None:
        assert all(len(value) == count for value in step.values.values())
        plain = augment.apply(plain, AugParams(step.family, step.values))
        step = step.then
    assert torch.equal(augment.apply(images(5), params), plain)
    if count == 1:  # siamese: whatever the size of the batch
        assert torch.equal(augment.apply(images(5)[:2], params), plain[:2])


def test_no_mix_leaves_the_batch_alone() -> None:
    batch, labels, logits = images(4), torch.arange(4), torch.randn(4, 4, generator=generator(93, "logits"))
    assert draw_mix(0.0, SIDE, 4, generator(93)) is None
    assert mix_images(batch, None) is batch
    assert torch.equal(mixed_loss(logits, labels, None), functional.cross_entropy(logits, labels))


def test_a_mix_pastes_one_box_and_weighs_the_loss_by_its_area() -> None:
    shares, labels, logits = [], torch.arange(4), torch.randn(4, 4, generator=generator(94, "logits"))
    for k in range(200):
        batch = images(4)
        mix = draw_mix(1.0, SIDE, 4, generator(94, k))
        assert mix is not None
        mixed = mix_images(batch, mix)
        pasted = 0
        for i in range(4):
            partner = batch[int(mix.partner[i])]
            same, other = ((mixed[i] == image).all(dim=0) for image in (batch[i], partner))
            assert (same | other).all()
            if int(mix.partner[i]) != i:
                pasted = int((~same).sum())
                rows, columns = (~same).any(dim=1).sum(), (~same).any(dim=0).sum()
                assert pasted == int(rows * columns)
                assert 1.0 - pasted / (SIDE[0] * SIDE[1]) == pytest.approx(mix.share)
        soft = mix.share * torch.eye(4) + (1.0 - mix.share) * torch.eye(4)[mix.partner]
        torch.testing.assert_close(mixed_loss(logits, labels, mix), functional.cross_entropy(logits, soft))
        shares.append(mix.share)
    # A box of a uniform share of the area, cut off at the border and rounded down to pixels.
    assert 0.5 < sum(shares) / len(shares) < 0.85


def test_a_mix_happens_as_often_as_asked() -> None:
    untouched = sum(draw_mix(0.3, SIDE, 2, generator(95, k)) is None for k in range(300))
    assert untouched == pytest.approx(210, abs=30)
