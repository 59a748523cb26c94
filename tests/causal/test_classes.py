"""Several classes measured together, against each of them alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bilp.causal import ClassBatch, EffectSettings, Estimator, measure, measure_classes
from bilp.causal.batch import Needs, class_groups
from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.images import augment
from bilp.matching import FeatureMatching, GradientMatching, KernelMatching, Matching, Vectors
from bilp.matching.alignment import AlignmentMatching
from bilp.nets import Network, build, initialize
from bilp.seeds import generator

pytestmark = pytest.mark.slow

SHAPE, CLASSES = (3, 16, 16), 6
COUNTS = (5, 2, 7)
BUDGET = 2**28


class OwnMatching(GradientMatching):
    """A matching that nobody has written a faster way for: squared distance of gradients, by autograd alone."""

    def distance(self, mu: Vectors, psi: Vectors) -> Tensor:
        return torch.stack([(a - b).square().sum() for a, b in zip(mu, psi, strict=True)]).sum()

    def cotangent(self, mu: Vectors, psi: Vectors) -> Vectors:
        return tuple(2.0 * (b - a) for a, b in zip(mu, psi, strict=True))

    directional = Matching.directional


MATCHINGS: dict[str, Matching] = {
    "dm": FeatureMatching(),
    "dc": GradientMatching("dc"),
    "idc_mse": KernelMatching("idc", "mse"),
    "idc_l1": KernelMatching("idc", "l1"),
    "cafe": AlignmentMatching(),
    "own": OwnMatching("own"),
}
EVERY = pytest.mark.parametrize("matching", MATCHINGS.values(), ids=MATCHINGS.keys())
BOTH = pytest.mark.parametrize("matching", [MATCHINGS["dm"], MATCHINGS["dc"]], ids=["dm", "dc"])


def network(config: NetworkConfig | None = None) -> Network:
    built = build(config or NetworkConfig(width=8), SHAPE, CLASSES)
    initialize(built, generator(81, "network"))
    return built


def class_batches(counts: tuple[int, ...] = COUNTS, ipc: int = 2, family: str | None = None) -> list[ClassBatch]:
    """One batch per class, with images of its own and, if a family is named, an augmentation of its own."""
    found = []
    for c, count in enumerate(counts):
        stream = generator(81, "images", c)
        common = torch.randn(SHAPE, generator=stream)
        real, synthetic = (common + torch.randn(n, *SHAPE, generator=stream) for n in (count, ipc))
        batch = ClassBatch((real, torch.full((count,), c)), (synthetic, torch.full((ipc,), c)))
        if family is not None:
            params = augment.draw((family,), SHAPE[1:], generator(81, "augment", c))
            batch = ClassBatch((augment.apply(real, params), batch.real[1]), batch.synthetic, partial(augment.apply, params=params))
        found.append(batch)
    return found


def alone(matching: Matching, net: Network, batches: list[ClassBatch], estimator: Estimator, **options: Any) -> list[Tensor]:
    return [measure(matching, net, b, EffectSettings(estimator, **options)).norms for b in batches]


def assert_all_close(found: list[Tensor], wanted: list[Tensor], rtol: float = 1e-3) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=1e-5 * float(other.max()))


def passes(net: nn.Module) -> list[int]:
    """Batch sizes that went through the network's body from now on."""
    seen: list[int] = []
    net.body.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    return seen


@EVERY
@pytest.mark.parametrize("estimator", ["oracle", "cotangent", "sketch", "taylor", "auto"])
@pytest.mark.parametrize("family", [None, "scale"])
def test_together_as_alone(matching: Matching, estimator: Estimator, family: str | None) -> None:
    net, batches = network(), class_batches(family=family)
    if estimator == "taylor" and matching is MATCHINGS["idc_l1"]:
        with pytest.raises(ConfigError, match="taylor"):
            list(measure_classes(matching, net, batches, EffectSettings(estimator)))
        return
    found = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings(estimator, directions=16, seed=3))]
    assert [len(norms) for norms in found] == list(COUNTS)
    assert_all_close(found, alone(matching, net, batches, estimator, directions=16, seed=3))


