"""What the protocols of equal evaluation need, restated plainly: labels of a teacher, decay by groups, a longer cosine, tests on enlarged
images, crops of any size; and one whole training under each kind of labels."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import functional as vision

from bilp.config import PROTOCOLS, EvaluateConfig, NetworkConfig, PipelineConfig
from bilp.config.labels import LABELS
from bilp.errors import ConfigError
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.images import augment
from bilp.images.cutmix import Mix
from bilp.images.resampling import center_of_enlarged
from bilp.nets import Network, build, initialize
from bilp.preflight import check_fit, check_protocol
from bilp.seeds import generator
from bilp.training.batch_augment import Streams, draw
from bilp.training.objective import Mixed, hard_loss, soft_loss
from bilp.training.train import ImageSet, fixed_logits, train
from bilp.training.training_schedule import Schedule

EQUAL = ("hl", "sl", "slkd", "rd3", "cda_hl", "cda_sl")
# Without norm layers: the gradient of a bias before one is zero but for rounding, which Adam would make steps of.
SMALL = NetworkConfig(width=4, depth=1, norm="none")


def fresh(number: int = 0) -> Network:
    network = build(SMALL, (1, 8, 8), 10)
    initialize(network, generator(number, "init"))
    return network


def some(count: int, side: int = 8) -> tuple[Tensor, Tensor]:
    stream = generator(0, "data", count)
    return torch.randn(count, 1, side, side, generator=stream), torch.randint(10, (count,), generator=stream)


def divergence(ours: Tensor, target: Tensor, temperature: float) -> float:
    """Mean over rows of the sum of p log(p / q), number by number."""
    total = 0.0
    for row, wanted in zip(ours.tolist(), target.tolist(), strict=True):
        scale = sum(math.exp(value / temperature) for value in row)
        total += sum(p * (math.log(p) - math.log(math.exp(value / temperature) / scale)) for p, value in zip(wanted, row, strict=True))
    return total / len(ours)


def test_the_square_of_the_temperature_is_a_factor() -> None:
    ours, theirs = (torch.randn(2, 5, 10, generator=generator(k), dtype=torch.float64) for k in (1, 2))
    expected = [divergence(ours[k], (theirs[k] / 4).softmax(-1), 4.0) for k in range(2)]
    assert soft_loss(ours, theirs, 4.0).tolist() == pytest.approx(expected, rel=1e-9)
    assert soft_loss(ours, theirs, 4.0, squared=True).tolist() == pytest.approx([16 * value for value in expected], rel=1e-9)


def test_with_the_factor_the_gradient_keeps_its_size_at_any_temperature_and_without_it_does_not() -> None:
    """At high temperatures both distributions are nearly uniform: T^2 KL tends to the squared distance of centered logits over 2 C."""
    ours, theirs = (torch.randn(1, 4, 10, generator=generator(k), dtype=torch.float64) for k in (3, 4))
    centered = (ours - ours.mean(-1, keepdim=True)) - (theirs - theirs.mean(-1, keepdim=True))
    limit = float((centered**2).sum(-1).mean() / 20)
    assert float(soft_loss(ours, theirs, 1000.0, squared=True)) == pytest.approx(limit, rel=1e-2)
    assert float(soft_loss(ours, theirs, 1000.0)) < 1e-5 * limit


def test_labels_of_unmixed_images_are_mixed_as_their_pixels_are() -> None:
    ours, theirs = (torch.randn(2, 4, 10, generator=generator(k), dtype=torch.float64) for k in (5, 6))
    mix = Mix(torch.tensor([2, 0, 3, 1]), (0, 4, 0, 6), 0.625)
    told = (theirs / 2).softmax(-1)
    mixed = 0.625 * told[0] + 0.375 * told[0][[2, 0, 3, 1]]
    expected = [divergence(ours[0], mixed, 2.0), divergence(ours[1], told[1], 2.0)]
    assert soft_loss(ours, theirs, 2.0, Mixed.of([mix, None], len(mix.partner))).tolist() == pytest.approx(expected, rel=1e-9)


def test_a_teacher_looks_at_images_as_they_are_once_or_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = some(11)
    teacher = fresh(7).eval()
    data, order = ImageSet.of_tensors(images, labels), torch.tensor([4, 9, 0])
    with torch.no_grad():
        expected = teacher(images)[order]
    assert torch.allclose(fixed_logits(data, teacher)(order), expected, atol=1e-6)
    monkeypatch.setattr("bilp.training.train.KEPT_BYTES", 0)
    assert torch.allclose(fixed_logits(data, teacher)(order), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="soft labels need a teacher"):
        fixed_logits(data, None)


@pytest.mark.parametrize(
    ("name", "squared", "cutmix"), [("fixed", True, 0.0), ("fixed", False, 1.0), ("soft", True, 1.0), ("hard", False, 1.0)]
)
def test_a_whole_training_written_without_the_schedule(name: str, squared: bool, cutmix: float) -> None:
    images, labels = some(13)
    ours, theirs, teacher = fresh(), fresh(), fresh(9).eval()
    schedule = Schedule(
        *(4, 5, 0.01, 0.9, 0.1, ("crop", "scale")),
        cutmix=cutmix,
        optimizer="adamw",
        decay="cosine",
        temperature=3.0 if LABELS[name].taught else None,
        fixed_labels=LABELS[name].fixed,
        temperature_squared=squared,
        decay_smoothing=2.0,
        decay_vectors=False,
    )
    list(train(ours, ImageSet.of_tensors(images, labels), schedule, Streams.of(1, "net", 0), teacher))
    streams = Streams.of(1, "net", 0)
    named = dict(theirs.named_parameters())
    decayed = [each for each in named.values() if each.dim() > 1]
    spared = [each for each in named.values() if each.dim() == 1]
    assert decayed and spared
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}], lr=0.01)
    for epoch in range(4):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * epoch / 8))
        for rows in torch.randperm(13, generator=streams.order).split(5):
            treatment = draw(schedule, (8, 8), len(rows), streams)
            inputs = images[rows]
            for params in treatment.families:
                inputs = augment.apply(inputs, params)
            with torch.no_grad():
                told = teacher(images[rows])
            mix = treatment.mix
            if mix is not None:
                top, bottom, left, right = mix.box
                partner = inputs[mix.partner]
                inputs = inputs.clone()
                inputs[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
            with torch.no_grad():
                seen = teacher(inputs)
            logits = theirs(inputs)
            if name == "hard":
                loss = hard_loss(logits[None], labels[rows][None], Mixed.of([mix], len(rows)))[0]
            else:
                target = (told if name == "fixed" else seen).div(3).softmax(-1)
                if mix is not None and name == "fixed":
                    target = mix.share * target + (1 - mix.share) * target[mix.partner]
                loss = functional.kl_div((logits / 3).log_softmax(-1), target, reduction="batchmean") * (9 if squared else 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


def test_networks_trained_together_spare_the_same_parameters_and_learn_the_same_labels() -> None:
    sets = [ImageSet.of_tensors(*some(count)) for count in (7, 7)]
    teacher = fresh(9).eval()
    schedule = Schedule(
        *(3, 4, 0.01, 0.9, 0.1, ("crop",)), cutmix=1.0, optimizer="adamw", temperature=2.0, fixed_labels=True, decay_vectors=False
    )
    alone = []
    for k in range(2):
        network = fresh(k)
        list(train(network, sets[k], schedule, Streams.of(1, "net", k), teacher))
        alone.append(network.state_dict())
    network = fresh()
    stacked = fresh_stack(network, [generator(k, "init") for k in range(2)])
    list(train_together(network, stacked, sets, schedule, [Streams.of(1, "net", k) for k in range(2)], teacher))
    for name, values in stacked.items():
        for k in range(2):
            assert torch.allclose(values[k], alone[k][name], atol=1e-5), name


def test_a_longer_cosine_ends_above_zero() -> None:
    rates = [Schedule(300, 64, 0.5, 0.0, 0.0, decay="cosine", decay_smoothing=2.0).rate(epoch) for epoch in range(300)]
    assert rates[0] == 0.5 and rates[-1] == pytest.approx(0.25, rel=0.01) and rates == sorted(rates, reverse=True)
    assert Schedule(300, 64, 0.5, 0.0, 0.0, decay="cosine").rate(299) < 1e-4


@pytest.mark.parametrize(("side", "larger"), [(224, 256), (64, 72), (128, 144)])
def test_tests_on_enlarged_images_are_those_of_torchvision(side: int, larger: int) -> None:
    images = torch.rand(2, 3, side, side, generator=generator(0, "images"))
    expected = vision.center_crop(vision.resize(images, [larger, larger], antialias=True), [side, side])
    assert torch.allclose(center_of_enlarged(images), expected, atol=1e-5)


@pytest.mark.parametrize("side", [8, 28, 32])
def test_images_that_are_not_enlarged_stay_as_they_are(side: int) -> None:
    images = torch.rand(1, 1, side, side)
    assert (center_of_enlarged(images) is images) == (side // 7 * 8 <= side)


def test_crops_have_the_areas_and_ratios_of_imagenets_protocols() -> None:
    drawn = augment.draw(("resized_crop",), (40, 80), generator(0), 4000)
    assert drawn is not None
    top, left, height, width = (drawn.values[name] for name in ("top", "left", "height", "width"))
    assert bool(((top >= 0) & (left >= 0) & (top + height <= 1 + 1e-6) & (left + width <= 1 + 1e-6)).all())
    area, ratio = height * width, (80 * width) / (40 * height)
    cropped = (height < 1) | (width < 1)
    assert float(area.min()) >= 0.08 - 1e-6 and float(area[cropped].max()) > 0.6 and 0.25 < float(area.mean()) < 0.6
    assert float(ratio[cropped].min()) >= 0.75 - 1e-5 and float(ratio[cropped].max()) <= 4 / 3 + 1e-5
    whole = augment.draw(("resized_crop",), (1000, 10), generator(1), 3)
    assert whole is not None and [whole.values[name].tolist() for name in ("top", "height")] == [[0.0] * 3, [1.0] * 3], "no box fits"


def test_a_crop_is_the_part_enlarged_pixel_by_pixel() -> None:
    images = torch.rand(3, 2, 6, 10, dtype=torch.float64, generator=generator(2))
    params = augment.draw(("resized_crop",), (6, 10), generator(3), 3)
    assert params is not None
    found = augment.apply(images, params)
    for b in range(3):
        top, left, height, width = (float(params.values[name][b]) for name in ("top", "left", "height", "width"))
        for i in range(6):
            for j in range(10):
                y = min(max((i + 0.5) * height + top * 6 - 0.5, 0), 5)
                x = min(max((j + 0.5) * width + left * 10 - 0.5, 0), 9)
                y0, x0 = min(int(y), 4), min(int(x), 8)
                dy, dx = y - y0, x - x0
                part = images[b, :, y0 : y0 + 2, x0 : x0 + 2]
                value = (
                    part[:, 0, 0] * (1 - dy) * (1 - dx)
                    + part[:, 0, 1] * (1 - dy) * dx
                    + part[:, 1, 0] * dy * (1 - dx)
                    + part[:, 1, 1] * dy * dx
                )
                assert torch.allclose(found[b, :, i, j], value, atol=1e-5)
    whole = augment.AugParams(
        "resized_crop",
        {name: torch.tensor([value]) for name, value in zip(("top", "left", "height", "width"), (0.0, 0.0, 1.0, 1.0), strict=True)},
    )
    assert torch.allclose(augment.apply(images, whole), images, atol=1e-6)


@pytest.mark.parametrize("protocol", EQUAL)
def test_every_protocol_is_a_preset_whose_values_may_be_changed(protocol: str) -> None:
    entry = PROTOCOLS[protocol]
    chosen = PipelineConfig(dataset="cifar10", method="dm", ipc=10, evaluate={"protocol": protocol}).evaluate
    for name, value in entry.values("cifar10", 10)["evaluate"].items():
        if name not in ("teacher", "networks"):
            assert getattr(chosen, name) == (tuple(value) if isinstance(value, list) else value), name
    assert chosen.taught == (protocol not in ("hl", "cda_hl"))
    assert bool("teacher is trained here" in entry.departs) == chosen.taught, "no published teacher can be had"
    other = PipelineConfig(dataset="cifar10", method="dm", evaluate={"protocol": protocol, "epochs": 7}).evaluate
    assert other.epochs == 7


def test_what_papers_state() -> None:
    hl, sl, slkd, rd3, cda_hl, cda_sl = (PipelineConfig(dataset="cifar100", evaluate={"protocol": name}).evaluate for name in EQUAL)
    rates = Schedule.of_config(hl, hl.epochs)
    assert [rates.rate(epoch) for epoch in (0, 150, 151, 299)] == pytest.approx([0.01, 0.01, 0.001, 0.001]) and rates.passes == 300
    assert (sl.labels, sl.temperature, sl.temperature_squared, sl.cutmix) == ("fixed", 20.0, True, 0.0)
    assert (slkd.labels, slkd.temperature_squared, slkd.decay_smoothing, slkd.decay_vectors) == ("soft", False, 2.0, False)
    assert (rd3.epochs, rd3.batch_size, rd3.decay_smoothing, rd3.weight_decay) == (400, 50, 1.0, 0.0)
    assert [each.networks[0].name for each in (rd3, cda_hl, cda_sl)] == ["resnet18", "resnet18_imagenet", "resnet18_imagenet"]
    assert (cda_hl.batch_size, cda_hl.augment_always, cda_hl.cutmix, cda_sl.cutmix) == (128, ("resized_crop", "flip"), 0.0, 1.0)


@pytest.mark.parametrize("protocol", ["cda_hl", "cda_sl"])
def test_protocols_for_large_images_are_refused_on_small_ones(protocol: str, digits_uri: str) -> None:
    config = PipelineConfig(dataset="digits", evaluate={"protocol": protocol})
    with pytest.raises(ConfigError, match=rf"protocol {protocol} is for images of 128 pixels and more, and these have 8 x 8: use another"):
        check_fit(config, digits_uri)
    with pytest.raises(ConfigError, match="32 x 32"):
        check_protocol(config.evaluate, (3, 32, 32))
    check_protocol(config.evaluate, (3, 128, 128))


def test_labels_that_nobody_gives_are_refused() -> None:
    with pytest.raises(ValidationError, match="Input should be 'hard', 'soft', 'fixed', 'stored', 'learned' or 'learned_values'"):
        EvaluateConfig.model_validate({"labels": "smooth"})
