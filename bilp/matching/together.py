"""The synthetic side of a matching for several classes at once: what one image step needs, in one pass.

Only the sums over a class's images are its own; everything between is the same network on one batch. The class by
class computation stays as the reference, and for networks whose layers have no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.per_sample import announce_generic_path
from bilp.matching.protocol import Matching, Vectors
from bilp.matching.recording import NoRule, matched_parameters, output_gradients, record
from bilp.matching.statistics import require_independent_samples
from bilp.nets import Network


def distances_and_gradient(
    matching: Matching, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]
) -> tuple[Tensor, Tensor]:
    """Distance of every class's synthetic vector to its mean `[K]`, and the gradient of their sum by `images`; detached.

    `images` `[K * M, C, H, W]` hold M images of each of K classes, class by class. Raises ConfigError as the matching's
    `synthetic` does.
    """
    if type(matching) is FeatureMatching:
        return _features(matching, network, images, means)
    if type(matching) is GradientMatching:
        try:
            return _gradients(matching, network, images, labels, means)
        except NoRule as reason:
            announce_generic_path(str(reason))
    return class_by_class(matching, network, images, labels, means)


def class_by_class(matching: Matching, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
    """The same by its definition: autograd through each class on its own."""
    distances, gradients = [], []
    for own, own_labels, mean in zip(images.chunk(len(means)), labels.chunk(len(means)), means, strict=True):
        points = own.detach().requires_grad_()
        distance = matching.distance(mean, matching.synthetic(network, points, own_labels))
        gradients.append(torch.autograd.grad(distance, points, materialize_grads=True)[0])
        distances.append(distance.detach())
    return torch.stack(distances), torch.cat(gradients)


def _features(matching: FeatureMatching, network: Network, images: Tensor, means: Sequence[Vectors]) -> tuple[Tensor, Tensor]:
    require_independent_samples(network)
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        psi = network.embed(points).unflatten(0, (len(means), -1)).mean(dim=1)
        distances = torch.stack([matching.distance(mean, (own,)) for mean, own in zip(means, psi, strict=True)])
    (gradient,) = torch.autograd.grad(distances.sum(), points, materialize_grads=True)
    return distances.detach(), gradient


def _gradients(
    matching: GradientMatching, network: Network, images: Tensor, labels: Tensor, means: Sequence[Vectors]
) -> tuple[Tensor, Tensor]:
    """J^T q with q = dD/dpsi in closed form: a forward and a backward pass of the whole batch, whose layers' inputs and
    output gradients give each class its psi and carry each class's q back, and one pass through both (see `layers`).
    """
    require_independent_samples(network)
    points = images.detach().requires_grad_()
    each = len(images) // len(means)
    loss, calls = record(network, points, labels, twice=True)
    with torch.enable_grad():
        recorded = output_gradients(loss / each, calls, create_graph=True)
    parameters = matched_parameters(network)
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    nodes = [call.node.detach().chunk(len(means)) for call, _ in recorded]
    gradients = [gradient.detach().chunk(len(means)) for _, gradient in recorded]
    distances: list[Tensor] = []
    weights: list[list[Tensor]] = [[] for _ in range(2 * len(recorded))]
    for c, mean in enumerate(means):
        psi = [parameter.new_zeros(len(parameter), parameter[0].numel()) for parameter in parameters]
        for (call, _), node, gradient in zip(recorded, nodes, gradients, strict=True):
            for parameter, value in zip(call.layer.parameters, call.layer.summed(node[c], gradient[c]), strict=True):
                psi[places[id(parameter)]] += value
        distances.append(matching.distance(mean, tuple(psi)))
        q = tuple(block.unsqueeze(0) for block in matching.cotangent(mean, tuple(psi)))
        for k, ((call, _), node, gradient) in enumerate(zip(recorded, nodes, gradients, strict=True)):
            own = tuple(q[places[id(parameter)]] for parameter in call.layer.parameters)
            for place, part in enumerate(call.layer.adjoint(node[c], gradient[c], own)):
                weights[2 * k + place].append(part)
    outputs = [tensor for call, gradient in recorded for tensor in (gradient, call.node)]
    kept = [(output, torch.cat(parts)) for output, parts in zip(outputs, weights, strict=True) if output.requires_grad]
    (result,) = torch.autograd.grad([output for output, _ in kept], points, [part for _, part in kept], materialize_grads=True)
    return torch.stack(distances), result
