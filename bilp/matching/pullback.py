"""Many products with the transposed Jacobian of psi(S), through the synthetic batch alone.

The batch, of one class or of several, is tiled once per lane; every call then differentiates one ordinary graph, with
another cotangent of every class in every lane (docs/notation.md). The cotangents of a gradient's psi do not even enter that graph: they act
on the inputs and output gradients of the layers (see `layer_rules`), and what reaches the graph are cotangents of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bilp.matching.jacobian import Pullback, Vectors, by_class, lanes_for
from bilp.matching.per_sample import announce_generic_path
from bilp.matching.recording import Call, NoRule, calls_of, cotangents_of, output_gradients, record
from bilp.nets import Network

ToFeatures = Callable[[Vectors], Tensor]
"""From cotangents of psi of every class, leading axes k and K, to those of the features of every image `[k, K * M, F]`."""


class FeaturePullback:
    """J^T of the mean embedding, or of another function of embeddings."""

    def __init__(self, network: Network, images: Tensor, classes: int, lanes: int, to_features: ToFeatures | None = None) -> None:
        self.lanes, self._to_features = lanes, to_features
        self._classes, self._each = classes, len(images) // classes
        self._images = _tile(images, lanes)
        with torch.enable_grad(), _saved_bytes(network) as saved:
            self._features = network.embed(self._images)
        self.lane_bytes = saved[0] // lanes

    def __call__(self, cotangents: Vectors) -> Tensor:
        filled = _filled(cotangents, self.lanes)
        spread = (self._of_the_mean(filled) if self._to_features is None else self._to_features(filled)).flatten(0, 1)
        (result,) = torch.autograd.grad(self._features, self._images, spread, retain_graph=True)
        return by_class(result.unflatten(0, (self.lanes, -1)), self._classes)[: len(cotangents[0])]

    def _of_the_mean(self, cotangents: Vectors) -> Tensor:
        (c,) = cotangents
        return (c / self._each).repeat_interleave(self._each, dim=1)


class GradientPullback:
    """J^T of the gradient of the mean cross-entropy with respect to the matched parameters. Raises NoRule."""

    def __init__(
        self, network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], classes: int, lanes: int
    ) -> None:
        """As `gradient_pullback`, for exactly `lanes` cotangents of every class at once."""
        self.lanes = lanes
        self._classes, self._batch = classes, len(images)
        self._images = _tile(images, lanes)
        with torch.enable_grad(), _saved_bytes(network) as saved:
            loss, calls = record(network, self._images, labels.repeat(lanes), twice=True)
            recorded = output_gradients(loss / (len(images) // classes), calls, create_graph=True)
        recorded = calls_of(recorded, parameters)
        self.lane_bytes = saved[0] // lanes
        self._outputs = [tensor for call, gradient in recorded for tensor in (gradient, call.node)]
        # All lanes hold the same images, so one copy of what the cotangents act on is enough.
        self._first = [(call, self._copy(call, call.node), self._copy(call, gradient)) for call, gradient in recorded]
        self._parameters = parameters

    def __call__(self, cotangents: Vectors) -> Tensor:
        filled = _filled(cotangents, self.lanes)
        known = {id(parameter): block for parameter, block in zip(self._parameters, filled, strict=True)}
        weights = [weight for call, node, e in self._first for weight in call.layer.adjoint(node, e, cotangents_of(call, known))]
        differentiable = [(value, weight) for value, weight in zip(self._outputs, weights, strict=True) if value.requires_grad]
        (result,) = torch.autograd.grad(
            [value for value, _ in differentiable],
            self._images,
            [weight for _, weight in differentiable],
            retain_graph=True,
            materialize_grads=True,
        )
        return by_class(result.unflatten(0, (self.lanes, -1)), self._classes)[: len(cotangents[0])]

    def _copy(self, call: Call, rows: Tensor) -> Tensor:
        return rows[: self._batch * call.rows].detach()


def feature_pullback(
    network: Network, images: Tensor, classes: int, count: int, byte_budget: int, to_features: ToFeatures | None = None
) -> Pullback:
    """The pullback of features with as many lanes as `count` cotangents and the memory allow.

    Args:
        network: Its samples must not influence each other.
        images: `[K * M, C, H, W]`, class by class.
        classes: K.
        count: Cotangents of every class to prepare for.
        byte_budget: Bytes that may be kept between calls; one cotangent of every class may need more.
        to_features: What psi is of the features; without it their mean.
    """
    single = FeaturePullback(network, images, classes, 1, to_features)
    lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
    return single if lanes == 1 else FeaturePullback(network, images, classes, lanes, to_features)


def gradient_pullback(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    parameters: Sequence[nn.Parameter],
    classes: int,
    count: int,
    byte_budget: int,
) -> Pullback | None:
    """The same for gradients; None, with a notice in the log, for a network that the layers' rules do not cover.

    Args:
        network: Its samples must not influence each other.
        images: `[K * M, C, H, W]`, class by class.
        labels: int64 `[K * M]`.
        parameters: Those whose gradients are psi, one block each.
        classes: K.
        count: Cotangents of every class to prepare for.
        byte_budget: Bytes that may be kept between calls; one cotangent of every class may need more.
    """
    try:
        single = GradientPullback(network, images, labels, parameters, classes, 1)
        lanes = lanes_for(images, count, single.lane_bytes, byte_budget)
        return single if lanes == 1 else GradientPullback(network, images, labels, parameters, classes, lanes)
    except NoRule as reason:
        announce_generic_path(str(reason))
        return None


def _tile(images: Tensor, lanes: int) -> Tensor:
    return images.detach().repeat(lanes, *[1] * (images.dim() - 1)).requires_grad_()


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
