"""IDC, DREAM and IDM: one step of an ordinary optimizer per class, on one tensor of all images.

IDC and DREAM keep pixels in [0, 1] and normalize them on their way into the network, as their programs do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.references.parts import Reference, both_gradients, feature_distance, plain_layers
from bilp.config.methods.spec import StartsFromPretrained
from bilp.distill.step.kmeans import EQUAL, kmeans, nearest_members
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix
from bilp.nets import Network, build, initialize
from bilp.seeds import generator


def without_cutout(families: Sequence[str], cutmix: float) -> list[str]:
    """CutMix takes the place of cutout."""
    return [family for family in families if family != "cutout" or not cutmix]


class ClasswiseReference(Reference):
    """What the three share."""

    as_pixels = True

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        dataset = setting.pool.dataset
        self._mean, self._std = (torch.tensor(v, device=setting.device).view(1, -1, 1, 1) for v in (dataset.mean, dataset.std))
        self.leaf = (self.images * self._std + self._mean if self.as_pixels else self.images.clone()).requires_grad_()
        self.optimizer = torch.optim.SGD([self.leaf], lr=self.config.learning_rate, momentum=self.config.momentum)

    def entering(self, c: int, params: AugParams | None, t: int, step: int) -> Tensor:
        """The synthetic images of a class as they enter the network: every part enlarged by the library, some of them if there are many."""
        own, decode, parts = self.leaf[self.labels == c], self.config.decode, list[Tensor]()
        height, width = own.shape[2:]
        # Pixels are filled up with 0.5; of normalized images (of one channel) that would be 0.5 of their pixels, too.
        filling = 0.5 if self.as_pixels else float((0.5 - self._mean).flatten()[0] / self._std.flatten()[0])
        for factor in range(1, decode.factor + 1) if decode.kind == "multi" else [decode.factor]:
            h, w = math.ceil(height / factor), math.ceil(width / factor)
            wide = functional.pad(own, (0, factor * w - width, 0, factor * h - height), value=filling)
            crops = [wide[:, :, y * h : y * h + h, x * w : x * w + w] for y in range(factor) for x in range(factor)]
            larger = [functional.interpolate(crop, (height, width), mode="bilinear") if factor > 1 else crop for crop in crops]
            parts.append(torch.stack(larger, dim=1).flatten(0, 1))
        decoded = torch.cat(parts)
        if self.as_pixels and len(decoded) > decode.bound:
            order = torch.randperm(len(decoded), generator=generator(self.config.seed, "decoded", t, step, c))
            decoded = decoded[order[: decode.bound].to(decoded.device)]
        return augment.apply((decoded - self._mean) / self._std if self.as_pixels else decoded, params)

    def class_step(self, loss: Tensor) -> Tensor:
        """One step of all images; those of the other classes have gradients of zero. The loss."""
        (self.leaf.grad,) = torch.autograd.grad(loss, self.leaf)
        self.optimizer.step()
        return loss.detach()

    def done(self, losses: Sequence[Tensor]) -> None:
        """The images, normalized, and the losses of an iteration."""
        leaf = self.leaf.detach()
        self.images = (leaf - self._mean) / self._std if self.as_pixels else leaf.clone()
        self.told(losses)

    def train(self, network: Network, batches: Sequence[Tensor], families: Sequence[str], share: float, *path: str | int) -> int:
        """SGD on real mini-batches; images classified correctly."""
        stream, right, side = generator(self.config.seed, "real_augment", *path), 0, self.setting.side
        for ids in batches:
            inputs = self.shown(ids, augment.draw_combined(families, side, stream, len(ids)))
            labels, mix = self.setting.pool.dataset.train.labels[ids].to(inputs.device), draw_mix(share, side, len(ids), stream)
            wanted = functional.one_hot(labels, self.setting.pool.classes).float()
            if mix is not None:
                top, bottom, left, right_edge = mix.box
                inside = torch.zeros(side, dtype=torch.bool, device=inputs.device)
                inside[top:bottom, left:right_edge] = True
                part = inside.float().mean()
                inputs = torch.where(inside, inputs[mix.partner], inputs)
                wanted = (1 - part) * wanted + part * wanted[mix.partner]
            logits = network(inputs)
            self.trainer.zero_grad()
            functional.cross_entropy(logits, wanted).backward()
            self.trainer.step()
            right += int((logits.argmax(1) == labels).sum())
        return right

    def order(self, *path: str | int) -> Tensor:
        """All real samples in the order of a pass."""
        everyone = torch.cat(self.setting.pool.by_class)
        return everyone[torch.randperm(len(everyone), generator=generator(self.config.seed, "real_order", *path))]


def trained_beforehand(reference: ClasswiseReference, starting: StartsFromPretrained, number: int) -> Network:
    """The network of a restatement, trained as a pretrained one; CutMix takes the place of cutout."""
    settings = starting.pretrained
    network, families = reference.start("pretrained", number), without_cutout(reference.config.augment, starting.cutmix)
    rates = (settings.learning_rate, starting.network_momentum)
    reference.trainer = torch.optim.SGD(network.parameters(), *rates, weight_decay=settings.weight_decay)
    milestones = [math.ceil(share * settings.epochs) for share in settings.decay_at]
    schedule = torch.optim.lr_scheduler.MultiStepLR(reference.trainer, milestones, settings.decay_factor)
    for epoch in range(settings.epochs):
        place = ("pretrained", number, epoch)
        reference.train(network, reference.order(*place).split(settings.batch_size), families, starting.cutmix, *place)
        schedule.step()
    return network


class KernelReference(ClasswiseReference):
    """IDC and DREAM."""

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, idc, losses = self.config, self.config.idc, list[Tensor]()
        network = self._network(t)
        rates = (config.network_learning_rate, idc.network_momentum)
        self.trainer = torch.optim.SGD(network.parameters(), *rates, weight_decay=idc.network_weight_decay)
        kernels = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
        self._clamp()
        self._waiting, self._epochs = list[Tensor](), 0
        for epoch in range(idc.early_epochs):
            self._train(t, epoch, len(self.setting.pool))
        chosen: dict[int, Tensor] = {}
        for step in range(config.outer_loops):
            if step > 0 and idc.train_samples:
                self._train(t, idc.early_epochs + step - 1, idc.train_samples)
            if config.method == "dream" and step % config.dream.interval == 0:
                chosen = {c: self._representatives(t, step, c) for c in self.setting.classes}
            for c in self.setting.classes:
                params = self.params(t, step, c)
                real = self.shown(chosen[c] if chosen else self.real(t, step, c), params)
                pairs = zip(*both_gradients(network, kernels, real, self.entering(c, params, t, step), c), strict=True)
                power = 2 if idc.metric == "mse" else 1
                losses.append(self.class_step(torch.stack([((a - b).abs() ** power).sum() for a, b in pairs]).sum()))
        self._clamp()
        self.done(losses)

    def params(self, t: int, step: int, c: int) -> AugParams | None:
        """All families together."""
        return augment.draw_combined(self.config.augment, self.setting.side, generator(self.config.seed, "augment", t, step, c))

    def beforehand(self, number: int) -> Network:
        """The network with the parameters of a pretrained one, trained anew whenever it is asked for."""
        return trained_beforehand(self, self.config.idc, number)

    @property
    def _families(self) -> list[str]:
        return without_cutout(self.config.augment, self.config.idc.cutmix)

    def _network(self, t: int) -> Network:
        count = self.config.idc.pretrained.networks
        if count == 0:
            return self.start("network", t)
        stream = generator(self.config.seed, "pretrained_choice", "network", t)
        return self.beforehand(int(torch.randint(count, (1,), generator=stream)))

    def _train(self, t: int, number: int, most: int) -> None:
        """Whole mini-batches until `most` samples are seen, an epoch of them at most; the order goes on from training to training."""
        batches: list[Tensor] = []
        per_epoch = math.ceil(len(self.setting.pool) / self.config.batch_train)
        while sum(map(len, batches)) < most and len(batches) < per_epoch:
            if not self._waiting:
                self._waiting = list(self.order("network", t, self._epochs).split(self.config.batch_train))
                self._epochs += 1
            batches.append(self._waiting.pop(0))
        self.train(self.network, batches, self._families, self.config.idc.cutmix, "network", t, number)

    @torch.no_grad()
    def _clamp(self) -> None:
        self.leaf.clamp_(0, 1)

    @torch.no_grad()
    def _representatives(self, t: int, step: int, c: int) -> Tensor:
        ids, config = self.setting.pool.by_class[c], self.config
        if len(ids) <= config.batch_real:
            return ids
        images = self.shown(ids, None)
        if config.dream.clustered == "pixels":
            images = images * self._std + self._mean
        features = self.network.embed(images)
        stream = generator(config.seed, "clusters", t, step, c)
        centers, nearest = kmeans(features, config.batch_real, stream, config.dream.most_steps)
        if config.dream.nearest == "all":
            occupied = nearest.bincount(minlength=len(centers)) > 0
            apart = torch.cdist(centers[occupied].double(), features.double()).square()
            equal = apart <= apart.amin(1, keepdim=True) * (1 + EQUAL)  # a cluster of two has its center between them
            return ids[equal.int().argmax(1).cpu()]
        return ids[nearest_members(features, centers, nearest).cpu()]


class PoolReference(ClasswiseReference):
    """IDM: the pool is a list of networks, each with its optimizer, the images it had right and the images it has seen."""

    as_pixels = False

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self._nets: list[tuple[Network, torch.optim.SGD, int, int]] = []
        self._born = 0

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, idm, seed = self.config, self.config.idm, self.config.seed
        while self._born < idm.networks:
            self._add()
        if t and idm.accuracy_window and t % idm.accuracy_window == 0:
            self._nets = [(network, trainer, 0, 0) for network, trainer, _, _ in self._nets]
        if t % idm.new_every == 0:
            self._add()
        network, _, right, seen = self._nets[int(torch.randint(len(self._nets), (1,), generator=generator(seed, "pool_choice", t)))]
        percent, losses = (100 * right / seen if seen else 0.0), []
        for c in self.setting.classes:
            params = self.params(t, 0, c)
            synthetic = self.entering(c, params, t, 0)
            distance = feature_distance(network, self.shown(self.real(t, 0, c), params), synthetic)
            wrong = functional.cross_entropy(network(synthetic), self.targets(c, len(synthetic)))
            losses.append(self.class_step(distance + idm.classification * percent * wrong))
        for k in torch.randperm(len(self._nets), generator=generator(seed, "pool_training", t))[: idm.trained].tolist():
            network, self.trainer, right, seen = self._nets[k]
            batches: list[Tensor] = []
            turn = 0
            while len(batches) < idm.train_steps:
                batches += self.order("pool", t, k, turn).split(config.batch_train)
                turn += 1
            batches = batches[: idm.train_steps]
            right += self.train(network, batches, (), 0.0, "pool", t, k)
            self._nets[k] = (network, self.trainer, right, seen + sum(map(len, batches)))
        self.done(losses)

    def _add(self) -> None:
        config, idm, pool = self.config, self.config.idm, self.setting.pool
        network = build(config.network, pool.dataset.shape, pool.classes)
        initialize(network, generator(config.seed, "pool_network", self._born))
        plain_layers(network)
        network.to(self.setting.device)
        rates = (config.network_learning_rate, idm.network_momentum)
        trainer = torch.optim.SGD(network.parameters(), *rates, weight_decay=idm.network_weight_decay)
        self._nets = [*self._nets, (network, trainer, 0, 0)][-idm.most_networks :]
        self._born += 1
