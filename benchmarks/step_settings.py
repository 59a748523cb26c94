"""What the loops of `benchmarks.step` run on: the papers' settings for CIFAR-10, Gaussian images, experts that drift at random."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from bilp.config import METHODS, DistillConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.data import Dataset
from bilp.data.pool import RealPool
from bilp.data.resident import Kept, Reading, reading
from bilp.distill.step.pretrained import PretrainedNetworks
from bilp.distill.step.setting import RunInputs, Setting
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.resident_experts import moved
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.seeds import generator
from bilp.teachers.stored_teacher import StoredTeacher

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
DRIFT = 0.02
"""How far an expert's parameters move in an epoch, as a part of their own deviation."""


class Noise:
    """Gaussian images with the interface of a dataset's train split."""

    def __init__(self, classes: int, per_class: int, shape: tuple[int, int, int]) -> None:
        self.shape, self.classes = shape, classes
        self.mean, self.std = MEAN, STD
        self.class_names = tuple(str(c) for c in range(classes))
        self.train = self
        self.labels = torch.arange(classes).repeat_interleave(per_class)
        self._kept = self._images = torch.randn(classes * per_class, *shape, generator=generator(0, "images"))

    def __len__(self) -> int:
        return len(self.labels)

    def by_class(self) -> list[Tensor]:
        """Numbers of the images of each class."""
        return list(torch.arange(len(self.labels)).chunk(self.classes))

    def keep_on(self, device: torch.device | str, some: Tensor | None = None) -> bool:
        """A device keeps all images, as it keeps those of a split that are few enough."""
        self._kept = self._images.to(device)
        return True

    def kept_on(self, device: torch.device | str, indices: Tensor) -> Kept | None:
        """What a device keeps, as of a split."""
        way = reading()  # which `Split` asks before it keeps anything
        there = way is not Reading.STREAMED and self._kept.device.type == torch.device(device).type
        return Kept(self._kept) if there else None

    def images(self, ids: Tensor) -> Tensor:
        """Images `[n, C, H, W]`, which are not stored as bytes."""
        return self._images[ids]

    def normalized(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images as networks get them."""
        return images.to(device)

    def batch(self, ids: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Images `[n, C, H, W]`."""
        if self._kept.device.type == torch.device(device).type:
            return self._kept.index_select(0, ids.to(device, non_blocking=True))
        return self.normalized(self.images(ids), device)


class Drifting:
    """Experts in memory, as `ExpertBuffer` reads them: each starts at random and moves a little in every epoch."""

    count = 2
    epochs = 3

    def __init__(self, network: Network) -> None:
        self._network = network

    def require_network(self, network: nn.Module) -> None:
        """They have the parameters of the network that they were made for."""
        assert [p.shape for p in network.parameters()] == [p.shape for p in self._network.parameters()]

    def parameters(self, expert: int, epoch: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Parameters of an expert after an epoch."""
        initialize(self._network, generator(0, "expert", expert))
        values = [parameter.detach().cpu().clone() for parameter in self._network.parameters()]
        for step in range(epoch):
            stream = generator(0, "drift", expert, step)
            values = [value + DRIFT * value.std(correction=0) * torch.randn(value.shape, generator=stream) for value in values]
        return moved(tuple(values), torch.device(device))


class Scattered:
    """Pretrained networks in memory, as `PretrainedNetworks` reads them: each has other random weights at the end than at the beginning."""

    def __init__(self, count: int) -> None:
        self._count, self.pretraining = count, self

    def __len__(self) -> int:
        return self._count

    def initialize(self, network: Network, number: int) -> None:
        """The weights that a network begins with."""
        initialize(network, generator(0, "pretrained", number))

    def load(self, number: int, network: Network) -> None:
        """The weights that it ends with."""
        initialize(network, generator(0, "trained", number))


class Untrained:
    """A teacher in memory, as `StoredTeacher` is read: random weights, and batch norm that knows of mean 0 and variance 1."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config

    def network(self, dataset: Dataset, gpu: str, device: torch.device | str = "cpu") -> Network:
        """The network in eval mode, its parameters fixed."""
        network = build(self.config, dataset.shape, dataset.classes)
        initialize(network, generator(0, "teacher"))
        place(network, gpu, device)
        return network.eval().requires_grad_(False)


def beforehand(config: DistillConfig, data: Dataset) -> tuple[ExpertBuffer | None, PretrainedNetworks | None]:
    """Stand-ins for the experts and the pretrained networks that a method asks for."""
    experts = cast(ExpertBuffer, Drifting(build(config.network, data.shape, data.classes)))
    count = config.pretrained.networks
    networks = cast(PretrainedNetworks, Scattered(count)) if count else None
    return experts if METHODS[config.method].needs_experts else None, networks


def teacher_for(config: DistillConfig) -> StoredTeacher | None:
    """A stand-in for the teacher of a method that asks one, of the settings' network."""
    return cast(StoredTeacher, Untrained(config.network)) if METHODS[config.method].needs_teacher else None


def prepare(method: str, ipc: int, arguments: argparse.Namespace) -> Setting:
    """The papers' settings, but for what the arguments change."""
    base = PipelineConfig(dataset="cifar10", method=cast(Any, method), ipc=ipc).distill
    settings = base.model_dump() | {"rounds": 1}
    settings["network"]["width"] = arguments.width
    if arguments.batch is not None:
        settings["batch_real"] = arguments.batch
    for path, value in changes(method, arguments.set):
        *groups, name = path.split(".")
        place = settings
        for group in groups:
            place = place[group]
        if name not in place:
            raise SystemExit(f"--set {path}: distill has no such setting")
        place[name] = value
    config = DistillConfig.model_validate(settings)
    per_class = max(arguments.per_class or config.batch_real, config.batch_real, ipc * config.decode.factor**2)
    data = cast(Dataset, Noise(arguments.classes, per_class, (3, arguments.side, arguments.side)))
    experts, networks = beforehand(config, data)
    pool, teacher = RealPool(data), teacher_for(config)
    setting = Setting.assemble(config, ReselectConfig(beta=0.0), pool, arguments.device, RunInputs(experts, networks, teacher))
    if arguments.channels_last:
        setting.network.to(memory_format=cast(Any, torch.channels_last))
    return setting


def changes(method: str, given: Sequence[str]) -> list[tuple[str, str]]:
    """Path and value of `method:path=value` or `path=value`, for this method."""
    found = []
    for text in given:
        path, equals, value = text.partition("=")
        if not equals:
            raise SystemExit(f"--set {text}: write path=value or method:path=value")
        only, colon, inner = path.partition(":")
        if not colon:
            found.append((path, value))
        elif only == method:
            found.append((inner, value))
    return found
