"""The synthetic side of one image step: losses and gradients of as many classes at once as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from bilp.distill.step.batch import Target
from bilp.distill.step.setting import Setting
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.multiformation import decode_classes, gray
from bilp.images.siamese import joined
from bilp.matching import Matching
from bilp.nets.by_device import ByDevice

Thing = TypeVar("Thing")
Term = Callable[[Tensor, Tensor, int], Tensor]
"""What is added to the distances of K classes: `[K]`, of the images `[K * n, C, H, W]` that enter the network, class by class, of
their labels `[K * n]`, and K."""

# What one pass over the synthetic images may hold: activations and their derivatives, and the means they are matched to.
PASS_BYTES = ByDevice(cpu=512 * 2**20, gpu=512 * 2**20, large=8 * 2**30)
# Float32 values that a block of the ConvNet keeps per pixel and channel of its input, both passes of a gradient together.
VALUES_PER_PIXEL = 8


def classes_per_pass(setting: Setting) -> int:
    """Classes that share a pass; depends on sizes and the kind of device alone, so that results do not depend on free memory."""
    return max(1, PASS_BYTES.on(setting.device) // (setting.entering * image_bytes(setting) + mean_bytes(setting)))


def image_bytes(setting: Setting) -> int:
    """About what a pass over an image, or a clip, that enters the network holds."""
    height, width = setting.side
    return 4 * VALUES_PER_PIXEL * setting.frames * height * width * setting.config.network.width


def mean_bytes(setting: Setting) -> int:
    """About what the mean of a class takes, and the synthetic vector that is matched to it.

    On a CPU as if gradients were matched, whatever is: larger passes gain nothing there, and others would round otherwise.
    """
    matching, network = setting.matching, setting.network
    return 4 * 2 * (Matching.values(matching, network) if setting.device.type == "cpu" else matching.values(network))


def grouped(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """Consecutive groups of `size`; a target, or whatever is grouped, is only computed when its group's turn comes."""
    source = iter(things)
    while group := list(islice(source, size)):
        yield group


def class_losses(
    setting: Setting, images: Tensor, labels: Tensor, targets: Sequence[Target], chosen: Tensor | None = None, term: Term | None = None
) -> tuple[Tensor, Tensor]:
    """Loss of every class in `targets` `[K]`, and the gradient of their sum with respect to its images; detached.

    Args:
        setting: what stays fixed.
        images: the stored synthetic images of these classes in their order `[K * ipc, C, H, W]`.
        labels: those of the images that enter the network, int64 `[K * n]`.
        targets: what each class is matched to.
        chosen: numbers of the decoded images that enter (`Setting.choose_decoded_by_class`); None for all.
        term: what is added to the distances.
    """
    stored = images.detach().requires_grad_()
    with torch.enable_grad():
        entering = network_inputs(setting, stored, [target.batch.params for target in targets], chosen)
    points = entering.detach()
    losses, gradient = setting.matching.distances_and_gradient(setting.network, points, labels, [target.mean for target in targets])
    if term is not None:
        points.requires_grad_()
        with torch.enable_grad():
            added = term(points, labels, len(targets))
        losses, gradient = losses + added.detach(), gradient + torch.autograd.grad(added.sum(), points)[0]
    if entering is not stored:
        (gradient,) = torch.autograd.grad(entering, stored, gradient, materialize_grads=True)
    return losses, gradient


def network_inputs(setting: Setting, images: Tensor, params: Sequence[AugParams | None], chosen: Tensor | None) -> Tensor:
    """`Setting.network_inputs` of several classes `[K * ipc, C, H, W]` at once: `[K * n, C, H, W]`."""
    dataset = setting.pool.dataset
    decoded = decode_classes(images, setting.config.decode, gray(dataset.mean, dataset.std, setting.device), len(params))
    return augment_classes(decoded if chosen is None else decoded[chosen], params)


def augment_classes(images: Tensor, params: Sequence[AugParams | None]) -> Tensor:
    """Apply to each class its own parameters `[1]`; `images` `[K * M, C, H, W]` hold M images of each of K classes.

    On a CPU, classes that drew the same family are augmented together; where several were drawn, it is one family after the other.
    Elsewhere all classes are augmented together.
    """
    if images.device.type != augment.REFERENCE:
        return augment.apply_each(images, params, [len(images) // len(params)] * len(params))
    links = list(params)
    while any(link is not None for link in links):
        images, links = _augment_once(images, links), [None if link is None else link.then for link in links]
    return images


def _augment_once(images: Tensor, params: Sequence[AugParams | None]) -> Tensor:
    """Apply to each class the first of its families."""
    each = len(images) // len(params)
    families: dict[str | None, list[int]] = {}
    for c, own in enumerate(params):
        families.setdefault(None if own is None else own.family, []).append(c)
    by_class = images.unflatten(0, (len(params), each))
    parts = []
    for family, members in families.items():
        chosen = by_class[members].flatten(0, 1)
        parts.append(chosen if family is None else augment.apply(chosen, joined(family, [params[c] for c in members], each)))
    order = torch.tensor([c for members in families.values() for c in members], device=images.device).argsort()
    result: Tensor = torch.cat(parts).unflatten(0, (len(params), each))[order].flatten(0, 1)
    return result
