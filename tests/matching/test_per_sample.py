"""Per-sample gradients from one ordinary pass against vmap(grad), layer by layer."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.matching import GradientMatching
from bilp.matching.convolution import ConvolutionLayer
from bilp.matching.per_sample import announce_generic_path, per_sample_by_vmap, per_sample_gradients
from bilp.matching.recording import NoRule, matched_parameters, record
from bilp.nets import build, initialize
from bilp.seeds import generator

SIDE, CLASSES = 8, 4


class Classifier(nn.Module):
    """Any body of `[B, 3, 8, 8]`, a linear layer on its flattened maps."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.classifier = nn.Linear(self.body(torch.zeros(2, 3, SIDE, SIDE)).flatten(1).shape[1], CLASSES)
        stream = generator(21, "parameters")
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=stream) * 0.3

    def embed(self, images: Tensor) -> Tensor:
        return self.body(images).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.embed(images))


class Patches(nn.Module):
    """Eight tokens per image, each through the same linear layers, which therefore see `[B, 8, 24]`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(24, 5)
        self.second = nn.Linear(5, 5, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.first(images.reshape(-1, 8, 24)).tanh()
        return self.second(self.second(tokens).tanh())


class Tied(nn.Module):
    """Two modules that share one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images).tanh())


class Borrowed(nn.Module):
    """Uses the weight of a module without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(SIDE, SIDE)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.linear(images, self.inner.weight)


class Overwriting(nn.Module):
    """Changes the input of a convolution after the convolution has used it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        scaled = images * 2.0
        mixed = self.conv(scaled)
        return mixed + scaled.add_(1.0).relu()


def conv(out: int, kernel: int | tuple[int, int], **geometry: int | tuple[int, int] | bool) -> nn.Conv2d:
    return nn.Conv2d(3, out, kernel, **geometry)


FAST: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: Classifier(nn.Flatten(), nn.Linear(192, 7), nn.ReLU()),
    "linear_no_bias": lambda: Classifier(nn.Flatten(), nn.Linear(192, 7, bias=False), nn.Tanh()),
    "tokens": lambda: Classifier(Patches()),
    "padding": lambda: Classifier(conv(5, 3, padding=2), nn.ReLU()),
    "stride": lambda: Classifier(conv(5, 3, stride=2, padding=1), nn.ReLU()),
    "uneven_stride": lambda: Classifier(conv(5, 3, stride=(3, 2)), nn.ReLU()),
    "dilation": lambda: Classifier(conv(5, 3, dilation=2, padding=1), nn.ReLU()),
    "rectangle": lambda: Classifier(conv(5, (1, 4), padding=(0, 1)), nn.ReLU()),
    "groups": lambda: Classifier(conv(6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2, padding=1)),
    "no_bias": lambda: Classifier(conv(5, 1, bias=False), nn.Sigmoid()),
    "in_place": lambda: Classifier(conv(5, 3), nn.ReLU(inplace=True), nn.Conv2d(5, 5, 3), nn.ReLU(inplace=True)),
    "called_twice": lambda: Classifier(*[nn.Conv2d(3, 3, 3, padding=1)] * 2),
    "tied": lambda: Classifier(Tied()),
    "instance_norm": lambda: Classifier(conv(4, 3), nn.GroupNorm(4, 4), nn.ReLU(), nn.AvgPool2d(2)),
    "group_norm": lambda: Classifier(conv(4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(2)),
    "torch_instance_norm": lambda: Classifier(conv(4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU()),
    "layer_norm_maps": lambda: Classifier(conv(4, 3), nn.LayerNorm([4, 6, 6]), nn.SiLU()),
    "layer_norm_maps_no_bias": lambda: Classifier(conv(4, 3), nn.LayerNorm([4, 6, 6], bias=False), nn.SiLU()),
    "layer_norm_rows": lambda: Classifier(conv(4, 3), nn.LayerNorm([6, 6]), nn.SiLU()),
    "layer_norm_vector": lambda: Classifier(conv(4, 3), nn.LayerNorm(6), nn.SiLU()),
    "batch_norm_frozen": lambda: Classifier(conv(4, 3), nn.BatchNorm2d(4).eval(), nn.ReLU()),
}
GENERIC: dict[str, Callable[[], nn.Module]] = {
    "conv1d": lambda: Classifier(nn.Flatten(2), nn.Conv1d(3, 4, 3)),
    "transposed": lambda: Classifier(nn.ConvTranspose2d(3, 4, 3)),
    "circular": lambda: Classifier(conv(4, 3, padding=1, padding_mode="circular")),
    "padding_by_name": lambda: Classifier(conv(4, 3, padding="same")),
    "borrowed_weight": lambda: Classifier(Borrowed()),
}


def batch(count: int = 5) -> tuple[Tensor, Tensor]:
    stream = generator(22, "images")
    return torch.randn(count, 3, SIDE, SIDE, generator=stream), torch.randint(CLASSES, (count,), generator=stream)


def assert_same(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()) + 1e-12)


