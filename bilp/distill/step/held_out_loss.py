"""Which way the synthetic images should move: the gradient of the loss on real training images that are held out.

The candidates of every class are cut in two halves. A network takes some steps of SGD on the synthetic images, and its loss on
images of one half is differentiated with respect to the synthetic images, through all steps. The direction that a sample is judged
by comes from the half that it does not belong to, and never from images of the test split.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bilp.distill.step.setting import Setting
from bilp.nets import Network, initialize
from bilp.seeds import generator

# Step size of the network on the synthetic images: that of evaluations that begin with few images, without momentum.
RATE = 0.1
# Held-out images of a class and half, and of all classes together.
PER_CLASS, TOGETHER = 64, 2048


def halves(setting: Setting) -> Tensor:
    """The half, 0 or 1, of every sample of the train split, int64 `[N]`, fixed for the run; -1 for those that are no candidates."""
    result = torch.full((len(setting.pool.dataset.train),), -1, dtype=torch.int64)
    for c in setting.classes:
        ids = setting.pool.by_class[c]
        shuffled = ids[torch.randperm(len(ids), generator=generator(setting.config.seed, "held_out_halves", c))]
        result[shuffled] = torch.arange(len(shuffled)) % 2
    return result


def held_out_directions(setting: Setting, synthetic: Tensor, half_of: Tensor, *path: str | int) -> Tensor:
    """What the samples of each half are judged by: unit directions per class, `[2, classes * ipc, C, H, W]`, detached.

    The arguments are those of `held_out_gradients`.
    """
    by_class = held_out_gradients(setting, synthetic, half_of, *path).unflatten(1, (len(setting.classes), -1))
    lengths = torch.linalg.vector_norm(by_class.flatten(2), dim=2)
    shape = (*lengths.shape, *[1] * (by_class.dim() - 2))
    unit: Tensor = by_class / torch.where(lengths > 0, lengths, torch.ones_like(lengths)).view(shape)
    return unit.flatten(1, 2)


def held_out_gradients(setting: Setting, synthetic: Tensor, half_of: Tensor, *path: str | int) -> Tensor:
    """Gradients of the losses on held-out images, for the samples of each half that of the other, `[2, classes * ipc, C, H, W]`, detached.

    Args:
        setting: what stays fixed.
        synthetic: all synthetic images `[classes * ipc, C, H, W]`, of the classes of the setting.
        half_of: see `halves`.
        path: names of the streams of what is drawn.
    """
    network = copy.deepcopy(setting.network)
    initialize(network, generator(setting.config.seed, "held_out_network", *path))
    network.train()
    images = synthetic.detach().clone().requires_grad_()
    labels = torch.cat([setting.class_labels(c, setting.config.ipc) for c in setting.classes])
    with torch.enable_grad():
        parameters = _after_steps(setting, network, images, labels, *path)
        losses = [_loss(setting, network, parameters, half_of, 1 - half, *path) for half in (0, 1)]
        gradients = [torch.autograd.grad(loss, images, retain_graph=True)[0] for loss in losses]
    return torch.stack(gradients).detach()


def _after_steps(setting: Setting, network: Network, images: Tensor, labels: Tensor, *path: str | int) -> dict[str, Tensor]:
    """The parameters after `held_out_steps` steps on mini-batches of the synthetic images, as functions of these."""
    parameters = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    stream, size = generator(setting.config.seed, "held_out_order", *path), setting.config.batch_train
    for _ in range(setting.reselect.held_out_steps):
        rows = torch.randperm(len(images), generator=stream)[:size].to(images.device)
        loss = functional.cross_entropy(functional_call(network, parameters, (images[rows],)), labels[rows])
        found = torch.autograd.grad(loss, list(parameters.values()), create_graph=True, materialize_grads=True)
        parameters = {name: value - RATE * step for (name, value), step in zip(parameters.items(), found, strict=True)}
    return parameters


def _loss(setting: Setting, network: Network, parameters: dict[str, Tensor], half_of: Tensor, half: int, *path: str | int) -> Tensor:
    """Mean cross-entropy on images of a half, equally many of each class if there are."""
    count = max(1, min(PER_CLASS, TOGETHER // len(setting.classes)))
    ids = []
    for c in setting.classes:
        own = setting.pool.by_class[c]
        ids.append(setting.pool.draw(c, count, generator(setting.config.seed, "held_out", *path, c), among=own[half_of[own] == half]))
    drawn = torch.cat(ids)
    labels = torch.cat([setting.class_labels(c, len(own)) for c, own in zip(setting.classes, ids, strict=True)])
    images = setting.pool.images(drawn, setting.device).to(next(iter(parameters.values())).dtype)
    return functional.cross_entropy(functional_call(network, parameters, (images,)), labels)
