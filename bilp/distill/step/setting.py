"""What stays fixed while a run distills: configuration, real samples, the reused network and its matching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from bilp.config import METHODS, DistillConfig, ReselectConfig
from bilp.config.entering import entering_images
from bilp.config.real_passes import REAL_PASSES
from bilp.config.shapes import frames_in, side_of
from bilp.data.pool import RealPool
from bilp.distill.step.class_statistics import ClassStatistics
from bilp.distill.step.frozen_encoder import FrozenEncoder, Supplied
from bilp.distill.step.inner_training import InnerTraining
from bilp.distill.step.pretrained import PretrainedNetworks
from bilp.distill.step.query_training import QueryTraining
from bilp.distill.step.regressor import Drawn
from bilp.distill.step.schedule import Schedule, schedule_for
from bilp.errors import ConfigError
from bilp.experts.buffer import ExpertBuffer
from bilp.images import augment
from bilp.images.augment import AugParams
from bilp.images.multiformation import decode_class, gray
from bilp.images.siamese import draw_siamese
from bilp.matching import Matching, matching_for
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.pruning.difficulty import Difficulty
from bilp.registry import resolve
from bilp.seeds import generator, numbered_streams
from bilp.teachers.stored_teacher import StoredTeacher

# DC estimates the statistics of batch norm from this many real images per class before it freezes them; the whole
# batch is bounded, so that a thousand classes still fit into memory.
STATISTICS_PER_CLASS = 16
STATISTICS_IMAGES = 2048


@dataclass(frozen=True)
class RunInputs:
    """What a run is given beside its real samples, each for methods that ask for it."""

    experts: ExpertBuffer | None = None
    """Trainings on the real samples, for methods that imitate them."""
    pretrained: PretrainedNetworks | None = None
    """Networks trained on the real samples; iterations are initialized from copies of these instead of drawing new ones."""
    teacher: StoredTeacher | None = None
    """A network trained on real samples of the data set: all, or those of the run (`distill.teacher_samples`)."""
    supplied: Supplied | None = None
    """An encoder that a user supplies, which takes the network's place."""
    difficulty: Difficulty | None = None
    """How hard real samples are."""


