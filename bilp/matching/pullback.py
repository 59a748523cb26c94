"""Many products with the transposed Jacobian of psi(S), through the synthetic batch alone.

The batch, of one class or of several, is tiled once per lane; every call then differentiates one ordinary graph, with
another cotangent of every class in every lane. The cotangents of a gradient's psi do not even enter that graph: they act
on the inputs and output gradients of the layers (see `layers`), and what reaches the graph are cotangents of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bilp.matching.base import Pullback, Vectors
from bilp.matching.batched import batched_gradients
from bilp.matching.per_sample import announce_generic_path
from bilp.matching.recording import Call, NoRule, matched_parameters, output_gradients, record
from bilp.nets import Network
from bilp.nets.clips import frames_of

# Images per tiled batch: a CPU is fastest while activations stay in its cache.
LANE_IMAGES = {"cpu": 16}
LANE_IMAGES_ELSEWHERE = 512


class GenericPullback:
    """J^T by PyTorch's batched differentiation of psi: for any network, and the reference of the fast ones."""

    def __init__(self, psi: Vectors, images: Tensor, lanes: int) -> None:
        """psi, with a leading axis of classes, is a function of `images` with its graph."""
        self.lanes, self.lane_bytes = lanes, sum(block.numel() * block.element_size() for block in psi)
        self._psi, self._images = psi, images

    def __call__(self, cotangents: Vectors) -> Tensor:
        """See Pullback."""
        kept = [(value, c) for value, c in zip(self._psi, cotangents, strict=True) if value.requires_grad]
        (result,) = batched_gradients([value for value, _ in kept], [self._images], [c for _, c in kept])
        return _by_class(result, len(self._psi[0]))


class FeaturePullback:
    """J^T of the mean embedding."""

    def __init__(self, network: Network, images: Tensor, classes: int, lanes: int) -> None:
        self.lanes = lanes
        self._classes, self._each = classes, len(images) // classes
        self._images = _tile(images, lanes)
        with torch.enable_grad(), _saved_bytes(network) as saved:
            self._features = network.embed(self._images)
        self.lane_bytes = saved[0] // lanes

    def __call__(self, cotangents: Vectors) -> Tensor:
        """See Pullback."""
        (c,) = _filled(cotangents, self.lanes)
        spread = (c / self._each).flatten(0, 1).repeat_interleave(self._each, dim=0)
        (result,) = torch.autograd.grad(self._features, self._images, spread, retain_graph=True)
        return _by_class(result.unflatten(0, (self.lanes, -1)), self._classes)[: len(cotangents[0])]


