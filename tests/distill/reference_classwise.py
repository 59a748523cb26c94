"""IDC, DREAM and IDM once more, in the most direct way: pixels in [0, 1] that are normalized on the fly (IDC, DREAM), the
library's interpolation, one optimiser step per class on the whole tensor, whole batches, plain autograd. Slow.

Shares with the program only the definition of the random streams, the augmentation, the networks and k-means.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.step.kmeans import EQUAL, kmeans, nearest_members
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix
from bilp.nets import Network, build, initialize
from bilp.seeds import generator


class Slow:
    """A run of `iterations` iterations from normalized `images`, those of `classes` or of all; afterwards `images` and `curve`
    hold the outcome."""

    def __init__(self, config: DistillConfig, pool: RealPool, images: Tensor, classes: range | None = None) -> None:
        self.config, self.pool, self.curve = config, pool, list[float]()
        self.classes = classes or range(pool.classes)
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (pool.dataset.mean, pool.dataset.std))
        self.as_pixels = config.method != "idm"
        self.leaf = (images * self.std + self.mean if self.as_pixels else images.clone()).requires_grad_()
        self.optimiser = torch.optim.SGD([self.leaf], lr=config.learning_rate, momentum=config.momentum)
        self.labels = torch.tensor(self.classes).repeat_interleave(config.ipc)
        self.nets: list[tuple[Network, torch.optim.SGD, int, int]] = []  # idm: network, its optimizer, images right, images seen
        self.born = 0

    @property
    def images(self) -> Tensor:
        """Normalized."""
        leaf = self.leaf.detach()
        return (leaf - self.mean) / self.std if self.as_pixels else leaf

    def run(self, iterations: int) -> None:
        for t in range(iterations):
            if self.config.method == "idm":
                self._iteration_of_idm(t)
            else:
                self._iteration_of_idc(t)

    # --- what both share ---

    def fresh(self, *path: str | int) -> Network:
        network = build(self.config.network, self.pool.dataset.shape, self.pool.classes)
        initialize(network, generator(self.config.seed, *path))
        return network

    def drawn(self, t: int, step: int, c: int) -> Tensor:
        order = torch.randperm(len(self.pool.by_class[c]), generator=generator(self.config.seed, "real", t, step, c))
        return self.pool.by_class[c][order[: self.config.batch_real]]

    def params(self, t: int, step: int, c: int) -> AugParams | None:
        draw = augment.draw if self.config.method == "idm" else augment.draw_combined
        side = (self.leaf.shape[2], self.leaf.shape[3])
        return draw(self.config.augment, side, generator(self.config.seed, "augment", t, step, c))

    def entering(self, c: int, params: AugParams | None, place: tuple[int, int]) -> Tensor:
        own = self.leaf[self.labels == c]
        config, parts = self.config.decode, []
        factors = range(1, config.factor + 1) if config.kind == "multi" else [config.factor]
        height, width = own.shape[2:]
        for f in factors:
            h, w = -(-height // f), -(-width // f)
            # Pixels are filled up with 0.5; of normalized images that would be 0.5 of their pixels too.
            filling = 0.5 if self.as_pixels else float((0.5 - self.mean).flatten()[0] / self.std.flatten()[0])
            wide = functional.pad(own, (0, f * w - width, 0, f * h - height), value=filling)
            crops = [wide[:, :, y * h : y * h + h, x * w : x * w + w] for y in range(f) for x in range(f)]
            larger = [functional.interpolate(crop, (height, width), mode="bilinear") for crop in crops]
            parts.append(torch.stack(larger, dim=1).flatten(0, 1))
        decoded = torch.cat(parts)
        if self.as_pixels and len(decoded) > config.bound:
            order = torch.randperm(len(decoded), generator=generator(self.config.seed, "decoded", *place, c))
            decoded = decoded[order[: config.bound]]
        return augment.apply((decoded - self.mean) / self.std if self.as_pixels else decoded, params)

    def step(self, loss: Tensor) -> float:
        self.optimiser.zero_grad(set_to_none=False)
        (self.leaf.grad,) = torch.autograd.grad(loss, self.leaf)
        self.optimiser.step()
        return loss.item()

    def train(self, network: Network, batches: list[Tensor], families: tuple[str, ...], share: float, *path: str | int) -> int:
        stream = generator(self.config.seed, "real_augment", *path)
        right = 0
        for ids in batches:
            drawn = augment.draw_combined(families, (self.leaf.shape[2], self.leaf.shape[3]), stream, len(ids))
            images, labels = augment.apply(self.pool.images(ids), drawn), self.pool.dataset.train.labels[ids]
            mix = draw_mix(share, (self.leaf.shape[2], self.leaf.shape[3]), len(ids), stream)
            inputs, targets = images, functional.one_hot(labels, self.pool.classes).float()
            if mix is not None:
                top, bottom, left, right_edge = mix.box
                inside = torch.zeros(images.shape[2:], dtype=torch.bool)
                inside[top:bottom, left:right_edge] = True
                inputs = torch.where(inside, images[mix.partner], images)
                part = inside.float().mean()
                targets = (1 - part) * targets + part * targets[mix.partner]
            logits = network(inputs)
            loss = functional.cross_entropy(logits, targets)
            self.trainer.zero_grad()
            loss.backward()
            self.trainer.step()
            right += int((logits.argmax(1) == labels).sum())
        return right

    def sgd(self, network: Network, momentum: float, decay: float) -> None:
        self.trainer = torch.optim.SGD(network.parameters(), self.config.network_learning_rate, momentum, weight_decay=decay)

    # --- IDC, DREAM ---

    def beforehand(self, number: int) -> Network:
        """A pretrained network, trained anew whenever it is asked for."""
        config, settings = self.config, self.config.idc.pretrained
        network, everyone = self.fresh("pretrained", number), torch.cat(self.pool.by_class)
        momentum, decay = config.idc.network_momentum, settings.weight_decay
        self.trainer = torch.optim.SGD(network.parameters(), settings.learning_rate, momentum, weight_decay=decay)
        for epoch in range(settings.epochs):
            place = ("pretrained", number, epoch)
            order = torch.randperm(len(everyone), generator=generator(config.seed, "real_order", *place))
            families = tuple(f for f in config.augment if f != "cutout")
            self.train(network, list(everyone[order].split(settings.batch_size)), families, config.idc.cutmix, *place)
        return network

    def _network_of_idc(self, t: int) -> Network:
        count = self.config.idc.pretrained.networks
        if count == 0:
            return self.fresh("network", t)
        stream = generator(self.config.seed, "pretrained_choice", "network", t)
        return self.beforehand(int(torch.randint(count, (1,), generator=stream)))

    def _iteration_of_idc(self, t: int) -> None:
        config, idc = self.config, self.config.idc
        network = self._network_of_idc(t)
        self.sgd(network, idc.network_momentum, idc.network_weight_decay)
        with torch.no_grad():
            self.leaf.clamp_(0, 1)
        losses, everyone = [], torch.cat(self.pool.by_class)
        chosen: dict[int, Tensor] = {}
        families = tuple(f for f in config.augment if f != "cutout")

        waiting: list[Tensor] = []
        epochs = 0

        def train(number: int, most: int) -> None:
            nonlocal epochs
            batches: list[Tensor] = []
            per_epoch = math.ceil(len(everyone) / config.batch_train)
            while sum(map(len, batches)) < most and len(batches) < per_epoch:
                if not waiting:
                    order = torch.randperm(len(everyone), generator=generator(config.seed, "real_order", "network", t, epochs))
                    waiting.extend(everyone[order].split(config.batch_train))
                    epochs += 1
                batches.append(waiting.pop(0))
            self.train(network, batches, families, idc.cutmix, "network", t, number)

        for epoch in range(idc.early_epochs):
            train(epoch, len(everyone))
        for step in range(config.outer_loops):
            if step > 0:
                train(idc.early_epochs + step - 1, idc.train_samples)
            if config.method == "dream" and step % config.dream.interval == 0:
                chosen = {c: self._representatives(network, t, step, c) for c in self.classes}
            for c in self.classes:
                ids, params = (chosen[c] if chosen else self.drawn(t, step, c)), self.params(t, step, c)
                synthetic = self.entering(c, params, (t, step))
                kernels = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
                real = functional.cross_entropy(network(augment.apply(self.pool.images(ids), params)), torch.full((len(ids),), c))
                wanted = torch.autograd.grad(real, kernels)
                mine = functional.cross_entropy(network(synthetic), torch.full((len(synthetic),), c))
                found = torch.autograd.grad(mine, kernels, create_graph=True)
                power = 2 if idc.metric == "mse" else 1
                losses.append(self.step(sum(((a - b).abs() ** power).sum() for a, b in zip(wanted, found, strict=True))))  # type: ignore[arg-type]
        self.curve.append(sum(losses) / len(losses))
        with torch.no_grad():
            self.leaf.clamp_(0, 1)

    def _representatives(self, network: Network, t: int, step: int, c: int) -> Tensor:
        ids, config = self.pool.by_class[c], self.config
        if len(ids) <= config.batch_real:
            return ids
        images = self.pool.images(ids)
        if config.dream.clustered == "pixels":
            images = self.pool.dataset.train.images(ids).float() / 255
        features = network.embed(images).detach()
        stream = generator(config.seed, "clusters", t, step, c)
        centers, nearest = kmeans(features, config.batch_real, stream, config.dream.most_steps)
        if config.dream.nearest == "all":
            occupied = nearest.bincount(minlength=len(centers)) > 0
            apart = torch.cdist(centers[occupied].double(), features.double()).square()
            equal = apart <= apart.amin(1, keepdim=True) * (1 + EQUAL)  # a cluster of two has its center between them
            return ids[equal.int().argmax(1)]
        return ids[nearest_members(features, centers, nearest)]

    # --- IDM ---

    def _born(self) -> None:
        network, idm = self.fresh("pool_network", self.born), self.config.idm
        self.sgd(network, idm.network_momentum, idm.network_weight_decay)
        self.nets.append((network, self.trainer, 0, 0))
        self.nets, self.born = self.nets[-self.config.idm.most_networks :], self.born + 1

    def _iteration_of_idm(self, t: int) -> None:
        config, idm = self.config, self.config.idm
        while self.born < idm.networks:
            self._born()
        if t and idm.accuracy_window and t % idm.accuracy_window == 0:
            self.nets = [(network, trainer, 0, 0) for network, trainer, _, _ in self.nets]
        if t % idm.new_every == 0:
            self._born()
        which = int(torch.randint(len(self.nets), (1,), generator=generator(config.seed, "pool_choice", t)))
        network, _, right, seen = self.nets[which]
        percent, losses = (100 * right / seen if seen else 0.0), []
        for c in range(self.pool.classes):
            ids, params = self.drawn(t, 0, c), self.params(t, 0, c)
            synthetic = self.entering(c, params, (t, 0))
            target = network.embed(augment.apply(self.pool.images(ids), params)).mean(0).detach()
            distance = (target - network.embed(synthetic).mean(0)).square().sum()
            class_loss = functional.cross_entropy(network(synthetic), torch.full((len(synthetic),), c))
            losses.append(self.step(distance + idm.classification * percent * class_loss))
        self.curve.append(sum(losses) / len(losses))
        chosen = torch.randperm(len(self.nets), generator=generator(config.seed, "pool_training", t))[: idm.trained]
        for k in chosen.tolist():
            network, self.trainer, right, seen = self.nets[k]
            batches = self._batches(t, k, idm.train_steps)
            right += self.train(network, batches, (), 0.0, "pool", t, k)
            self.nets[k] = (network, self.trainer, right, seen + sum(len(ids) for ids in batches))

    def _batches(self, t: int, which: int, count: int) -> list[Tensor]:
        everyone, result, turn = torch.cat(self.pool.by_class), list[Tensor](), 0
        while len(result) < count:
            stream = generator(self.config.seed, "real_order", "pool", t, which, turn)
            result += everyone[torch.randperm(len(everyone), generator=stream)].split(self.config.batch_train)
            turn += 1
        return result[:count]
