"""DM, DC and DSA once more, in the most direct way: whole batches, one graph over all classes, plain autograd.

Shares with the program only the definition of the random streams, the augmentation and the networks. Slow.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.images import augment
from bilp.nets import Network, build, initialize
from bilp.seeds import generator


def distill_slowly(config: DistillConfig, pool: RealPool, images: Tensor, iterations: int) -> tuple[Tensor, list[float]]:
    """Images after `iterations` image updates from `images`, and the loss of each iteration."""
    images, velocity = images.clone(), torch.zeros_like(images)
    labels = torch.arange(pool.classes).repeat_interleave(config.ipc)
    side = (images.shape[2], images.shape[3])
    curve = []
    for t in range(iterations):
        network = build(config.network, pool.dataset.shape, pool.classes)
        initialize(network, generator(config.seed, "network", t))
        outer_loops = 1 if config.method == "dm" else config.outer_loops
        losses = []
        for outer in range(outer_loops):
            leaf = images.clone().requires_grad_()
            total = torch.zeros(())
            for c in range(pool.classes):
                order = torch.randperm(len(pool.by_class[c]), generator=generator(config.seed, "real", t, outer, c))
                chosen = pool.by_class[c][order[: config.batch_real]]
                params = augment.draw(config.augment, side, generator(config.seed, "augment", t, outer, c))
                real = augment.apply(pool.dataset.train.batch(chosen), params)
                synthetic = augment.apply(leaf[labels == c], params)
                total = total + _distance(config, network, real, synthetic, c)
            total.backward()
            assert leaf.grad is not None
            velocity = config.momentum * velocity + leaf.grad
            images = images - config.learning_rate * velocity
            losses.append(total.item() / pool.classes)
            if outer < outer_loops - 1:
                _train(config, network, images, labels, t, outer)
        curve.append(sum(losses) / len(losses))
    return images, curve


def _distance(config: DistillConfig, network: Network, real: Tensor, synthetic: Tensor, label: int) -> Tensor:
    if config.method == "dm":
        return (network.embed(real).mean(0).detach() - network.embed(synthetic).mean(0)).square().sum()
    total = torch.zeros(())
    targets = [torch.full((len(batch),), label) for batch in (real, synthetic)]
    parameters = list(network.parameters())
    wanted = torch.autograd.grad(functional.cross_entropy(network(real), targets[0]), parameters)
    found = torch.autograd.grad(functional.cross_entropy(network(synthetic), targets[1]), parameters, create_graph=True)
    for one, other in zip(wanted, found, strict=True):
        if one.dim() < 2:  # biases and scales contribute nothing
            continue
        for a, b in zip(one.flatten(1), other.flatten(1), strict=True):
            total = total + 1 - (a @ b) / (a.norm() * b.norm() + 1e-6)
    return total


def _train(config: DistillConfig, network: Network, images: Tensor, labels: Tensor, t: int, outer: int) -> None:
    order, parameters = generator(config.seed, "order", t, outer), generator(config.seed, "train_augment", t, outer)
    families = config.augment if config.method == "dsa" else ()
    for _ in range(config.inner_epochs):
        shuffled = torch.randperm(len(images), generator=order)
        for start in range(0, len(images), config.batch_train):
            rows = shuffled[start : start + config.batch_train]
            drawn = augment.draw(families, (images.shape[2], images.shape[3]), parameters, count=len(rows))
            loss = functional.cross_entropy(network(augment.apply(images[rows], drawn)), labels[rows])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for weight, gradient in zip(network.parameters(), gradients, strict=True):
                    weight -= config.network_learning_rate * gradient