@BOTH
def test_real_samples_of_all_classes_share_a_pass(matching: Matching) -> None:
    net, batches = network(), class_batches()
    seen = passes(net)
    measured = list(measure_classes(matching, net, batches))
    assert seen.count(sum(COUNTS)) == 1
    assert not set(seen) & set(COUNTS) - {2}  # a pass of 2 may be that of a class's synthetic images
    seen.clear()
    for batch, own in zip(batches, measured, strict=True):
        kept = torch.arange(len(batch.real[0])) % 3 != 1
        for a, b in zip(own.mean_of(kept), matching.real_mean(net, batch.real[0][kept], batch.real[1][kept]), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
    assert len(seen) == len(batches)  # those of real_mean alone


@BOTH
@pytest.mark.parametrize(
    "config", [NetworkConfig(width=8, norm="batch"), NetworkConfig(width=8, norm="layer"), NetworkConfig(name="lenet")]
)
def test_other_networks(matching: Matching, config: NetworkConfig) -> None:
    net, batches = network(config), class_batches()
    matching.freeze_statistics(net, torch.cat([batch.real[0] for batch in batches]))
    found = [measured.norms for measured in measure_classes(matching, net, batches)]
    assert_all_close(found, alone(matching, net, batches, "oracle"), 2e-3)


class Smooth(nn.Module):
    """A layer without a rule, so that everything takes the generic path."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.softplus(self.first(images)).mean(dim=(2, 3))


@pytest.mark.parametrize("estimator", ["cotangent", "sketch"])
def test_networks_without_rules(estimator: Estimator) -> None:
    net, matching, batches = Network(Smooth(), 4, CLASSES), MATCHINGS["dc"], class_batches()
    initialize(net, generator(81, "smooth"))
    found = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings(estimator, directions=8))]
    assert_all_close(found, alone(matching, net, batches, estimator, directions=8))


def test_mixed_images_are_moved_together_within_a_class() -> None:
    net, matching = network(), MATCHINGS["dc"]

    def mix(images: Tensor) -> Tensor:
        return 0.5 * (images + images.roll(1, dims=0))

    batches = [ClassBatch(batch.real, batch.synthetic, mix) for batch in class_batches()]
    found = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings("sketch", directions=12))]
    assert_all_close(found, alone(matching, net, batches, "sketch", directions=12))


def test_few_features_use_the_whole_jacobian_of_every_class() -> None:
    """4 features, up to 9 samples."""
    net = build(NetworkConfig(width=4, depth=4), SHAPE, CLASSES)
    initialize(net, generator(81, "few"))
    assert net.classifier.in_features == 4
    batches = class_batches((9, 5, 3), ipc=1)
    found = [measured.norms for measured in measure_classes(MATCHINGS["dm"], net, batches)]
    assert_all_close(found, alone(MATCHINGS["dm"], net, batches, "oracle"), 2e-3)


@pytest.mark.parametrize("weak", [(), (1,), (0, 2), (0, 1, 2)])
def test_only_roughly_ordered_classes_are_measured_exactly(monkeypatch: pytest.MonkeyPatch, weak: tuple[int, ...]) -> None:
    """What the sketch vouches for stays, whatever happens to the other classes."""
    net, matching, batches = network(), MATCHINGS["dc"], class_batches((8, 8, 8))
    monkeypatch.setattr("bilp.causal.group.prefers_sketch", lambda *given: given[-1] == 16)
    exact, rough = (alone(matching, net, batches, name, directions=16) for name in ("cotangent", "sketch"))
    promises = iter([0.0 if c in weak else 1.0 for c in range(3)])
    monkeypatch.setattr("bilp.causal.sketch.agreement", lambda estimates: next(promises))
    found = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings("auto", directions=16))]
    assert_all_close(found, [exact[c] if c in weak else rough[c] for c in range(3)])


def test_only_safe_classes_are_measured_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bilp.causal.batch.TILES", 100)
    net, matching, batches = network(), MATCHINGS["dc"], class_batches((40, 20, 50), ipc=1)
    exact = alone(matching, net, batches, "cotangent")
    short = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings("cotangent", precision="bfloat16"))]
    own = [
        measure(matching, net, ClassBatch(b.real, b.synthetic), EffectSettings("cotangent", precision="bfloat16")).norms for b in batches
    ]
    assert_all_close(short, own, 1e-2)
    assert_all_close(short[1:2], exact[1:2])  # too few to gain anything
    judged = iter([False, True])
    monkeypatch.setattr("bilp.causal.group.order_holds", lambda one, other: next(judged))
    mended = [measured.norms for measured in measure_classes(matching, net, batches, EffectSettings("cotangent", precision="bfloat16"))]
    assert_all_close(mended[:2], exact[:2])
    assert not torch.allclose(mended[2], exact[2], rtol=1e-4)


@BOTH
def test_equal_samples_of_one_class_have_no_effect(matching: Matching) -> None:
    batches = class_batches()
    same = batches[2].real[0][:1].expand(7, *SHAPE).contiguous()
    batches[2] = ClassBatch((same, batches[2].real[1]), batches[2].synthetic)
    for estimator in ("cotangent", "sketch"):
        found = [measured.norms for measured in measure_classes(matching, network(), batches, EffectSettings(estimator, directions=16))]
        assert torch.equal(found[2], torch.zeros(7))
        assert all(bool((norms > 0).all()) for norms in found[:2])


def sizes(groups: Iterator[list[ClassBatch]]) -> list[int]:
    return [len(group) for group in groups]


@BOTH
def test_groups_fill_the_device(matching: Matching) -> None:
    net = network()

    def grouped(counts: tuple[int, ...], ipc: int = 2, byte_budget: int = BUDGET) -> list[int]:
        return sizes(class_groups(matching, net, class_batches(counts, ipc), byte_budget))

    assert grouped((5, 2, 7)) == [3]
    assert grouped((8, 8, 8, 8, 8, 8)) == [4, 2]  # 32 samples x 2 images fill 4 tiles of 16
    assert grouped((16, 16, 16, 16), ipc=1) == [4]
    assert grouped((200, 3, 3)) == [1, 2]
    assert grouped((5, 2, 7), byte_budget=1) == [1, 1, 1]
    assert grouped(()) == []


def test_groups_hold_no_more_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batches = network(), class_batches((100,) * 4, ipc=1)
    monkeypatch.setattr("bilp.causal.batch.TILES", 1000)
    for matching, bound_by_vectors in ((MATCHINGS["dc"], True), (MATCHINGS["dm"], False)):
        needs = Needs.of(matching, net, batches[0], BUDGET)
        assert needs.vector == sum(block.numel() * 4 for block in matching.real_mean(net, *batches[0].real))
        assert (100 * needs.vector > needs.lane) is bound_by_vectors
        each = max(100 * needs.vector, needs.lane)
        for classes, wanted in ((4, [4]), (3, [3, 1]), (2, [2, 2]), (1, [1, 1, 1, 1])):
            assert sizes(class_groups(matching, net, batches, classes * each)) == wanted


def test_other_shapes_start_another_group() -> None:
    net, batches = network(), [*class_batches((3, 3), ipc=2), *class_batches((3, 3), ipc=1), *class_batches((3,), ipc=2)]
    assert sizes(class_groups(MATCHINGS["dm"], net, batches, BUDGET)) == [2, 2, 1]
    found = [measured.norms for measured in measure_classes(MATCHINGS["dm"], net, batches)]
    assert_all_close(found, alone(MATCHINGS["dm"], net, batches, "oracle"))


def test_batches_are_taken_when_their_group_has_its_turn() -> None:
    taken: list[int] = []

    def lazily(batches: list[ClassBatch]) -> Iterator[ClassBatch]:
        for c, batch in enumerate(batches):
            taken.append(c)
            yield batch

    found = measure_classes(MATCHINGS["dm"], network(), lazily(class_batches((16,) * 6, ipc=2)))
    for place in range(6):
        next(found)
        assert taken == list(range(min(6, (place // 2 + 1) * 2 + 1)))


def test_bad_batches_are_refused_by_what_is_wrong_with_them() -> None:
    refused: dict[str, Callable[[], object]] = {
        "at least 2 real samples, not 1": lambda: list(measure_classes(MATCHINGS["dm"], network(), class_batches((3, 1)))),
        "no synthetic image": lambda: list(measure_classes(MATCHINGS["dm"], network(), class_batches((3, 3), ipc=0))),
    }
    for message, work in refused.items():
        with pytest.raises(ConfigError, match=message):
            work()
