"""Matching on videos: the rules for frames and for kernels that slide along time, against plain autograd, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.causal import ClassBatch, EffectSettings, ite
from bilp.config import MethodName, NetworkConfig
from bilp.matching import FeatureMatching, GradientMatching, Matching, matching_for
from bilp.matching.convolution import ConvolutionLayer
from bilp.matching.jacobian import GenericPullback, generic_pushforward
from bilp.matching.per_sample import micro_batch_size, per_sample_by_vmap, per_sample_gradients
from bilp.matching.pullback import GradientPullback
from bilp.matching.pushforward import gradient_pushforward
from bilp.matching.recording import NoRule, matched_parameters, record
from bilp.nets import Network, build, initialize
from bilp.nets.clips import FrameMean
from bilp.nets.convnet3d import convnet3d
from bilp.seeds import generator

pytestmark = pytest.mark.slow

CLASSES, BUDGET = 3, 2**26
FRAMES: dict[str, dict[str, Any]] = {
    "instance": {"width": 6, "depth": 2},
    "batch": {"width": 6, "depth": 2, "norm": "batch"},
    "layer": {"width": 6, "depth": 2, "norm": "layer", "activation": "sigmoid"},
    "none": {"width": 6, "depth": 1, "norm": "none", "pooling": "max", "activation": "swish"},
}
NAMES = [*FRAMES, "one_frame", "convnet3d"]


def network_of(name: str) -> tuple[Network, tuple[int, int, int, int]]:
    """A network in float64, and the shape of its videos."""
    shape = {"convnet3d": (5, 2, 43, 44), "one_frame": (1, 3, 8, 8)}.get(name, (3, 3, 8, 8))
    if name == "convnet3d":
        network = convnet3d(NetworkConfig(name="convnet3d"), shape, CLASSES, ((3, 1), (4, 2), (5, 2)))
    else:
        settings = FRAMES.get(name, FRAMES["instance"])
        network = build(NetworkConfig.model_validate({"name": "video_convnet_mean", **settings}), shape, CLASSES)
    initialize(network, generator(71, name))
    return network.double(), shape


def videos_of(shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    stream = generator(72, "videos", count)
    return torch.randn(count, *shape, generator=stream, dtype=torch.float64), torch.randint(CLASSES, (count,), generator=stream)


def plain_gradients(network: Network, videos: Tensor, labels: Tensor) -> list[list[Tensor]]:
    """Gradients of every sample's own loss by each matrix, one sample after the other."""
    parameters = matched_parameters(network)
    found = []
    for video, label in zip(videos, labels, strict=True):
        loss = functional.cross_entropy(network(video[None]), label[None])
        found.append([gradient.flatten(1) for gradient in torch.autograd.grad(loss, parameters)])
    return found


def prepared(name: str, count: int) -> tuple[Network, Tensor, Tensor]:
    """Network, videos, labels; batch norm is frozen on the videos."""
    network, shape = network_of(name)
    videos, labels = videos_of(shape, count)
    FeatureMatching().freeze_statistics(network, videos)
    return network, videos, labels


@pytest.mark.parametrize("name", NAMES)
def test_per_sample_gradients_are_those_of_samples_on_their_own(name: str) -> None:
    network, videos, labels = prepared(name, 3)
    record(network, videos.clone().requires_grad_(), labels, twice=False)  # raises NoRule on the generic path
    found = per_sample_gradients(network, videos, labels)
    wanted = [torch.stack(blocks) for blocks in zip(*plain_gradients(network, videos, labels), strict=True)]
    for a, b, parameter in zip(found, wanted, matched_parameters(network), strict=True):
        assert a.shape == (3, len(parameter), parameter[0].numel())
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)
    matching = GradientMatching("dc")
    for a, b in zip(matching.real_mean(network, videos, labels), wanted, strict=True):
        torch.testing.assert_close(a, b.mean(dim=0), rtol=1e-8, atol=1e-12)


