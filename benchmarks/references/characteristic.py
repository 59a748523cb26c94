"""NCFM: amplitude and phase of characteristic functions as the paper writes them, and the library's own optimizer for each class."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from benchmarks.references.classwise import ClasswiseReference, trained_beforehand
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.images import augment
from bilp.nets import Network
from bilp.seeds import generator


class CharacteristicReference(ClasswiseReference):
    """NCFM: images of every class in a tensor, with an optimizer and a scheduler of their own."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        settings, rate = self.config.characteristic, self.config.learning_rate
        self.network.requires_grad_(True)  # to be trained beforehand
        with torch.no_grad():
            self.leaves = [own.clamp(0, 1).requires_grad_() for own in self.leaf.split(self.config.ipc)]
        if settings.optimizer == "sgd":
            optimizers = [torch.optim.SGD([own], lr=rate, momentum=self.config.momentum) for own in self.leaves]
        else:
            optimizers = [torch.optim.AdamW([own], lr=rate, weight_decay=settings.weight_decay) for own in self.leaves]  # type: ignore[misc]
        self.optimizers = optimizers
        patience = settings.patience or 10**9
        self.schedules = [ReduceLROnPlateau(each, factor=settings.decay, patience=patience, eps=0.0) for each in optimizers]

    def iteration(self, t: int) -> None:
        """See Reference."""
        config, losses = self.config, list[Tensor]()
        between, trained = self._networks(t)
        for step in range(config.outer_loops):
            found = [self._matched(between, t, step, c) for c in self.setting.classes]
            if trained is not None and config.characteristic.calibration > 0:
                found = [loss + self._judged(trained, t, step, c) for loss, c in zip(found, self.setting.classes, strict=True)]
            for schedule, loss in zip(self.schedules, found, strict=True):
                schedule.step(float(loss))
            losses += found
        with torch.no_grad():
            for own in self.leaves:
                own.clamp_(0, 1)
        self.leaf = torch.cat([own.detach() for own in self.leaves])
        self.done(losses)

    def _networks(self, t: int) -> tuple[Network, Network | None]:
        """The network of an iteration, and the one at the end of its training."""
        settings = self.config.characteristic
        if settings.pretrained.networks == 0:
            return self.start("network", t), None
        stream = generator(self.config.seed, "between", "network", t)
        which = int(torch.randint(settings.pretrained.networks, (1,), generator=stream))
        share = float(torch.rand((), generator=stream, dtype=torch.float64))
        given = self.setting.inputs.pretrained
        if given is None:
            trained = copy.deepcopy(trained_beforehand(self, settings, which))
            between = self.start("pretrained", which)
        else:
            trained, between = copy.deepcopy(self.network), self.network
            given.load(which, trained)
            given.pretraining.initialize(between, which)
        with torch.no_grad():
            for here, end in zip(between.parameters(), trained.parameters(), strict=True):
                here.copy_(share * here + (1 - share) * end)
        return between, trained

    def _matched(self, network: Network, t: int, step: int, c: int) -> Tensor:
        """The loss of a class, and its step. Real batch and augmentation are those of the network's first step."""
        params = augment.draw_combined(self.config.augment, self.setting.side, generator(self.config.seed, "augment", t, 0, c))
        real = network.embed(self.shown(self.real(t, 0, c), params)).detach()
        loss = self._distance(real, network.embed(self._entering(c, params)), t, step)
        return self._stepped(loss, c)

    def _judged(self, network: Network, t: int, step: int, c: int) -> Tensor:
        drawn = generator(self.config.seed, "calibration_augment", t, step, c)
        logits = network(self._entering(c, augment.draw_combined(self.config.augment, self.setting.side, drawn)))
        wrong = functional.cross_entropy(logits, self.targets(c, len(logits)))
        return self._stepped(self.config.characteristic.calibration * wrong, c)

    def _distance(self, real: Tensor, synthetic: Tensor, t: int, step: int) -> Tensor:
        settings = self.config.characteristic
        stream = generator(self.config.seed, "frequencies", t, step)
        frequencies = torch.randn(settings.frequencies, real.shape[1], generator=stream).to(real)
        lengths = [rows.norm(dim=1, keepdim=True) for rows in (real, synthetic)]
        r, s = (torch.exp(1j * (rows / own @ frequencies.T)).mean(0) for rows, own in zip((real, synthetic), lengths, strict=True))
        amplitudes = (r.abs() - s.abs()) ** 2
        phases = 2 * (r.abs() * s.abs() - (r * s.conj()).real)
        return settings.scale * (settings.amplitude * amplitudes + settings.phase * phases.clamp(min=1e-12)).sqrt().mean()

    def _entering(self, c: int, params: object) -> Tensor:
        place = c - self.setting.classes.start
        self.leaf = torch.cat([own if k == place else own.detach() for k, own in enumerate(self.leaves)])
        return self.entering(c, params, 0, 0)  # type: ignore[arg-type]

    def _stepped(self, loss: Tensor, c: int) -> Tensor:
        place = c - self.setting.classes.start
        (self.leaves[place].grad,) = torch.autograd.grad(loss, self.leaves[place])
        self.optimizers[place].step()
        return loss.detach()
