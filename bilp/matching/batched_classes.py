"""The gradients of several classes' synthetic images at once: what one image step of gradient matching needs, in one pass.

Only the sums over a class's images are its own; everything between is the same network on one batch. Raises NoRule where
the layers' rules do not cover a network; the base class's computation, class by class, is the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bilp.matching.base import Matching
from bilp.matching.jacobian import Vectors
from bilp.matching.recording import Call, calls_of, cotangents_of, output_gradients, record
from bilp.nets import Network


def gradients_by_class(network: Network, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], classes: int) -> Vectors:
    """Gradient of the mean cross-entropy of every class, one block `[K, rows, columns]` per parameter, detached.

    Args:
        network: Its samples must not influence each other.
        images: `[K * M, C, H, W]`, M images of each class, class by class.
        labels: int64 `[K * M]`.
        parameters: Those with respect to which the loss is differentiated.
        classes: K.

    Raises:
        NoRule: A layer has none.
    """
    loss, calls = record(network, images.detach().requires_grad_(), labels, twice=False)
    recorded = output_gradients(loss / (len(images) // classes), calls, create_graph=False)
    return _summed(recorded, parameters, classes)


def means_by_class(
    network: Network, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter], classes: int, shares: Tensor | None
) -> Vectors:
    """Gradient of the mean cross-entropy of every class's real samples, one block `[K, rows, columns]` per parameter, detached.

    Args:
        network: Its samples must not influence each other.
        images: `[K * B, C, H, W]`, B samples of each class, class by class.
        labels: int64 `[K * B]`.
        parameters: Those with respect to which the loss is differentiated.
        classes: K.
        shares: How much of its class's mean a sample is, `[K * B]`; without them all samples of a class are equal parts.

    Raises:
        NoRule: A layer has none.
    """
    loss, calls = record(network, images.detach().requires_grad_(), labels, twice=False, weights=shares)
    if shares is None:
        loss = loss / (len(images) // classes)
    means = _summed(output_gradients(loss, calls, create_graph=False), parameters, classes)
    return tuple(mean.to(parameter.dtype) for mean, parameter in zip(means, parameters, strict=True))  # layers may compute in bfloat16


def pulled_distances(
    matching: Matching,
    network: Network,
    images: Tensor,
    labels: Tensor,
    parameters: Sequence[nn.Parameter],
    means: Sequence[Vectors],
) -> tuple[Tensor, Tensor]:
    """Distances `[K]` and the gradient J^T q of their sum with respect to the images, with q = dD/dpsi in closed form; detached.

    A forward and a backward pass of the whole batch, whose layers' inputs and output gradients give each class its psi and
    carry each class's q back, and one pass through both (see `layer_rules`).

    Args:
        matching: Its distances and cotangents of all classes are used.
        network: Its samples must not influence each other.
        images: `[K * M, C, H, W]`, M images of each class, class by class.
        labels: int64 `[K * M]`.
        parameters: Those whose gradients are psi, one block each.
        means: mu of each of the K classes.

    Raises:
        NoRule: A layer has none.
    """
    points = images.detach().requires_grad_()
    loss, calls = record(network, points, labels, twice=True)
    with torch.enable_grad():
        recorded = output_gradients(loss / (len(images) // len(means)), calls, create_graph=True)
    psi = _summed(recorded, parameters, len(means))
    mu = tuple(torch.stack(blocks) for blocks in zip(*means, strict=True))
    q = {id(parameter): block.unsqueeze(0) for parameter, block in zip(parameters, matching.cotangents_by_class(mu, psi), strict=True)}
    outputs: list[Tensor] = []
    weights: list[Tensor] = []
    for call, gradient in calls_of(recorded, parameters):
        outputs += [gradient, call.node]
        weights += call.layer.adjoint(call.node.detach(), gradient.detach(), cotangents_of(call, q))
    kept = [(output, weight) for output, weight in zip(outputs, weights, strict=True) if output.requires_grad]
    (result,) = torch.autograd.grad([output for output, _ in kept], points, [weight for _, weight in kept], materialize_grads=True)
    return matching.distances_by_class(mu, psi), result


def _summed(recorded: Sequence[tuple[Call, Tensor]], parameters: Sequence[nn.Parameter], classes: int) -> Vectors:
    """The gradient of every class with respect to each parameter, blocks `[K, rows, columns]`, detached."""
    sums: dict[int, Tensor] = {}
    for call, gradient in calls_of(recorded, parameters):
        # Under autocast a layer rounds its input after it was recorded.
        values = call.layer.summed(call.node.detach().to(gradient.dtype), gradient.detach(), classes)
        for parameter, value in zip(call.layer.parameters, values, strict=True):
            known = sums.get(id(parameter))
            sums[id(parameter)] = value if known is None else known + value
    return tuple(sums[id(p)] if id(p) in sums else p.new_zeros(classes, len(p), p[0].numel()) for p in parameters)