def test_the_generic_path_is_right_for_frames_too() -> None:
    network, videos, labels = prepared("instance", 3)
    wanted = [torch.stack(blocks) for blocks in zip(*plain_gradients(network, videos, labels), strict=True)]
    for a, b in zip(per_sample_by_vmap(network, videos, labels), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_passes_hold_fewer_videos_than_images_and_join_seamlessly() -> None:
    network, videos, labels = prepared("instance", 25)
    assert micro_batch_size(videos) == micro_batch_size(videos[:, 0]) // 3
    assert micro_batch_size(torch.zeros(1, 1000, 1, 1, 1)) == 1
    whole = per_sample_gradients(network, videos, labels)
    for i in (0, 9, 10, 24):
        for block, own in zip(whole, per_sample_gradients(network, videos[i : i + 1], labels[i : i + 1]), strict=True):
            torch.testing.assert_close(block[i], own[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
def test_products_with_the_jacobian_and_its_transpose(name: str, matching: Matching) -> None:
    network, videos, labels = prepared(name, 2)
    pull = matching.pullback(network, videos, labels, 3, BUDGET)
    if matching.name == "dc":
        assert isinstance(pull, GradientPullback)
        assert gradient_pushforward(network, videos, labels, matched_parameters(network), torch.ones_like(videos)[None]) is not None
    leaf = videos.clone().requires_grad_()
    psi = matching.synthetic(network, leaf, labels)
    stream = generator(73, "directions")
    cotangents = tuple(torch.randn(3, *block.shape, generator=stream, dtype=block.dtype) for block in psi)
    wanted = GenericPullback(tuple(block[None] for block in psi), leaf, 3)(tuple(c[:, None] for c in cotangents))
    found = torch.cat([pull(tuple(c[i : i + pull.lanes, None] for c in cotangents)) for i in range(0, 3, pull.lanes)])
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-10 * float(wanted.abs().max()))
    first = tuple(c[:1, None] for c in cotangents)
    both = matching.pullback(network, videos, labels, 1, BUDGET, 2)(tuple(c.expand(1, 2, *c.shape[2:]) for c in first))
    for k in range(2):
        alone = matching.pullback(network, videos[k : k + 1], labels[k : k + 1], 1, BUDGET)(first)
        torch.testing.assert_close(both[:, k], alone[:, 0], rtol=1e-7, atol=1e-10 * float(alone.abs().max()))
    tangents = torch.randn(2, *videos.shape, generator=stream, dtype=videos.dtype)
    pushed = matching.pushforward(network, videos, labels, tangents)
    slowly = generic_pushforward(lambda x: matching.synthetic(network, x, labels), videos, tangents)
    for a, b in zip(pushed, slowly, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10 * float(b.abs().max()) + 1e-14)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_several_classes_at_once_and_one_by_one(name: str, method: MethodName) -> None:
    network, videos, _ = prepared(name, 6)
    labels = torch.tensor([0, 0, 2, 2])
    matching = matching_for(method)
    means = [matching.real_mean(network, videos[4:], torch.full((2,), c)) for c in (0, 2)]
    both = (matching.distances_and_gradient, partial(Matching.distances_and_gradient, matching))
    found, wanted = (how(network, videos[:4], labels, means) for how in both)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-9, atol=1e-12)
    assert float(wanted[1].norm()) > 0
    torch.testing.assert_close(found[1], wanted[1], rtol=1e-7, atol=1e-10 * float(wanted[1].abs().max()))


@pytest.mark.parametrize("matching", [FeatureMatching(), GradientMatching("dc")], ids=["dm", "dc"])
@pytest.mark.parametrize("name", ["instance", "batch", "convnet3d"])
def test_exact_effects_equal_leaving_samples_out(name: str, matching: Matching) -> None:
    network, videos, _ = prepared(name, 6)
    labels = torch.ones(4, dtype=torch.int64)
    real, synthetic = (videos[:4], labels), (videos[4:], labels[:2])
    fast = ite(matching, network, ClassBatch(real, synthetic))
    assert fast.shape == (4,) and (fast > 0).all()
    torch.testing.assert_close(
        fast, ite(matching, network, ClassBatch(real, synthetic), EffectSettings("oracle")), rtol=1e-5, atol=1e-7 * float(fast.max())
    )


@pytest.mark.parametrize("name", NAMES)
def test_matching_is_a_function_of_its_arguments_in_train_mode_too(name: str) -> None:
    network, videos, labels = prepared(name, 3)
    for module in network.modules():  # but batch norm stays frozen
        module.training = not isinstance(module, nn.BatchNorm2d)
    before = torch.random.get_rng_state()
    for method in ("dm", "dc", "idc", "cafe"):
        matching = matching_for(method)
        first, second = (matching.real(network, videos, labels) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        psi = matching.synthetic(network, videos, labels)
        for a, b in zip(psi, first, strict=True):
            torch.testing.assert_close(a, b.mean(dim=0), rtol=1e-8, atol=1e-12)
    assert torch.equal(before, torch.random.get_rng_state())


def test_kernels_in_space_are_matched_by_idc() -> None:
    network, videos, labels = prepared("convnet3d", 2)
    blocks = matching_for("idc").real(network, videos, labels)
    assert [block.shape[1:] for block in blocks] == [(3, 2 * 147), (4, 3 * 147), (5, 4 * 147)]


GEOMETRY = [
    {"kernel_size": (3, 2, 2), "padding": (1, 0, 1)},
    {"kernel_size": 2, "stride": (1, 2, 3), "bias": False},
    {"kernel_size": (2, 3, 1), "dilation": (2, 1, 2), "padding": 1},
    {"kernel_size": 3, "groups": 2, "padding": (2, 1, 0), "stride": 2},
]


@pytest.mark.parametrize("geometry", GEOMETRY)
def test_rules_of_kernels_in_space(geometry: dict[str, Any]) -> None:
    module = nn.Conv3d(4, 6, **geometry).double()
    stream = generator(74, "space")
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=stream, dtype=torch.float64)
    node = torch.randn(3, 4, 5, 6, 7, generator=stream, dtype=torch.float64)
    gradient = torch.randn(module(node).shape, generator=stream, dtype=torch.float64)
    layer = ConvolutionLayer(module)
    wanted = torch.stack([torch.autograd.grad(module(node[i : i + 1]), module.weight, gradient[i : i + 1])[0].flatten(1) for i in range(3)])
    torch.testing.assert_close(layer.outer_by_groups(node, gradient), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer.outer_by_windows(node, gradient), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer.summed(node, gradient, 1)[0][0], wanted.sum(dim=0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("geometry", [{"padding": 1}, {"stride": 2, "padding": 1}, {"groups": 2, "padding": (2, 0)}])
def test_both_formulations_sum_over_frames(geometry: dict[str, Any]) -> None:
    module = nn.Conv2d(4, 6, 3, **geometry).double()
    stream = generator(75, "frames")
    rows = torch.randn(6, 4, 5, 7, generator=stream, dtype=torch.float64)
    gradients = torch.randn(module(rows).shape, generator=stream, dtype=torch.float64)
    layer = ConvolutionLayer(module)
    wanted = layer.outer_by_groups(rows, gradients).unflatten(0, (2, 3)).sum(dim=1)
    for outer in (layer.outer_by_groups, layer.outer_by_windows):
        torch.testing.assert_close(outer(rows.unflatten(0, (2, 3)), gradients.unflatten(0, (2, 3))), wanted, rtol=1e-9, atol=1e-9)


class Folding(nn.Module):
    """Has frames as rows without saying so, and in another order: the rules must not guess."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(3, 2, 3), nn.Linear(2, CLASSES)

    def forward(self, videos: Tensor) -> Tensor:
        maps = self.conv(videos.transpose(0, 1).flatten(0, 1))
        return self.classifier(maps.mean(dim=(2, 3)).unflatten(0, (-1, len(videos))).mean(dim=0))


class Inside(nn.Module):
    """Means over frames of means over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.body = FrameMean(nn.Sequential(nn.Unflatten(1, (1, 3)), FrameMean(nn.Sequential(nn.Flatten(), nn.Linear(192, CLASSES)))))

    def forward(self, videos: Tensor) -> Tensor:
        return self.body(videos)


@pytest.mark.parametrize("make", [Folding, Inside])
def test_other_ways_to_treat_frames_take_the_generic_path(make: Callable[[], nn.Module]) -> None:
    network = make().double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator(76, *parameter.shape), dtype=torch.float64)
    videos, labels = videos_of((4, 3, 8, 8), 3)
    with pytest.raises(NoRule):
        record(network, videos.clone().requires_grad_(), labels, twice=False)
    found = per_sample_gradients(network, videos, labels)
    wanted = [torch.stack(blocks) for blocks in zip(*plain_gradients(network, videos, labels), strict=True)]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)