class GradientPullback:
    """J^T of the gradient of the mean cross-entropy by the matched parameters. Raises NoRule."""

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, classes: int, lanes: int) -> None:
        self.lanes = lanes
        self._classes, self._batch = classes, len(images)
        self._images = _tile(images, lanes)
        with torch.enable_grad(), _saved_bytes(network) as saved:
            loss, calls = record(network, self._images, labels.repeat(lanes), twice=True)
            recorded = output_gradients(loss / (len(images) // classes), calls, create_graph=True)
        self.lane_bytes = saved[0] // lanes
        self._outputs = [tensor for call, gradient in recorded for tensor in (gradient, call.node)]
        # All lanes hold the same images, so one copy of what the cotangents act on is enough.
        self._first = [(call, self._copy(call, call.node), self._copy(call, gradient)) for call, gradient in recorded]
        self._places = {id(parameter): place for place, parameter in enumerate(matched_parameters(network))}

    def __call__(self, cotangents: Vectors) -> Tensor:
        """See Pullback."""
        filled = _filled(cotangents, self.lanes)
        weights = [weight for call, node, e in self._first for weight in call.layer.adjoint(node, e, self._of(call, filled))]
        differentiable = [(value, weight) for value, weight in zip(self._outputs, weights, strict=True) if value.requires_grad]
        (result,) = torch.autograd.grad(
            [value for value, _ in differentiable],
            self._images,
            [weight for _, weight in differentiable],
            retain_graph=True,
            materialize_grads=True,
        )
        return _by_class(result.unflatten(0, (self.lanes, -1)), self._classes)[: len(cotangents[0])]

    def _copy(self, call: Call, rows: Tensor) -> Tensor:
        return rows[: self._batch * call.rows].detach()

    def _of(self, call: Call, cotangents: Vectors) -> Vectors:
        return tuple(cotangents[self._places[id(parameter)]] for parameter in call.layer.parameters)


def generic_pullback(
    synthetic: Callable[[Tensor, Tensor], Vectors], images: Tensor, labels: Tensor, classes: int, count: int, byte_budget: int
) -> Pullback:
    """The pullback of any function from images and labels to vectors: what a new matching can return until it has a faster one."""
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        by_class = [synthetic(own, targets) for own, targets in zip(points.chunk(classes), labels.chunk(classes), strict=True)]
        psi = tuple(torch.stack(blocks) for blocks in zip(*by_class, strict=True))
    single = GenericPullback(psi, points, 1)
    lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
    return single if lanes == 1 else GenericPullback(psi, points, lanes)


def feature_pullback(network: Network, images: Tensor, classes: int, count: int, byte_budget: int) -> Pullback:
    """The pullback of features with as many lanes as `count` cotangents and the memory allow."""
    single = FeaturePullback(network, images, classes, 1)
    lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
    return single if lanes == 1 else FeaturePullback(network, images, classes, lanes)


def gradient_pullback(network: nn.Module, images: Tensor, labels: Tensor, classes: int, count: int, byte_budget: int) -> Pullback | None:
    """The same for gradients; None, with a notice in the log, for a network that the layers' rules do not cover."""
    try:
        single = GradientPullback(network, images, labels, classes, 1)
        lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
        return single if lanes == 1 else GradientPullback(network, images, labels, classes, lanes)
    except NoRule as reason:
        announce_generic_path(str(reason))
        return None


def lane_images(images: Tensor) -> int:
    """Images of all lanes of a tiled batch that suit the device on which `images` lie; a frame of a video counts as an image."""
    return LANE_IMAGES.get(images.device.type, LANE_IMAGES_ELSEWHERE)


def lanes_for(images: Tensor, count: int, lane_bytes: int, byte_budget: int) -> int:
    """Lanes for `count` cotangents, in calls of nearly equal size: bounded by what suits the device and by memory."""
    preferred = lane_images(images) // (len(images) * frames_of(images))
    most = max(1, min(count, preferred, byte_budget // max(lane_bytes, 1)))
    calls = -(-count // most)
    return -(-count // calls)


def _tile(images: Tensor, lanes: int) -> Tensor:
    return images.detach().repeat(lanes, *[1] * (images.dim() - 1)).requires_grad_()


def _by_class(found: Tensor, classes: int) -> Tensor:
    """`[k, K * M, ...]` to `[k, K, M, ...]`."""
    result: Tensor = found.unflatten(1, (classes, -1))
    return result


def _filled(cotangents: Vectors, lanes: int) -> Vectors:
    """Cotangents with exactly `lanes` rows, the missing ones zero."""
    missing = lanes - len(cotangents[0])
    if missing == 0:
        return cotangents
    return tuple(torch.cat([c, c.new_zeros(missing, *c.shape[1:])]) for c in cotangents)


@contextmanager
def _saved_bytes(network: nn.Module) -> Iterator[list[int]]:
    """Counts, in the first element of the list, the bytes that graphs built inside keep beyond the parameters."""
    counted = [0]
    seen = {parameter.data_ptr() for parameter in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            counted[0] += tensor.numel() * tensor.element_size()
        return tensor.detach()  # with its graph, an output saved by its own node would keep itself alive for ever

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield counted
