"""Gradients of every sample's cross-entropy with respect to the matched parameters: the hot path of gradient matching.

The fast path takes them from one ordinary forward and backward pass (see `layer_rules`). `per_sample_by_vmap` computes the
same with torch.func, for networks with layers that have no rule, and as the reference of the tests.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from bilp.matching.jacobian import Vectors
from bilp.matching.recording import NoRule, calls_of, matched_parameters, output_gradients, record
from bilp.nets.by_device import ByDevice
from bilp.nets.clips import frames_of

# Activations of so many images stay in a CPU's cache; a GPU wants large batches, a large one as many pixels as 4096 images of CIFAR-10.
MICRO_BATCH = ByDevice(cpu=32, gpu=256, large=256)
MICRO_BATCH_PIXELS = ByDevice(cpu=0, gpu=0, large=4096 * 32 * 32)

logger = logging.getLogger(__name__)


def micro_batch_size(images: Tensor, weight: int = 1) -> int:
    """Samples per pass that suit the device on which `images` lie; a frame of a video counts as an image.

    `weight` is what a pass holds of an image, in units of what one for the gradients of samples holds.
    """
    height, width = images.shape[-2:]
    size = max(MICRO_BATCH.on(images.device), MICRO_BATCH_PIXELS.on(images.device) // (weight * height * width))
    return max(1, size // frames_of(images))


def micro_batches(images: Tensor) -> list[slice]:
    """Slices of `[B, ...]` of that size."""
    size = micro_batch_size(images)
    return [slice(start, min(start + size, len(images))) for start in range(0, len(images), size)]


def per_sample_gradients(network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter] | None = None) -> Vectors:
    """One block `[B, rows, columns]` per parameter, of images `[B, C, H, W]` with labels `[B]`; detached.

    Without `parameters`, of all that have two or more dimensions, in the network's order. Memory: the result and the
    activations of one micro-batch. Samples must not influence each other.
    """
    parameters = matched_parameters(network) if parameters is None else parameters
    slices = micro_batches(images)
    if len(slices) == 1:
        return _one_micro_batch(network, images, labels, parameters)
    blocks = tuple(parameter.new_empty(len(images), len(parameter), parameter[0].numel()) for parameter in parameters)
    for rows in slices:
        for block, values in zip(blocks, _one_micro_batch(network, images[rows], labels[rows], parameters), strict=True):
            block[rows] = values
    return blocks


def _one_micro_batch(network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter]) -> Vectors:
    try:
        return _by_rules(network, images, labels, parameters)
    except NoRule as reason:
        announce_generic_path(str(reason))
        return per_sample_by_vmap(network, images, labels, parameters)


def per_sample_by_vmap(network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter] | None = None) -> Vectors:
    """The same for any network, many times slower."""
    values = {name: parameter.detach() for name, parameter in network.named_parameters()}
    chosen = {id(parameter) for parameter in (matched_parameters(network) if parameters is None else parameters)}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in chosen]

    def loss(matched: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, {**values, **matched}, (image.unsqueeze(0),))
        return functional.cross_entropy(logits, label.unsqueeze(0))

    found = vmap(grad(loss), in_dims=(None, 0, 0))({name: values[name] for name in names}, images.detach(), labels)
    return tuple(found[name].flatten(2) for name in names)


@functools.cache
def announce_generic_path(reason: str) -> None:
    """Say once per process why the slow path is taken."""
    logger.warning("per-sample gradients take the slow generic path: %s", reason)


def _by_rules(network: nn.Module, images: Tensor, labels: Tensor, parameters: Sequence[nn.Parameter]) -> Vectors:
    loss, calls = record(network, images.detach().requires_grad_(), labels, twice=False)
    sums: dict[int, Tensor] = {}
    for call, gradient in calls_of(output_gradients(loss, calls, create_graph=False), parameters):
        # Under autocast a layer rounds its input after it was recorded.
        contributions = call.layer.outer(call.node.detach().to(gradient.dtype), gradient)
        for parameter, values in zip(call.layer.parameters, contributions, strict=True):
            known = sums.get(id(parameter))
            sums[id(parameter)] = values if known is None else known + values
    return tuple(_or_zeros(sums.get(id(parameter)), parameter, len(images)) for parameter in parameters)


def _or_zeros(values: Tensor | None, parameter: nn.Parameter, batch: int) -> Tensor:
    return parameter.new_zeros(batch, len(parameter), parameter[0].numel()) if values is None else values


def blocks_of(gradients: Sequence[Tensor]) -> Vectors:
    """Gradients, in their parameters' shapes, of matched parameters as blocks `[rows, columns]`."""
    return tuple(gradient.flatten(1) for gradient in gradients)
