"""The zoo: published parameter counts, layouts, images of any size, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.nets import Network, build, initialize, label, parameter_count
from bilp.nets.resnet import RESNET6_IMAGENET, RESNET10_AP, Block, Plan, resnet
from bilp.seeds import generator

RGB, GRAY, TINY, HIGH, LARGE = (3, 32, 32), (1, 28, 28), (3, 64, 64), (3, 128, 128), (3, 224, 224)

COUNTS = [
    ({}, RGB, 10, 320_010),
    ({}, GRAY, 10, 317_706),
    ({}, RGB, 100, 504_420),
    ({"depth": 1}, RGB, 10, 331_530),
    ({"depth": 2}, RGB, 10, 233_610),
    ({"depth": 4}, RGB, 10, 452_490),
    ({"width": 32}, RGB, 10, 24_714),
    ({"width": 64}, RGB, 10, 86_282),
    ({"width": 256}, RGB, 10, 1_229_834),
    ({"norm": "none"}, RGB, 10, 319_242),
    ({"norm": "layer"}, RGB, 10, 663_306),
    ({"norm": "batch"}, RGB, 10, 320_010),
    ({"norm": "group"}, RGB, 10, 320_010),
    ({"pooling": "none"}, RGB, 10, 1_610_250),
    ({"pooling": "max"}, RGB, 10, 320_010),
    ({}, TINY, 200, 1_938_120),
    ({"depth": 4}, TINY, 200, 857_160),
    ({"depth": 4}, TINY, 1000, 2_496_360),
    ({"depth": 5}, HIGH, 10, 615_690),
    ({"name": "mlp"}, RGB, 10, 411_146),
    ({"name": "mlp"}, GRAY, 10, 118_282),
    ({"name": "lenet"}, RGB, 10, 62_006),
    ({"name": "lenet"}, GRAY, 10, 61_706),
    ({"name": "alexnet"}, RGB, 10, 1_872_202),
    ({"name": "alexnet"}, RGB, 100, 2_148_772),
    ({"name": "alexnet", "norm": "batch"}, RGB, 10, 1_874_122),
    ({"name": "vgg11"}, RGB, 10, 9_231_114),
    ({"name": "vgg11"}, RGB, 100, 9_277_284),
    ({"name": "resnet18"}, RGB, 10, 11_173_962),
    ({"name": "resnet18"}, RGB, 100, 11_220_132),
    ({"width": 128, "activation": "sigmoid"}, RGB, 10, 320_010),
    ({"width": 128, "activation": "leaky_relu"}, RGB, 10, 320_010),
    ({"width": 128, "activation": "swish", "norm": "batch"}, RGB, 10, 320_010),
    ({"width": 512}, RGB, 10, 4_818_954),
    ({"width": 1024}, RGB, 10, 19_075_082),
    ({"name": "vgg11", "norm": "batch"}, RGB, 10, 9_231_114),
    ({"name": "resnet18", "norm": "batch"}, RGB, 10, 11_173_962),
    ({"name": "resnet18_ap"}, RGB, 10, 11_250_762),
    ({"name": "resnet18_ap"}, GRAY, 10, 11_250_762 - 2 * 576 - 10 * 512 * 7),  # one channel, and 3x3 maps at the end
    ({"name": "resnet34"}, RGB, 10, 21_282_122),
    ({"name": "resnet50"}, RGB, 10, 23_520_842),
    ({"name": "resnet101"}, RGB, 10, 42_512_970),
    ({"name": "resnet152"}, RGB, 10, 58_156_618),
    ({"name": "resnet18_imagenet"}, LARGE, 10, 11_181_642),
    ({"name": "resnet6_imagenet"}, LARGE, 10, 4_910_922),
    ({"name": "resnet10_ap"}, LARGE, 10, 4_910_922),
    ({"name": "resnet10_ap"}, LARGE, 100, 4_957_092),
    ({"name": "resnet10"}, RGB, 10, 1_228_970),
    ({"name": "resnet10"}, RGB, 100, 1_252_100),
    ({"name": "densenet"}, RGB, 10, 1_000_618),
    # No count is published for FRePo's; these are sums over its definition, block by block.
    ({"name": "convnet_frepo"}, RGB, 10, 3_584 + (256 + 295_168) + (512 + 1_180_160) + 81_930),
    ({"name": "convnet_frepo"}, GRAY, 10, 1_280 + (256 + 295_168) + (512 + 1_180_160) + 81_930),
    ({"name": "convnet_frepo", "norm": "none"}, RGB, 100, 3_584 + 295_168 + 1_180_160 + 819_300),
    ({"name": "convnet_frepo", "depth": 4}, TINY, 200, 3_584 + 295_424 + 1_180_672 + (1_024 + 4_719_616) + 3_277_000),
]


@pytest.mark.parametrize(("settings", "shape", "classes", "count"), COUNTS)
def test_parameter_counts_are_the_published_ones(
    settings: dict[str, object], shape: tuple[int, int, int], classes: int, count: int
) -> None:
    assert parameter_count(build(NetworkConfig.model_validate(settings), shape, classes)) == count


FITTING = [
    ({"width": 8}, (1, 8, 8)),
    ({"width": 8, "norm": "batch", "activation": "swish"}, (1, 8, 8)),
    ({"width": 8, "norm": "layer", "activation": "sigmoid"}, (3, 20, 30)),
    ({"width": 8, "norm": "group", "activation": "leaky_relu", "pooling": "max"}, (3, 32, 32)),
    ({"width": 8, "norm": "none", "pooling": "none", "depth": 4}, (1, 5, 7)),
    ({"name": "mlp"}, (2, 3, 5)),
    ({"name": "lenet"}, (3, 64, 48)),
    ({"name": "alexnet"}, (1, 8, 8)),
    ({"name": "alexnet"}, (3, 64, 64)),
    ({"name": "vgg11", "norm": "batch"}, (1, 28, 28)),
    ({"name": "vgg11"}, (3, 64, 64)),
    ({"name": "resnet18", "norm": "batch"}, (1, 28, 28)),
    ({"name": "resnet18"}, (3, 16, 16)),
    ({"name": "resnet18"}, (3, 64, 64)),
    ({"name": "resnet18_ap"}, (1, 28, 28)),
    ({"name": "resnet34"}, (3, 16, 24)),
    ({"name": "resnet50", "norm": "batch"}, (3, 8, 8)),
    ({"name": "resnet6_imagenet"}, (3, 64, 48)),
    ({"name": "resnet10"}, (1, 8, 8)),
    ({"name": "resnet10", "norm": "group"}, (3, 20, 20)),
    ({"name": "resnet10_ap"}, (3, 16, 16)),
    ({"name": "resnet10_ap"}, (3, 70, 66)),
    ({"name": "resnet10_ap"}, (3, 130, 140)),
    ({"name": "densenet"}, (1, 8, 8)),
    ({"name": "densenet", "norm": "instance"}, (3, 32, 32)),
    ({"name": "convnet_frepo", "width": 8}, (1, 8, 8)),
    ({"name": "convnet_frepo", "width": 8, "norm": "group", "depth": 4, "activation": "swish"}, (3, 32, 24)),
]


@pytest.mark.parametrize(("settings", "shape"), FITTING)
def test_logits_are_the_classifier_of_flat_features_at_any_size(settings: dict[str, object], shape: tuple[int, int, int]) -> None:
    network = build(NetworkConfig.model_validate(settings), shape, 7)
    initialize(network, generator(1, "init"))
    images = torch.randn(3, *shape, generator=generator(1, "images"))
    network.eval()
    features = network.embed(images)
    assert features.shape == (3, network.classifier.in_features)
    logits = network(images)
    assert logits.shape == (3, 7)
    torch.testing.assert_close(logits, features @ network.classifier.weight.T + network.classifier.bias)
    assert (logits.std(dim=0) > 0).all(), "the images must matter"


def test_convnet_computes_its_written_definition() -> None:
    network = build(NetworkConfig(width=6, depth=2), (1, 8, 8), 4)
    initialize(network, generator(2, "init"))
    images = torch.randn(5, 1, 8, 8, generator=generator(2, "images"))
    parameters = [p.detach() for p in network.parameters()]
    maps = images
    for block, padding in enumerate((3, 1)):
        weight, bias, scale, shift = parameters[4 * block : 4 * block + 4]
        maps = functional.conv2d(maps, weight, bias, padding=padding)
        mean, variance = maps.mean((2, 3), keepdim=True), maps.var((2, 3), keepdim=True, unbiased=False)
        maps = (maps - mean) / (variance + 1e-5).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        maps = functional.avg_pool2d(maps.clamp(min=0), 2)
    torch.testing.assert_close(network.embed(images), maps.flatten(1), rtol=1e-4, atol=1e-5)


def test_the_convnet_of_frepo_computes_its_written_definition() -> None:
    network = build(NetworkConfig(name="convnet_frepo", width=3), (1, 12, 12), 4)
    initialize(network, generator(9, "init"))
    network.double()
    images = torch.randn(5, 1, 12, 12, generator=generator(9, "images"), dtype=torch.float64)
    parameters = iter([p.detach() for p in network.parameters()])
    maps, widths = images, []
    for block in range(3):
        if block > 0:
            mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), keepdim=True, unbiased=False)
            scale, shift = next(parameters), next(parameters)
            maps = (maps - mean) / (variance + 1e-5).sqrt() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)
        maps = functional.conv2d(maps, next(parameters), next(parameters), padding=3 if block == 0 else 1)
        maps = functional.avg_pool2d(maps.clamp(min=0), 2)
        widths.append(maps.shape[1])
    assert widths == [3, 6, 12]
    torch.testing.assert_close(network.embed(images), maps.flatten(1), rtol=1e-9, atol=1e-12)
    assert len(list(parameters)) == 2, "the classifier is what is left"


def test_resnet_computes_its_written_definition() -> None:
    network = build(NetworkConfig(name="resnet18"), (3, 16, 16), 4)
    initialize(network, generator(3, "init"))
    images = torch.randn(2, 3, 16, 16, generator=generator(3, "images"))
    parameters = iter([p.detach() for p in network.parameters()])

    def conv_norm(maps: Tensor, stride: int, padding: int) -> Tensor:
        maps = functional.conv2d(maps, next(parameters), stride=stride, padding=padding)
        return functional.group_norm(maps, maps.shape[1], next(parameters), next(parameters))

    maps = conv_norm(images, 1, 1).relu()
    for channels, first_stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first_stride, 1):
            main = conv_norm(conv_norm(maps, stride, 1).relu(), 1, 1)
            shortcut = conv_norm(maps, stride, 0) if maps.shape[1] != channels else maps
            maps = (main + shortcut).relu()
    torch.testing.assert_close(network.embed(images), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)


def narrow(plan: Plan, norm: str, shape: tuple[int, int, int]) -> tuple[Network, Iterator[Tensor]]:
    """A narrow residual network in float64, and its parameters in their order."""
    network = resnet(replace(plan, widths=(4, 8, 12, 16)), norm, shape, 3)
    initialize(network, generator(7, "narrow"))
    return network.double(), iter([p.detach() for p in network.double().parameters()])


@pytest.mark.parametrize("halving", ["stride", "average"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_residual_blocks_compute_their_written_definition(halving: Literal["stride", "average"], bottleneck: bool) -> None:
    network, parameters = narrow(Plan((1, 2, 1, 1), bottleneck=bottleneck, halving=halving, final="none"), "instance", (3, 16, 16))
    images = torch.randn(2, 3, 16, 16, generator=generator(7, "images"), dtype=torch.float64)

    def conv(maps: Tensor, stride: int, padding: int) -> Tensor:
        return functional.conv2d(maps, next(parameters), stride=stride, padding=padding)

    def norm(maps: Tensor) -> Tensor:
        return functional.group_norm(maps, maps.shape[1], next(parameters), next(parameters))

    maps = norm(conv(images, 1, 1)).relu()
    for width, blocks, first in ((4, 1, 1), (8, 2, 2), (12, 1, 2), (16, 1, 2)):
        for stride in [first] + [1] * (blocks - 1):
            average = halving == "average" and stride == 2
            step = 1 if average else stride
            halve = (lambda x: functional.avg_pool2d(x, 2)) if average else (lambda x: x)
            main = norm(conv(maps, 1, 0)).relu() if bottleneck else maps
            main = halve(norm(conv(main, step, 1)).relu())
            main = norm(conv(main, 1, 0 if bottleneck else 1))
            changes = stride == 2 or main.shape[1] != maps.shape[1]
            assert main.shape[1] == (4 * width if bottleneck else width)
            maps = (main + (norm(halve(conv(maps, step, 0))) if changes else maps)).relu()
    torch.testing.assert_close(network.embed(images), maps.flatten(1), rtol=1e-6, atol=1e-8)


def test_stem_of_imagenet_and_those_of_idc_by_size() -> None:
    def maps_after_stem(plan: Plan, side: int) -> tuple[int, ...]:
        network, _ = narrow(plan, "instance", (3, side, side))
        seen: list[tuple[int, ...]] = []
        first = next(module for module in network.modules() if isinstance(module, Block))
        first.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape[2:])))
        network(torch.randn(1, 3, side, side, dtype=torch.float64, generator=generator(7, "stem")))
        kernel = next(module for module in network.modules() if isinstance(module, nn.Conv2d)).kernel_size
        return (*seen[0], kernel[0])

    assert maps_after_stem(RESNET6_IMAGENET, 224) == (56, 56, 7)
    assert maps_after_stem(RESNET6_IMAGENET, 65) == (17, 17, 7)
    assert [maps_after_stem(RESNET10_AP, side) for side in (64, 65, 128, 129, 224)] == [
        (64, 64, 3),
        (32, 32, 3),
        (64, 64, 3),
        (32, 32, 7),
        (56, 56, 7),
    ]


def test_densenet_computes_its_written_definition() -> None:
    network = build(NetworkConfig(name="densenet", norm="instance"), (3, 32, 32), 4)
    initialize(network, generator(8, "init"))
    network.double()
    images = torch.randn(2, 3, 32, 32, generator=generator(8, "images"), dtype=torch.float64)
    parameters = iter([p.detach() for p in network.parameters()])

    def conv(maps: Tensor, padding: int) -> Tensor:
        return functional.conv2d(maps, next(parameters), padding=padding)

    def norm_relu(maps: Tensor) -> Tensor:
        return functional.group_norm(maps, maps.shape[1], next(parameters), next(parameters)).relu()

    maps = conv(images, 1)
    for layers in (6, 12, 24, 16):
        for _ in range(layers):
            maps = torch.cat([conv(norm_relu(conv(norm_relu(maps), 0)), 1), maps], dim=1)
        maps = norm_relu(maps)
        if layers < 16 or maps.shape[2] > 4:
            maps = functional.avg_pool2d(conv(maps, 0), 2)
    torch.testing.assert_close(network.embed(images), maps.mean((2, 3)), rtol=1e-6, atol=1e-8)


def test_instance_norm_keeps_samples_apart_and_batch_norm_does_not() -> None:
    images = torch.randn(4, 3, 16, 16, generator=generator(4, "images"))
    alone = {}
    for norm in ("instance", "batch"):
        network = build(NetworkConfig(width=8, norm=norm), (3, 16, 16), 5)
        initialize(network, generator(4, "init"))
        alone[norm] = (network(images)[:2] - network(images[:2])).abs().max().item()
    assert alone["instance"] < 1e-5
    assert alone["batch"] > 1e-3


REFUSALS = [
    ({"depth": 4}, (1, 8, 8), "convnet depth 4 cannot take images of 1x8x8.*set depth to 3 or less or set ingest.resolution to 12 or more"),
    ({"depth": 3, "norm": "none"}, (3, 4, 4), "set depth to 2 or less or set ingest.resolution to 8 or more"),
    ({"name": "lenet"}, (1, 8, 8), "lenet cannot take images of 1x8x8.*ingest.resolution to 12 or more"),
    ({"name": "vgg11"}, (3, 28, 28), "ingest.resolution to 32 or more"),
    ({"name": "alexnet"}, (3, 4, 4), "ingest.resolution to 8 or more"),
    ({"name": "resnet18"}, (1, 8, 8), "ingest.resolution to 9 or more"),
    ({"name": "densenet"}, (3, 4, 4), "ingest.resolution to 8 or more"),
    ({"name": "resnet18_imagenet"}, (3, 32, 32), "ingest.resolution to 33 or more"),
    ({"name": "resnet18_ap"}, (3, 7, 7), "ingest.resolution to 16 or more"),
    ({"name": "convnet_frepo", "depth": 4}, (3, 8, 8), "set depth to 3 or less or set ingest.resolution to 16 or more"),
    ({"width": 6, "norm": "group"}, (3, 32, 32), "width = 6 must be a multiple of 4"),
    ({"name": "lenet", "norm": "batch"}, (3, 32, 32), "norm 'batch' does not exist for lenet: use one of instance, none"),
]


@pytest.mark.parametrize(("settings", "shape", "message"), REFUSALS)
def test_what_cannot_work_is_refused_with_the_remedy(settings: dict[str, object], shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(NetworkConfig.model_validate(settings), shape, 10)


@pytest.mark.parametrize(("settings", "shape", "message"), [row for row in REFUSALS if "resolution to" in row[2]])
def test_the_advised_resolution_is_the_smallest_that_works(settings: dict[str, object], shape: tuple[int, int, int], message: str) -> None:
    side = int(message.split("resolution to ")[1].split()[0])
    config = NetworkConfig.model_validate(settings)
    assert parameter_count(build(config, (shape[0], side, side), 10)) > 0
    with pytest.raises(ConfigError):
        build(config, (shape[0], side - 1, side - 1), 10)


def test_labels_tell_networks_apart() -> None:
    assert label(NetworkConfig()) == "convnet"
    assert label(NetworkConfig(width=64, norm="batch")) == "convnet width 64 norm batch"
    assert label(NetworkConfig(name="resnet18", norm="batch")) == "resnet18 norm batch"
    assert label(NetworkConfig(name="mlp", width=64)) == "mlp"  # width shapes the ConvNet only
    assert [label(NetworkConfig(name="densenet", norm=norm)) for norm in ("batch", "instance")] == ["densenet", "densenet norm instance"]
    assert NetworkConfig(name="resnet10").norm == "batch"
    assert label(NetworkConfig(name="convnet_frepo", depth=4)) == "convnet_frepo depth 4"
    assert label(NetworkConfig(name="convnet_frepo", norm="none")) == "convnet_frepo norm none"
    assert label(NetworkConfig(name="video_convnet_mean", width=64)) == "video_convnet_mean width 64"
    assert label(NetworkConfig(name="convnet3d", width=64)) == "convnet3d"


def test_build_leaves_the_global_random_state_alone_and_marks_missing_initialization() -> None:
    before = torch.random.get_rng_state()
    network = build(NetworkConfig(norm="batch", width=8), (3, 32, 32), 10)
    assert torch.equal(before, torch.random.get_rng_state())
    assert network.training
    assert all(parameter.isnan().all() for parameter in network.parameters())
    assert isinstance(network.classifier, nn.Linear)
