"""IDC, DREAM and IDM as one would write them first: one step of an ordinary optimiser per class, on one tensor of all images.

IDC and DREAM keep pixels in [0, 1] and normalize them on their way into the network, as their programs do.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.straightforward import Parts, both_gradients, feature_distance, plain_layers
from bilp.distill.step.kmeans import kmeans, nearest_members
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.cutmix import draw_mix, mix_images, mixed_loss
from bilp.nets import Network, build, initialize
from bilp.seeds import generator


class ClassLoop(Parts):
    """What the three share."""

    as_pixels = True

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        dataset = setting.pool.dataset
        self._mean, self._std = (torch.tensor(v, device=setting.device).view(1, -1, 1, 1) for v in (dataset.mean, dataset.std))
        start = state.images * self._std + self._mean if self.as_pixels else state.images
        self.leaf = start.clone().requires_grad_()
        self.optimiser = torch.optim.SGD([self.leaf], lr=self.config.learning_rate, momentum=self.config.momentum)

    def entering(self, c: int, params: AugParams | None, t: int, step: int) -> Tensor:
        """The synthetic images of a class: every part enlarged by the library, a part of them if there are too many."""
        own, factor = self.leaf[self.setting.rows(c)], self.config.decode.factor
        height, width = own.shape[2:]
        crops = [crop for row in own.chunk(factor, 2) for crop in row.chunk(factor, 3)]
        enlarged = [functional.interpolate(crop, (height, width), mode="bilinear") for crop in crops]
        decoded = torch.stack(enlarged, dim=1).flatten(0, 1) if factor > 1 else own
        if self.as_pixels and len(decoded) > self.config.decode.bound:
            order = torch.randperm(len(decoded), generator=generator(self.config.seed, "decoded", t, step, c))
            decoded = decoded[order[: self.config.decode.bound].to(decoded.device)]
        return augment.apply((decoded - self._mean) / self._std if self.as_pixels else decoded, params)

    def class_step(self, loss: Tensor) -> None:
        """One step of all images; those of the other classes have gradients of zero."""
        (self.leaf.grad,) = torch.autograd.grad(loss, self.leaf)
        self.optimiser.step()

    def done(self) -> None:
        """The images, normalized."""
        leaf = self.leaf.detach()
        self.images = (leaf - self._mean) / self._std if self.as_pixels else leaf.clone()

    def train(self, network: Network, batches: Sequence[Tensor], families: Sequence[str], share: float, *path: str | int) -> int:
        """SGD on real mini-batches; images classified correctly."""
        stream, right = generator(self.config.seed, "real_augment", *path), 0
        for ids in batches:
            images = self.shown(ids, augment.draw_combined(families, self.setting.side, stream, len(ids)))
            labels, mix = (
                self.setting.pool.dataset.train.labels[ids].to(images.device),
                draw_mix(share, self.setting.side, len(ids), stream),
            )
            logits = network(mix_images(images, mix))
            self.trainer.zero_grad()
            mixed_loss(logits, labels, mix).backward()
            self.trainer.step()
            right += int((logits.argmax(1) == labels).sum())
        return right

    def order(self, *path: str | int) -> Tensor:
        """All real samples in the order of a pass."""
        everyone = torch.cat(self.setting.pool.by_class)
        return everyone[torch.randperm(len(everyone), generator=generator(self.config.seed, "real_order", *path))]


class KernelLoop(ClassLoop):
    """IDC and DREAM."""

    def iteration(self, t: int) -> None:
        """See Loop."""
        config, idc, network = self.config, self.config.idc, self.network
        self.setting.draw_network("network", t)
        rates = (config.network_learning_rate, idc.network_momentum)
        self.trainer = torch.optim.SGD(network.parameters(), *rates, weight_decay=idc.network_weight_decay)
        families = [family for family in config.augment if family != "cutout" or not idc.cutmix]
        kernels = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d)]
        with torch.no_grad():
            self.leaf.clamp_(0, 1)
        chosen: list[Tensor] = []
        waiting: list[Tensor] = []
        epochs = 0
        for step in range(config.outer_loops):
            if step > 0 and idc.train_samples:
                batches: list[Tensor] = []
                while sum(map(len, batches)) < idc.train_samples:
                    if not waiting:
                        waiting = list(self.order("network", t, epochs).split(config.batch_train))
                        epochs += 1
                    batches.append(waiting.pop(0))
                self.train(network, batches, families, idc.cutmix, "network", t, step - 1)
            if config.method == "dream" and step % config.dream.interval == 0:
                chosen = [self._representatives(t, step, c) for c in range(self.setting.pool.classes)]
            for c in range(self.setting.pool.classes):
                params = self.params(t, step, c)
                real = self.shown(chosen[c] if chosen else self.real(t, step, c), params)
                synthetic = self.entering(c, params, t, step)
                targets = self.targets(c, len(real)), self.targets(c, len(synthetic))
                wanted, found = both_gradients(network, kernels, real, synthetic, *targets)
                power = 2 if idc.metric == "mse" else 1
                loss = torch.zeros((), device=real.device)
                for a, b in zip(wanted, found, strict=True):
                    loss = loss + ((a - b).abs() ** power).sum()
                self.class_step(loss)
        with torch.no_grad():
            self.leaf.clamp_(0, 1)
        self.done()

    @torch.no_grad()
    def _representatives(self, t: int, step: int, c: int) -> Tensor:
        ids = self.setting.pool.by_class[c]
        if len(ids) <= self.config.batch_real:
            return ids
        features = self.network.embed(self.shown(ids, None))
        stream = generator(self.config.seed, "clusters", t, step, c)
        return ids[nearest_members(features, *kmeans(features, self.config.batch_real, stream, self.config.dream.most_steps)).cpu()]


class PoolLoop(ClassLoop):
    """IDM: the pool is a list of networks."""

    as_pixels = False

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        self._nets: list[Network] = []
        self._trainers: list[torch.optim.SGD] = []
        self._right: list[int] = []
        self._seen: list[int] = []
        self._born = 0

    def _add(self) -> None:
        network = build(self.config.network, self.setting.pool.dataset.shape, self.setting.pool.classes)
        initialize(network, generator(self.config.seed, "pool_network", self._born))
        plain_layers(network)
        self._nets.append(copy.deepcopy(network).to(self.setting.device))
        rates = (self.config.network_learning_rate, self.config.idm.network_momentum)
        parameters = self._nets[-1].parameters()
        self._trainers.append(torch.optim.SGD(parameters, *rates, weight_decay=self.config.idm.network_weight_decay))
        self._right.append(0)
        self._seen.append(0)
        self._born += 1
        if len(self._nets) > self.config.idm.most_networks:
            for values in (self._nets, self._trainers, self._right, self._seen):
                del values[0]

    def iteration(self, t: int) -> None:
        """See Loop."""
        config, idm, seed = self.config, self.config.idm, self.config.seed
        while self._born < idm.networks:
            self._add()
        if t % idm.new_every == 0:
            self._add()
        which = int(torch.randint(len(self._nets), (1,), generator=generator(seed, "pool_choice", t)))
        network, seen = self._nets[which], self._seen[which]
        percent = 100 * self._right[which] / seen if seen else 0.0
        for c in range(self.setting.pool.classes):
            params = self.params(t, 0, c)
            synthetic = self.entering(c, params, t, 0)
            distance = feature_distance(network, self.shown(self.real(t, 0, c), params), synthetic)
            wrong = functional.cross_entropy(network(synthetic), self.targets(c, len(synthetic)))
            self.class_step(distance + idm.classification * percent * wrong)
        for k in torch.randperm(len(self._nets), generator=generator(seed, "pool_training", t))[: idm.trained].tolist():
            self.trainer = self._trainers[k]
            batches: list[Tensor] = []
            turn = 0
            while len(batches) < idm.train_steps:
                batches += self.order("pool", t, k, turn).split(config.batch_train)
                turn += 1
            batches = batches[: idm.train_steps]
            self._right[k] += self.train(self._nets[k], batches, (), 0.0, "pool", t, k)
            self._seen[k] += sum(map(len, batches))
        self.done()
