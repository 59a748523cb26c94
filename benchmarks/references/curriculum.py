"""CCFS: sets of samples and sorted lists, every real sample alone through both networks."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.references.parts import Reference
from bilp.distill.loops.coarse_to_fine import schedule_of
from bilp.distill.step.setting import Setting
from bilp.distill.step.state import DistillState
from bilp.nets import Network, build, initialize
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, train


class CurriculumReference(Reference):
    """The training of a network is shared with the program; what is chosen is kept in lists, and images are laid together at the end of
    each iteration, zeros where none is yet."""

    def __init__(self, setting: Setting, state: DistillState) -> None:
        super().__init__(setting, state)
        assert setting.inputs.teacher is not None
        assert setting.inputs.difficulty is not None
        assert state.real is not None
        self._teacher = setting.inputs.teacher.network(setting.pool.dataset, self.config.gpu, setting.device)
        first = self.config.coarse_to_fine.begins(self.config.ipc)
        images, real = self.images.unflatten(0, (-1, self.config.ipc)), state.real.view(-1, self.config.ipc)
        self._images = [list(own[:first]) for own in images]
        self._held = [{sample for sample in own[:first].tolist() if sample >= 0} for own in real]
        scores = setting.inputs.difficulty.scores.tolist()
        self._hardness = {sample: score if setting.inputs.difficulty.high_is_hard else -score for sample, score in enumerate(scores)}
        left = self.config.ipc - first
        self._shares = [left // self.config.iterations + (k < left % self.config.iterations) for k in range(self.config.iterations)]

    def iteration(self, t: int) -> None:
        """See Reference."""
        network, shares = self._learned(t), []
        for c, images, held in zip(self.setting.classes, self._images, self._held, strict=True):
            everyone = self.setting.pool.by_class[c].tolist()
            wrong = {sample for sample in everyone if not self._knows(network, sample, c)}
            known = {sample for sample in everyone if self._knows(self._teacher, sample, c)}
            shares.append(torch.tensor(len(wrong) / len(everyone), dtype=torch.float64))
            groups = (known & wrong, known - wrong, set(everyone) - known)
            for sample in [sample for group in groups for sample in sorted(group - held, key=self._rank)][: self._shares[t]]:
                held.add(sample)
                images.append(self._image(sample)[0])
        self.told(shares)
        rows = []
        for images in self._images:
            empty = [torch.zeros_like(images[0])] * (self.config.ipc - len(images))
            rows += [*images, *empty]
        self.images = torch.stack(rows)

    def _rank(self, sample: int) -> tuple[float, int]:
        return self._hardness[sample], sample

    def _image(self, sample: int) -> Tensor:
        return self.setting.pool.images(torch.tensor([sample]), self.setting.device)

    @torch.no_grad()
    def _knows(self, network: Network, sample: int, c: int) -> bool:
        return int(network(self._image(sample)).argmax()) == c

    def _learned(self, t: int) -> Network:
        dataset, seed = self.setting.pool.dataset, self.config.seed
        network = build(self.config.network, dataset.shape, dataset.classes)
        initialize(network, generator(seed, "curriculum", t, "network"))
        images = torch.stack([image for own in self._images for image in own])
        labels = torch.tensor([c for c, own in zip(self.setting.classes, self._images, strict=True) for _ in own])
        streams = Streams(*(generator(seed, "curriculum", t, what) for what in STREAMS))
        schedule = schedule_of(self.config, len(self._images[0]))
        for _ in train(network, ImageSet.of_tensors(images, labels), schedule, streams, self._teacher):
            pass
        return network.eval()
