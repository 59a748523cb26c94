"""The synthetic side of a matching for several classes at once: what one image step needs, in one pass.

Only the sums over a class's images are its own; everything between is the same network on one batch. The class by
class computation stays as the reference, and for networks whose layers have no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bilp.matching.alignment import AlignmentMatching
from bilp.matching.base import Matching, Vectors
from bilp.matching.batch_norm import require_independent_samples
from bilp.matching.features import FeatureMatching
from bilp.matching.gradients import GradientMatching
from bilp.matching.kernels import KernelMatching, kernels_of
from bilp.matching.per_sample import announce_generic_path
from bilp.matching.recording import Call, NoRule, matched_parameters, output_gradients, record
from bilp.nets import Network


def synthetic_vectors(matching: Matching, network: Network, images: Tensor, labels: Tensor, classes: int) -> Vectors:
    """psi of every class, the matching's `synthetic` with a leading axis K; detached.

    `images` `[K * M, C, H, W]` hold M images of each of K classes, class by class. Raises ConfigError as `synthetic` does.
    """
    if classes > 1 and type(matching) in (FeatureMatching, AlignmentMatching):
        return tuple(block.unflatten(0, (classes, -1)).mean(dim=1) for block in matching.real(network, images, labels))
    if classes > 1 and type(matching) in (GradientMatching, KernelMatching):
        require_independent_samples(network)
        try:
            loss, calls = record(network, images.detach().requires_grad_(), labels, twice=False)
            recorded = output_gradients(loss / (len(images) // classes), calls, create_graph=False)
            found = _summed(recorded, matched_parameters(network), classes)
            return kernels_of(found, network) if type(matching) is KernelMatching else found
        except NoRule as reason:
            announce_generic_path(str(reason))
    pairs = zip(images.detach().chunk(classes), labels.chunk(classes), strict=True)
    return tuple(torch.stack(blocks).detach() for blocks in zip(*(matching.synthetic(network, *pair) for pair in pairs), strict=True))


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
    loss, calls = record(network, points, labels, twice=True)
    with torch.enable_grad():
        recorded = output_gradients(loss / (len(images) // len(means)), calls, create_graph=True)
    parameters = matched_parameters(network)
    psi = [tuple(block) for block in zip(*_summed(recorded, parameters, len(means)), strict=True)]
    distances = [matching.distance(mean, own) for mean, own in zip(means, psi, strict=True)]
    by_class = [matching.cotangent(mean, own) for mean, own in zip(means, psi, strict=True)]
    q = {id(parameter): torch.stack(blocks).unsqueeze(0) for parameter, *blocks in zip(parameters, *by_class, strict=True)}
    outputs: list[Tensor] = []
    weights: list[Tensor] = []
    for call, gradient in recorded:
        outputs += [gradient, call.node]
        weights += call.layer.adjoint(call.node.detach(), gradient.detach(), tuple(q[id(p)] for p in call.layer.parameters))
    kept = [(output, weight) for output, weight in zip(outputs, weights, strict=True) if output.requires_grad]
    (result,) = torch.autograd.grad([output for output, _ in kept], points, [weight for _, weight in kept], materialize_grads=True)
    return torch.stack(distances), result


def _summed(recorded: Sequence[tuple[Call, Tensor]], parameters: Sequence[nn.Parameter], classes: int) -> Vectors:
    """The gradient of every class by each parameter, blocks `[K, rows, columns]`, detached."""
    sums: dict[int, Tensor] = {}
    for call, gradient in recorded:
        values = call.layer.summed(call.node.detach(), gradient.detach(), classes)
        for parameter, value in zip(call.layer.parameters, values, strict=True):
            known = sums.get(id(parameter))
            sums[id(parameter)] = value if known is None else known + value
    return tuple(sums[id(p)] if id(p) in sums else p.new_zeros(classes, len(p), p[0].numel()) for p in parameters)