@dataclass(frozen=True)
class Setting:
    """The parts of a distillation. `network` is one module that is initialized anew for every iteration."""

    config: DistillConfig
    reselect: ReselectConfig
    pool: RealPool
    network: Network
    matching: Matching
    schedule: Schedule
    device: torch.device
    classes: range
    """The classes whose images are distilled: all of them, or those of a shard."""
    inputs: RunInputs = RunInputs()
    """What else the method asks for."""

    @classmethod
    def assemble(
        cls,
        config: DistillConfig,
        reselect: ReselectConfig,
        pool: RealPool,
        device: torch.device | str,
        inputs: RunInputs = RunInputs(),
        classes: range | None = None,
    ) -> Setting:
        """Build the network on `device` and choose the matching and schedule of `config.method`.

        Networks have an output for every class, whichever are distilled. Raises ConfigError if `config` asks for pretrained
        networks and there are none, or for a real pass that the device cannot do.

        Args:
            config: settings of the distillation.
            reselect: settings of adaptive pruning.
            pool: the real samples.
            device: where networks and images lie.
            inputs: what else the method asks for.
            classes: those to distill; without them all.
        """
        if config.pretrained.networks > 0 and inputs.pretrained is None:
            field, count = METHODS[config.method].pretrained, config.pretrained.networks
            raise ConfigError(f"{field}.pretrained.networks = {count}: train them first (pretrain_network)")
        if check := REAL_PASSES[config.real_pass].check:
            resolve(check)(torch.device(device))
        schedule = schedule_for(config)
        network: Network
        if inputs.supplied is not None:
            network = inputs.supplied.network
        elif inputs.teacher is not None and METHODS[config.method].inverts_teacher:
            network = inputs.teacher.network(pool.dataset, config.gpu, device)
        else:
            network = build(config.network, pool.dataset.shape, pool.classes)
        if inputs.experts is not None:
            inputs.experts.require_network(network)
        place(network, config.gpu, device)
        pool.keep_on(device, classes)
        network.requires_grad_(not schedule.features)
        matching = matching_for(config.method, **{field: getattr(config, field) for field in METHODS[config.method].settings})
        classes = range(pool.classes) if classes is None else classes
        return cls(config, reselect, pool, network, matching, schedule, torch.device(device), classes, inputs)

    @cached_property
    def real_network(self) -> Network:
        """What real samples pass on their way to a mean: the network itself, or its modules as `config.real_pass` wants them called."""
        way = REAL_PASSES[self.config.real_pass]
        if not way.network or self.config.iterations < way.from_iterations:
            return self.network
        found: Network = resolve(way.network)(self.network, self.pool.dataset.shape, self.device)
        return found

    @cached_property
    def encoder(self) -> FrozenEncoder:
        """The network as an encoder that nothing trains; for methods that match under one."""
        config = self.config
        given = self.inputs.supplied or self.inputs.pretrained
        return FrozenEncoder(self.network, self.pool, given, config.seed, config.linear.head_deviation, self.device)

    @cached_property
    def class_statistics(self) -> ClassStatistics:
        """Vectors of real samples under the network, for methods that match under one that nothing changes."""
        return ClassStatistics(self.matching, self.network, self.pool, self.device)

    @cached_property
    def query(self) -> QueryTraining:
        """Trainings of the network on the synthetic images at whose end real images are asked; for methods that differentiate them."""
        return QueryTraining(self.network, self.pool, self.config, self.device)

    @cached_property
    def drawn(self) -> Drawn:
        """What predicts labels of real samples; for methods of kernel regression, which draw one for every image step."""
        return Drawn()

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of the images."""
        return side_of(self.pool.dataset.shape)

    @property
    def frames(self) -> int:
        """Pictures in a sample: 1, or those of a clip."""
        return frames_in(self.pool.dataset.shape)

    def rows(self, class_index: int) -> slice:
        """The rows of a class in the tensor of synthetic images."""
        place = class_index - self.classes.start
        return slice(place * self.config.ipc, (place + 1) * self.config.ipc)

    def row_numbers(self, class_index: int) -> Tensor:
        """The same rows as numbers, int64 `[ipc]`, on the run's device."""
        return self.row_numbers_of([class_index])

    def row_numbers_of(self, classes: Sequence[int]) -> Tensor:
        """The rows of several classes, one after the other, int64 `[K * ipc]`, made on the run's device without a copy."""
        if list(classes) == list(range(classes[0], classes[0] + len(classes))):
            return torch.arange(self.rows(classes[0]).start, self.rows(classes[-1]).stop, device=self.device)
        return torch.cat([torch.arange(self.rows(c).start, self.rows(c).stop, device=self.device) for c in classes])

    def draw_network(self, *path: str | int) -> None:
        """Initialize the network from the stream called `path`."""
        self.network.train()
        initialize(self.network, generator(self.config.seed, *path))

    def draw_pretrained(self, pretrained: PretrainedNetworks, *path: str | int) -> None:
        """The network becomes a copy of one of `pretrained`, drawn uniformly from the stream called `path`."""
        self.network.train()
        which = int(torch.randint(len(pretrained), (1,), generator=generator(self.config.seed, "pretrained_choice", *path)))
        pretrained.load(which, self.network)

    def train_network(self, images: Tensor, labels: Tensor, *path: str | int) -> None:
        """`inner_epochs` of training on the synthetic set `[M, C, H, W]` with labels `[M]`, from the streams under `path`."""
        self._inner_training.run(images, labels, self.config.seed, *path)

    def train_epoch(self, images: Tensor, labels: Tensor, *path: str | int) -> None:
        """The same for a single epoch."""
        self._inner_epoch.run(images, labels, self.config.seed, *path)

    @cached_property
    def _inner_training(self) -> InnerTraining:
        return InnerTraining(self.network, self.schedule, self.device)

    @cached_property
    def _inner_epoch(self) -> InnerTraining:
        return InnerTraining(self.network, replace(self.schedule, inner_epochs=1), self.device)

    def freeze_statistics(self, *path: str | int) -> None:
        """Fix the statistics of batch norm on real images, so that samples are independent; nothing without batch norm."""
        if not any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in self.network.modules()):
            return
        count = max(1, min(STATISTICS_PER_CLASS, STATISTICS_IMAGES // self.pool.classes))
        streams = [generator(self.config.seed, "statistics", *path, c) for c in range(self.pool.classes)]
        ids = torch.cat([self.pool.draw(c, count, stream) for c, stream in enumerate(streams)])
        self.matching.freeze_statistics(self.network, self.pool.images(ids, self.device))

    def draw_augmentation(self, *path: str | int) -> AugParams | None:
        """Siamese augmentation from the stream called `path`, the same for every image: one family, or combined as in IDC."""
        draw = augment.draw_combined if METHODS[self.config.method].augmentation == "combined" else augment.draw
        return draw(self.config.augment, self.side, generator(self.config.seed, *path))

    def draw_augmentations(self, classes: Iterable[int], *path: str | int) -> list[AugParams | None]:
        """`draw_augmentation` of several classes, from the streams called `path` and their numbers."""
        combined = METHODS[self.config.method].augmentation == "combined"
        choices = augment.combined_choices(self.config.augment) if combined else [self.config.augment]
        return draw_siamese(choices, self.side, numbered_streams(self.config.seed, *path), classes)

    @property
    def entering(self) -> int:
        """Images of a class that enter the network in one image step."""
        return entering_images(self.config)

    def choose_decoded(self, *path: str | int) -> Tensor | None:
        """Numbers, int64 `[n]`, of the decoded images of a class that one image step uses, from the stream called `path`; None for all."""
        chosen = self._drawn_decoded(*path)
        return None if chosen is None else chosen.to(self.device)

    def choose_decoded_by_class(self, classes: Sequence[int], *path: str | int) -> Tensor | None:
        """The same of several classes, whose decoded images follow one another, int64 `[classes * n]`; class c draws from `path` and c."""
        decoded = self.config.decode.count(self.config.ipc)
        drawn = [self._drawn_decoded(*path, c) for c in classes]
        numbers = [own + place * decoded for place, own in enumerate(drawn) if own is not None]
        return torch.cat(numbers).to(self.device) if numbers else None

    def _drawn_decoded(self, *path: str | int) -> Tensor | None:
        decoded = self.config.decode.count(self.config.ipc)
        if self.entering == decoded:
            return None
        return torch.randperm(decoded, generator=generator(self.config.seed, *path))[: self.entering]

    def network_inputs(self, images: Tensor, params: AugParams | None, chosen: Tensor | None = None) -> Tensor:
        """Stored images of a class `[ipc, C, H, W]` as they enter the network, `[n, C, H, W]`: decoded, the `chosen` ones, augmented."""
        dataset = self.pool.dataset
        decoded = decode_class(images, self.config.decode, gray(dataset.mean, dataset.std, self.device))
        return augment.apply(decoded if chosen is None else decoded[chosen], params)

    def class_labels(self, class_index: int, count: int) -> Tensor:
        """`count` times the label of a class, int64 `[count]`, on the run's device."""
        return torch.full((count,), class_index, dtype=torch.int64, device=self.device)