@pytest.mark.parametrize("make", FAST.values(), ids=FAST.keys())
def test_fast_path_equals_vmap(make: Callable[[], nn.Module]) -> None:
    network = make()
    images, labels = batch()
    loss, _ = record(network, images.clone().requires_grad_(), labels, twice=False)  # raises NoRule on the generic path
    torch.testing.assert_close(loss.detach(), nn.functional.cross_entropy(network(images), labels, reduction="sum").detach())
    found = per_sample_gradients(network, images, labels)
    assert [block.shape for block in found] == [(5, len(p), p[0].numel()) for p in matched_parameters(network)]
    assert not any(block.requires_grad for block in found)
    assert_same(found, per_sample_by_vmap(network, images, labels))


@pytest.mark.parametrize("make", GENERIC.values(), ids=GENERIC.keys())
def test_other_layers_take_the_generic_path_and_say_so(make: Callable[[], nn.Module], caplog: pytest.LogCaptureFixture) -> None:
    network = make()
    images, labels = batch()
    announce_generic_path.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = per_sample_gradients(network, images, labels)
    assert len([record for record in caplog.records if "generic path" in record.message]) == 1
    assert_same(found, per_sample_by_vmap(network, images, labels))


@pytest.mark.parametrize("name", ["convnet", "mlp", "lenet", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_zoo_is_fast_and_equals_vmap(name: str) -> None:
    config = NetworkConfig(name=name, width=8) if name == "convnet" else NetworkConfig(name=name)
    shape = (1, 8, 8) if name == "convnet" else (3, 16, 16)
    network = build(config, shape, 3)
    initialize(network, generator(23, name))
    network.double()  # instance norm of 2x2 maps, in ResNet, multiplies rounding by thousands
    images = torch.randn(2, *shape, generator=generator(23, "images"), dtype=torch.float64)
    labels = torch.tensor([0, 2])
    record(network, images.clone().requires_grad_(), labels, twice=False)
    assert_same(per_sample_gradients(network, images, labels), per_sample_by_vmap(network, images, labels))


def test_micro_batches_join_seamlessly() -> None:
    network = FAST["groups"]()
    images, labels = batch(70)
    whole = per_sample_gradients(network, images, labels)
    single = [per_sample_gradients(network, images[i : i + 1], labels[i : i + 1]) for i in (0, 31, 32, 69)]
    for place, i in enumerate((0, 31, 32, 69)):
        assert_same(tuple(block[i : i + 1] for block in whole), single[place])


@pytest.mark.parametrize(
    "geometry", [{"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 3, "padding": (2, 0)}, {"stride": (3, 2)}]
)
def test_both_formulations_of_a_convolution_agree(geometry: dict[str, int]) -> None:
    module = conv(6, 3, **geometry)
    stream = generator(24, "x")
    node = torch.randn(4, 3, SIDE, SIDE, generator=stream)
    gradient = torch.randn(module(node).shape, generator=stream)
    layer = ConvolutionLayer(module)
    torch.testing.assert_close(layer.outer_by_windows(node, gradient), layer.outer_by_groups(node, gradient), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("geometry", [{"padding": 1}, {"stride": (3, 2)}, {"groups": 3, "dilation": 2}])
def test_sums_of_classes_by_slices_are_those_of_their_samples(geometry: dict[str, int]) -> None:
    module = conv(6, 3, **geometry).double()
    stream = generator(24, "slices")
    node = torch.randn(6, 3, SIDE, SIDE, generator=stream, dtype=torch.float64)
    gradient = torch.randn(module(node).shape, generator=stream, dtype=torch.float64)
    layer = ConvolutionLayer(module)
    wanted = layer.outer_by_windows(node, gradient).unflatten(0, (2, 3)).sum(dim=1)
    torch.testing.assert_close(layer.summed_by_slices(node, gradient, 2), wanted)
    torch.testing.assert_close(layer.summed(node, gradient, 2)[0], wanted)


def test_an_overwritten_input_is_an_error_not_a_wrong_number() -> None:
    network = Classifier(Overwriting()).requires_grad_(False)  # frozen, the convolution itself does not notice
    images, labels = batch()
    with pytest.raises(RuntimeError, match="inplace operation"):
        per_sample_gradients(network, images, labels)


def test_gradients_do_not_reach_the_parameters_or_leave_hooks() -> None:
    network = FAST["instance_norm"]()
    images, labels = batch()
    with torch.no_grad():  # the caller's mode must not matter
        per_sample_gradients(network, images, labels)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(NoRule):
        record(GENERIC["transposed"](), images.requires_grad_(), labels, twice=False)


def test_a_layer_that_does_not_matter_has_zero_gradient() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(192, CLASSES), nn.Linear(192, 2)

        def forward(self, images: Tensor) -> Tensor:
            self.idle(images.flatten(1))
            return self.used(images.flatten(1))

    images, labels = batch()
    blocks = per_sample_gradients(Idle(), images, labels)
    assert torch.equal(blocks[1], torch.zeros(5, 2, 192))
    assert float(blocks[0].abs().max()) > 0


def test_batch_norm_in_training_mode_is_refused_until_frozen() -> None:
    network = Classifier(conv(4, 3), nn.BatchNorm2d(4), nn.ReLU())
    images, labels = batch()
    matching = GradientMatching("dc")
    for refused in (matching.real, matching.real_mean, matching.synthetic):
        with pytest.raises(ConfigError, match="freeze_statistics"):
            refused(network, images, labels)
    matching.freeze_statistics(network, images)
    assert_same(matching.real(network, images, labels), per_sample_by_vmap(network, images, labels))


@pytest.mark.parametrize("samples", [1, 4])
def test_maps_that_lie_channels_last_have_the_same_gradients(samples: int) -> None:
    """Also where the samples are one class, whose sum is a weight gradient that then lies channels last itself."""
    module = nn.Conv2d(4, 6, 3, padding=1, dtype=torch.float64)
    stream = generator(28, "channels_last")
    node, gradient = (torch.randn(samples, channels, 5, 6, generator=stream, dtype=torch.float64) for channels in (4, 6))
    last = [maps.contiguous(memory_format=torch.channels_last) for maps in (node, gradient)]
    layer = ConvolutionLayer(module.to(memory_format=torch.channels_last))
    wanted = layer.outer_by_windows(node, gradient)
    for way in (layer.outer_by_groups, layer.outer_by_windows):
        torch.testing.assert_close(way(*last), wanted)
    torch.testing.assert_close(layer.summed(*last, 1)[0], wanted.sum(dim=0, keepdim=True))
