"""The synthetic side of one image step: losses and gradients of as many classes at once as memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from bilp.distill.step.batch import Target
from bilp.distill.step.setting import Setting
from bilp.images import augment
from bilp.images.augment import AugParams

# What one pass over the synthetic images may hold: activations and their derivatives, and the means they are matched to.
PASS_BYTES = 512 * 2**20
# Float32 values that a block of the ConvNet keeps per pixel and channel of its input, both passes of a gradient together.
VALUES_PER_PIXEL = 8


def classes_per_pass(setting: Setting) -> int:
    """Classes that share a pass; depends on sizes alone, so that results do not depend on the machine's memory."""
    height, width = setting.side
    image = VALUES_PER_PIXEL * height * width * setting.config.network.width
    mean = 2 * sum(parameter.numel() for parameter in setting.network.parameters())
    return max(1, PASS_BYTES // (4 * (setting.config.ipc * image + mean)))


def grouped(targets: Iterable[Target], size: int) -> Iterator[list[Target]]:
    """Consecutive groups of `size`; a target is only computed when its group's turn comes."""
    source = iter(targets)
    while group := list(islice(source, size)):
        yield group


def class_losses(setting: Setting, images: Tensor, labels: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """Loss of every class in `targets` `[K]`, and the gradient of their sum with respect to its images; detached.

    `images` `[K * ipc, C, H, W]` are the stored synthetic images of these classes in their order, `labels` `[K * ipc]` theirs.
    """
    stored = images.detach().requires_grad_()
    with torch.enable_grad():
        entering = augment_classes(stored, [target.batch.params for target in targets])
    means = [target.mean for target in targets]
    losses, gradient = setting.matching.distances_and_gradient(setting.network, entering.detach(), labels, means)
    if entering is not stored:
        (gradient,) = torch.autograd.grad(entering, stored, gradient, materialize_grads=True)
    return losses, gradient


def augment_classes(images: Tensor, params: Sequence[AugParams | None]) -> Tensor:
    """Apply to each class its own parameters `[1]`; `images` `[K * M, C, H, W]` hold M images of each of K classes.

    On the CPU, classes that drew the same family are augmented together; elsewhere all are.
    """
    each = len(images) // len(params)
    if images.device.type != augment.REFERENCE:
        return augment.apply_each(images, params, [each] * len(params))
    families: dict[str | None, list[int]] = {}
    for c, own in enumerate(params):
        families.setdefault(None if own is None else own.family, []).append(c)
    if list(families) == [None]:
        return images
    by_class = images.unflatten(0, (len(params), each))
    parts = []
    for family, members in families.items():
        chosen = by_class[members].flatten(0, 1)
        parts.append(chosen if family is None else augment.apply(chosen, _joined(family, [params[c] for c in members], each)))
    order = torch.tensor([c for members in families.values() for c in members], device=images.device).argsort()
    result: Tensor = torch.cat(parts).unflatten(0, (len(params), each))[order].flatten(0, 1)
    return result


def _joined(family: str, params: Sequence[AugParams | None], each: int) -> AugParams:
    """One set of parameters per image from one per class."""
    values = [own.values for own in params if own is not None]
    return AugParams(family, {name: torch.cat([value[name] for value in values]).repeat_interleave(each) for name in values[0]})
