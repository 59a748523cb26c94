"""Networks of videos: published parameter counts, layouts, clear refusals, and dropout that draws from its stream alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.nets import Network, build, initialize, parameter_count
from bilp.nets.clips import frames_of
from bilp.nets.convnet3d import convnet3d
from bilp.nets.dropout import Dropout, dropping, has_dropout
from bilp.seeds import generator

KINETICS = (8, 3, 64, 64)


@pytest.mark.parametrize(
    ("settings", "classes", "count"),
    [
        ({"name": "video_convnet_mean"}, 400, 3_576_720),
        ({"name": "video_convnet_mean", "depth": 4}, 400, 1_266_960),
        ({"name": "convnet3d"}, 400, 3_692_816),
        ({"name": "convnet3d"}, 50, 3_647_666),
    ],
)
def test_parameter_counts_are_the_published_ones(settings: dict[str, Any], classes: int, count: int) -> None:
    assert parameter_count(build(NetworkConfig.model_validate(settings), KINETICS, classes)) == count


FITTING: list[tuple[dict[str, Any], tuple[int, int, int, int]]] = [
    ({"name": "video_convnet_mean", "width": 8}, (1, 3, 8, 8)),
    ({"name": "video_convnet_mean", "width": 8, "norm": "layer", "pooling": "max"}, (3, 1, 8, 12)),
    ({"name": "video_convnet_mean", "width": 8, "norm": "batch", "activation": "swish", "depth": 2}, (5, 3, 16, 16)),
    ({"name": "convnet3d"}, (4, 1, 43, 43)),
    ({"name": "convnet3d"}, (16, 3, 64, 64)),
    ({"name": "convnet3d", "norm": "none"}, (8, 3, 112, 90)),
    ({"name": "convnet3d_maps"}, (4, 1, 43, 43)),
]


def fresh(settings: dict[str, Any], shape: tuple[int, int, int, int], classes: int = 7) -> Network:
    network = build(NetworkConfig.model_validate(settings), shape, classes)
    initialize(network, generator(1, "init"))
    return network


@pytest.mark.parametrize(("shape", "features"), [(KINETICS, 256), pytest.param((16, 3, 112, 112), 2048, marks=pytest.mark.slow)])
def test_features_may_be_the_maps_before_their_mean(shape: tuple[int, int, int, int], features: int) -> None:
    maps, means = fresh({"name": "convnet3d_maps"}, shape).eval(), fresh({"name": "convnet3d"}, shape).eval()
    videos = torch.randn(2, *shape, generator=generator(2, "videos"))
    with torch.no_grad():
        found = maps.embed(videos)
        assert found.shape == (2, features)
        torch.testing.assert_close(found.unflatten(1, (128, -1)).mean(dim=2), means.embed(videos))


@pytest.mark.parametrize(
    ("settings", "shape"), [pytest.param(*case, marks=pytest.mark.slow) if case[1][-2] > 60 else case for case in FITTING]
)
def test_logits_are_the_classifier_of_flat_features(settings: dict[str, Any], shape: tuple[int, int, int, int]) -> None:
    network = fresh(settings, shape).eval()
    videos = torch.randn(3, *shape, generator=generator(1, "videos"))
    features, logits = network.embed(videos), network(videos)
    assert features.shape == (3, network.classifier.in_features)
    assert logits.shape == (3, 7)
    torch.testing.assert_close(logits, features @ network.classifier.weight.T + network.classifier.bias)
    assert (logits.std(dim=0) > 0).all(), "the videos must matter"
    for frame in {0, shape[0] // 2, shape[0] - 1}:
        changed = videos.clone()
        changed[:, frame] += torch.randn(3, *shape[1:], generator=generator(1, "frame"))
        assert not torch.equal(network(changed), logits), "and every frame of them"


def test_the_mean_of_the_convnet_over_frames() -> None:
    settings = {"name": "video_convnet_mean", "width": 6, "depth": 2}
    network = fresh(settings, (3, 1, 8, 8))
    alone = build(NetworkConfig.model_validate({**settings, "name": "convnet"}), (1, 8, 8), 7)
    initialize(alone, generator(1, "init"))
    for ours, theirs in zip(network.parameters(), alone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    videos = torch.randn(5, 3, 1, 8, 8, generator=generator(2, "videos"))
    torch.testing.assert_close(network.embed(videos), sum(alone.embed(videos[:, t]) for t in range(3)) / 3)
    torch.testing.assert_close(network(videos), sum(alone(videos[:, t]) for t in range(3)) / 3)


@pytest.mark.parametrize("shape", [(8, 3, 64, 64), (9, 2, 50, 66)])
def test_convnet3d_computes_its_written_definition(shape: tuple[int, int, int, int]) -> None:
    network = convnet3d(NetworkConfig(name="convnet3d"), shape, 7, ((4, 1), (6, 2), (5, 2)))
    initialize(network, generator(3, "init"))
    network.double()
    videos = torch.randn(2, *shape, generator=generator(3, "videos"), dtype=torch.float64)
    parameters = iter([p.detach() for p in network.parameters()])
    maps = torch.stack([videos[:, :, channel] for channel in range(shape[1])], dim=1)
    for together in (1, 2, 2):
        maps = functional.conv3d(maps, next(parameters), next(parameters), stride=(1, 2, 2), padding=(1, 3, 3)).clamp(min=0)
        frames, height, width = maps.shape[2] // together, maps.shape[3] // 2, maps.shape[4] // 2
        pooled = maps.new_full((*maps.shape[:2], frames, height, width), -torch.inf)
        for t in range(together):
            for y in range(2):
                for x in range(2):
                    corner = maps[:, :, t::together, y::2, x::2][:, :, :frames, :height, :width]
                    pooled = torch.maximum(pooled, corner)
        maps = pooled
    features = maps.flatten(2).mean(2)
    torch.testing.assert_close(network.embed(videos), features, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(network(videos), features @ next(parameters).T + next(parameters), rtol=1e-9, atol=1e-12)


def test_eight_frames_of_64_leave_two_moments_of_one_pixel() -> None:
    network, seen = fresh({"name": "convnet3d"}, KINETICS), []
    network.body[-1].register_forward_hook(lambda module, given, output: seen.append((given[0].shape, output.shape)))
    network(torch.zeros(2, *KINETICS))
    assert seen == [((2, 128, 2, 1, 1), (2, 128))]


REFUSALS = [
    ({"name": "convnet"}, (8, 3, 32, 32), "convnet takes images .*, not videos of 8x3x32x32: choose video_convnet_mean or convnet3d"),
    ({"name": "resnet18"}, (8, 3, 32, 32), "resnet18 takes images"),
    ({"name": "convnet3d"}, (3, 64, 64), "convnet3d takes videos .*, not images of 3x64x64: choose an image network"),
    ({"name": "video_convnet_mean"}, (3, 64, 64), "video_convnet_mean takes videos"),
    (
        {"name": "video_convnet_mean", "depth": 4},
        (2, 3, 8, 8),
        "of 2x3x8x8: .*depth to 3 or less or set ingest.resolution to 16 or more",
    ),
    ({"name": "convnet3d"}, (8, 3, 42, 50), "cannot take videos of 8x3x42x50: .*set ingest.resolution to 43 or more$"),
    ({"name": "convnet3d"}, (3, 3, 64, 64), "2x2x2 pooling does not fit a map of 1x.*take 4 frames or more of each video$"),
    ({"name": "convnet3d"}, (1, 3, 8, 8), "choose a smaller network"),
    ({"name": "convnet3d", "norm": "batch"}, KINETICS, "norm 'batch' does not exist for convnet3d: use one of instance, none"),
    ({"name": "convnet3d"}, (0, 3, 64, 64), "a network needs images and classes"),
]


@pytest.mark.parametrize(("settings", "shape", "message"), REFUSALS)
def test_what_cannot_work_is_refused_with_the_remedy(settings: dict[str, Any], shape: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(NetworkConfig.model_validate(settings), shape, 10)


def test_the_advised_sizes_are_the_smallest_that_work() -> None:
    config = NetworkConfig(name="convnet3d")
    assert parameter_count(build(config, (4, 3, 43, 43), 10)) > 0
    for shape in ((3, 3, 43, 43), (4, 3, 42, 43), (4, 3, 43, 42)):
        with pytest.raises(ConfigError):
            build(config, shape, 10)


def test_frames_count_in_videos_only() -> None:
    assert frames_of(torch.zeros(2, 5, 3, 8, 8)) == 5
    assert frames_of(torch.zeros(2, 3, 8, 8)) == 1


def test_dropout_draws_from_its_stream_or_not_at_all() -> None:
    layer, values = Dropout(0.25), torch.randn(200, 50, generator=generator(4, "values")) + 3.0
    before = torch.random.get_rng_state()
    assert layer(values) is values
    with dropping(layer, generator(4, "stream")):
        first, second = layer(values), layer(values)
        assert layer.eval()(values) is values
        layer.train()
    assert layer(values) is values
    assert torch.equal(before, torch.random.get_rng_state())
    mask = torch.rand(200, 50, generator=generator(4, "stream")) >= 0.25
    torch.testing.assert_close(first, torch.where(mask, values / 0.75, torch.zeros(())))
    assert not torch.equal(first, second)
    assert float(first.mean()) == pytest.approx(float(values.mean()), abs=0.1)


def test_dropout_of_convnet3d_acts_before_the_classifier_and_stops_after_an_error() -> None:
    network, videos = fresh({"name": "convnet3d"}, (4, 1, 43, 43)), torch.randn(3, 4, 1, 43, 43, generator=generator(5, "videos"))
    assert has_dropout(network) and not has_dropout(fresh({"name": "video_convnet_mean", "width": 8}, (2, 1, 8, 8)))
    features, plain = network.embed(videos), network(videos)
    with pytest.raises(ZeroDivisionError), dropping(network, generator(5, "stream")):
        dropped = network(videos)
        raise ZeroDivisionError
    mask = torch.rand(3, 128, generator=generator(5, "stream")) >= 0.5
    wanted: Tensor = (2.0 * features * mask) @ network.classifier.weight.T + network.classifier.bias
    torch.testing.assert_close(dropped, wanted)
    assert not torch.equal(dropped, plain)
    assert torch.equal(network(videos), plain)
