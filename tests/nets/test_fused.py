"""Norm, ReLU and pooling at once: values and derivatives of the layers one after the other, and networks that are made of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, vmap

from bilp.config import NetworkConfig
from bilp.errors import ConfigError
from bilp.matching import matching_for
from bilp.matching.pushforward import forward_mode
from bilp.nets import Network, build, initialize
from bilp.nets.fused import FusedBody, fuse, needed, require_triton
from bilp.nets.fused.operation import composed, norm_relu_pool
from bilp.seeds import generator

SHAPES = [((3, 5, 8, 8), 2), ((2, 4, 9, 7), 2), ((2, 3, 5, 4), 1), ((1, 2, 9, 9), 3)]


def drawn(shape: tuple[int, ...], what: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(5, what), dtype=dtype)


def operands(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, weight and bias, float64."""
    return drawn(shape, "maps") * 2 + 1, drawn(shape[1:2], "weight") + 0.5, drawn(shape[1:2], "bias")


@pytest.mark.parametrize(("shape", "window"), SHAPES)
def test_values_and_both_derivatives_are_those_of_the_layers(shape: tuple[int, ...], window: int) -> None:
    found = []
    for operation in (norm_relu_pool, composed):
        points = [operand.requires_grad_() for operand in operands(shape)]
        result = operation(*points, window, 1e-5)
        cotangent = drawn(tuple(result.shape), "cotangent").requires_grad_()
        first = torch.autograd.grad(result, points, cotangent, create_graph=True)
        along = [drawn(tuple(part.shape), f"along {number}") for number, part in enumerate(first)]
        found.append((result, *first, *torch.autograd.grad(first, [*points, cotangent], along)))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("in_dims", [(0, 0, 0), (1, None, 0), (None, 1, None)])
def test_lanes_of_vmap_are_one_operation_each(in_dims: tuple[int | None, ...]) -> None:
    each = operands((2, 3, 5, 6))
    lanes = [
        part if dim is None else torch.stack([part, part * 1.5 + 0.1], dim=dim)  # two lanes
        for part, dim in zip(each, in_dims, strict=True)
    ]

    def derivative(operation: object) -> tuple[Tensor, ...]:
        return vmap(grad(lambda *points: operation(*points, 2, 1e-5).square().sum(), (0, 1, 2)), in_dims)(*lanes)  # type: ignore[operator]

    for own, other in zip(derivative(norm_relu_pool), derivative(composed), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


def test_a_bias_that_the_norm_cancels_has_a_gradient_of_zero() -> None:
    bias = torch.ones(4, requires_grad=True)
    maps, weight, shift = (operand.requires_grad_() for operand in operands((2, 4, 4, 4)))
    norm_relu_pool(maps, weight, shift, 2, 1e-5, bias).sum().backward()
    assert bias.grad is not None
    assert torch.equal(bias.grad, torch.zeros(4))


def test_what_is_not_a_number_stays_so() -> None:
    maps, weight, bias = operands((2, 3, 4, 4))
    maps[0, 1, 2, 2] = torch.nan
    found = norm_relu_pool(maps, weight, bias, 2, 1e-5).isnan()
    assert found[0, 1].all()
    assert not found[1].any()


def networks(config: NetworkConfig, shape: tuple[int, int, int]) -> tuple[Network, Network]:
    """The same network as its modules are, and fused."""
    plain = build(config, shape, 3)
    initialize(plain, generator(5, "network"))
    with torch.no_grad():
        for number, parameter in enumerate(plain.parameters()):
            if parameter.dim() == 1:
                parameter += 0.3 * drawn(tuple(parameter.shape), f"parameter {number}", torch.float32)
    fused = copy.deepcopy(plain)
    fuse(fused)
    assert sum(isinstance(module, FusedBody) for module in fused.modules()) == 1
    assert list(fused.state_dict()) == list(plain.state_dict())
    return plain, fused


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (NetworkConfig(width=6), (3, 16, 16)),
        (NetworkConfig(width=6, depth=2), (1, 8, 8)),
        (NetworkConfig(width=6, depth=2, pooling="none"), (3, 8, 8)),
        (NetworkConfig(width=6, depth=2, pooling="max"), (3, 8, 8)),
        pytest.param(NetworkConfig(name="vgg11", norm="instance"), (3, 32, 32), marks=pytest.mark.slow),
    ],
    ids=lambda value: value.name + value.pooling if isinstance(value, NetworkConfig) else "x".join(map(str, value)),
)
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_a_fused_network_is_matched_as_the_plain_one(config: NetworkConfig, shape: tuple[int, int, int], method: str) -> None:
    matching, labels = matching_for(method), torch.arange(3).repeat_interleave(2)
    real, synthetic = (drawn((6, *shape), what, torch.float32) for what in ("real", "synthetic"))
    found = []
    for network in networks(config, shape):
        means = [matching.real_mean(network, real[2 * c : 2 * c + 2], labels[2 * c : 2 * c + 2]) for c in range(3)]
        found.append((*means[1], *matching.distances_and_gradient(network, synthetic, labels, means)))
        found[-1] += matching.pushforward(network, synthetic[:2], labels[:2], drawn((1, 2, *shape), "along", torch.float32))
    for own, other in zip(*found, strict=True):
        assert float((own - other).norm()) < 2e-4 * float(other.norm())


def test_its_training_is_that_of_the_plain_one() -> None:
    images, labels = drawn((6, 3, 8, 8), "images", torch.float32), torch.arange(3).repeat(2)
    after = []
    for network in networks(NetworkConfig(width=6, depth=2), (3, 8, 8)):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
        after.append(list(network.parameters()))
    for own, other in zip(*after, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_networks_whose_parameters_are_stacked_are_fused_as_well() -> None:
    images, found = drawn((4, 3, 8, 8), "images", torch.float32), []
    for network in networks(NetworkConfig(width=6, depth=2), (3, 8, 8)):
        stacked = {name: torch.stack([value.detach(), value.detach() * 1.5 + 0.1]) for name, value in network.named_parameters()}

        def loss(parameters: dict[str, Tensor], network: Network = network) -> Tensor:
            return functional_call(network, parameters, (images,)).square().sum()

        found.append(vmap(grad(loss))(stacked))
    for name, own in found[0].items():
        torch.testing.assert_close(found[1][name], own, rtol=1e-3, atol=1e-4 * float(own.abs().max()) + 1e-3)


def test_layers_that_are_watched_and_forward_mode_are_left_to_pytorch() -> None:
    plain, fused = networks(NetworkConfig(width=6, depth=2), (3, 8, 8))
    images, direction = (drawn((2, 3, 8, 8), what, torch.float32) for what in ("images", "direction"))
    seen: list[Tensor] = []
    norm = fused.body[1]  # type: ignore[index]
    handle = norm.register_forward_hook(lambda module, given, output: seen.append(output))
    torch.testing.assert_close(fused(images), plain(images))
    handle.remove()
    fused(images)
    assert [output.shape for output in seen] == [(2, 6, 8, 8)]
    with torch.no_grad(), forward_mode():
        dual = forward_ad.make_dual(images, direction)
        tangents = [forward_ad.unpack_dual(network(dual)).tangent for network in (plain, fused)]
    assert torch.equal(*tangents)


def test_a_machine_without_triton_or_compiler_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc")
    monkeypatch.setattr(needed.importlib.util, "find_spec", lambda name: object())
    require_triton()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(needed.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs a C compiler \(gcc or clang\).*set gpu to papers"):
        require_triton()
    monkeypatch.setattr(needed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Triton"):
        require_triton()
