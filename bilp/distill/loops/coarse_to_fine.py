"""CCFS (Chen et al. 2025, section 3): rounds that add to a set the easiest real samples of those that it teaches wrongly.

Nothing is optimized. In each iteration a new network learns the set as it is, under the teacher's soft labels of every augmented image,
and looks at all real samples that take part. Of each class, the candidates are those that it takes for another class and the teacher
classifies correctly; the easiest of them are added. Where there are too few, samples follow that the teacher knows and the network, too,
and then those that the teacher does not know, each the easiest first: so a set always becomes full. What was added when lies in the
state, and an iteration depends on that and on the seed alone: a run that is killed in the middle of one begins it again and goes on to
the same bytes.

The program (ccfs_cifar10.py of CYDaaa30/CCFS) leaves a class smaller that has too few candidates, warms the step size up in five epochs,
and draws samples in no order that a seed fixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from bilp.artifacts.tensors import Form, require_tensors
from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.distill.loops.iterations import Iterations, Step
from bilp.distill.step.state import DISTILLED, DistillState
from bilp.errors import ConfigError, DamagedArtifact, Diverged
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.pruning.difficulty import Difficulty
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

ADDED, MISTAKE = "added", "mistake"
"""What a state carries: for each image of the set the round that added it, from 1, 0 for those of the beginning and EMPTY for those that
are still to come, int64 `[classes * ipc]`; and whether it was a candidate then, bool likewise."""
EMPTY = -1
AT_ONCE = 512
"""Real samples that pass a network together."""


class CurriculumIterations(Iterations):
    """Iterations that choose; the state's images beyond those of the beginning are zeros until their round comes."""

    def prepare(self) -> None:
        """The teacher, and how hard samples are. Raises ConfigError without a teacher or a ranking, or with a pruner."""
        setting = self.setting
        if setting.inputs.teacher is None or setting.inputs.difficulty is None or self.pruner is not None:
            raise ConfigError(
                f"method {setting.config.method} asks a teacher and a ranking and has no adaptive pruning: "
                "start the run with both and beta = 0"
            )
        self._difficulty = setting.inputs.difficulty
        self._teacher = setting.inputs.teacher.network(setting.pool.dataset, setting.config.gpu, setting.device)

    def iteration(self, number: int) -> Iterator[Step]:
        """A network on the set so far, and the samples that it adds."""
        setting = self.setting
        known = [self._right(self._teacher, c, "the teacher", "evaluate.teacher.learning_rate") for c in setting.classes]
        network = self._trained(number)
        whose, lowered = f"the network of round {number + 1}", "distill.coarse_to_fine.learning_rate"
        wrong = [~self._right(network, c, whose, lowered) for c in setting.classes]
        config = setting.config
        count = config.coarse_to_fine.added(config.ipc, config.iterations, number)
        for c, mistaken, right in zip(setting.classes, wrong, known, strict=True):
            self._add(number, c, count, chosen(setting.pool.by_class[c], mistaken, right, self._present(c), self._difficulty))
        yield Step([float(mistaken.double().mean()) for mistaken in wrong], sum(len(each) for each in wrong), 0.0)

    def _present(self, c: int) -> Tensor:
        """The real samples of a class that are in the set."""
        assert self.state.real is not None
        mine = self.state.real[self.setting.rows(c)]
        return mine[mine != DISTILLED]

    def _add(self, number: int, c: int, count: int, ordered: tuple[Tensor, Tensor]) -> None:
        """Put the first `count` of the ordered samples into the next rows of a class."""
        state, rows = self.state, self.setting.rows(c)
        assert state.real is not None
        free = rows.start + (state.method[ADDED][rows] == EMPTY).nonzero().squeeze(1)[:count].cpu()
        ids, mistake = (part[: len(free)] for part in ordered)
        here = free.to(state.images.device)
        state.images[here] = self.setting.pool.images(ids).to(state.images.device)
        state.real[free] = ids
        state.method[ADDED][here] = number + 1
        state.method[MISTAKE][here] = mistake.to(here.device)

    def _trained(self, number: int) -> Network:
        """A new network after its training on the images that are there."""
        setting, state, config = self.setting, self.state, self.setting.config
        dataset = setting.pool.dataset
        network = build(config.network, dataset.shape, dataset.classes)
        initialize(network, generator(config.seed, "curriculum", number, "network"))
        place(network, config.gpu, setting.device)
        there = (state.method[ADDED] != EMPTY).nonzero().squeeze(1)
        data = ImageSet.of_tensors(state.images[there], state.labels[there], str(setting.device))
        streams = Streams(*(generator(config.seed, "curriculum", number, what) for what in STREAMS))
        for _ in train(network, data, schedule_of(config, len(there) / len(setting.classes)), streams, self._teacher):
            pass
        return network.eval()

    @torch.no_grad()
    def _right(self, network: Network, c: int, whose: str, lowered: str) -> Tensor:
        """Whether a network knows each sample of a class that takes part, bool `[n]` on the CPU. Raises Diverged."""
        setting, found = self.setting, list[Tensor]()
        for ids in setting.pool.by_class[c].split(AT_ONCE):
            logits = network(setting.pool.images(ids, setting.device))
            if not bool(logits.isfinite().all()):
                name = setting.pool.dataset.class_names[c]
                raise Diverged(f"the answers of {whose} to images of class {name} are not finite: lower {lowered}")
            found.append((logits.argmax(dim=1) == c).cpu())
        return torch.cat(found)


def chosen(ids: Tensor, mistaken: Tensor, known: Tensor, present: Tensor, difficulty: Difficulty) -> tuple[Tensor, Tensor]:
    """The samples of a class in the order in which they are added, int64 `[m]`, without those that are there, and which are candidates.

    Args:
        ids: sample_ids `[n]` that take part.
        mistaken: bool `[n]`, whether the network takes them for another class.
        known: bool `[n]`, whether the teacher knows them.
        present: sample_ids that the set holds already.
        difficulty: of all samples.
    """
    new = ~torch.isin(ids, present)
    groups = [ids[new & rule] for rule in (mistaken & known, ~mistaken & known, ~known)]
    ordered = torch.cat([difficulty.easiest_first(group) for group in groups])
    return ordered, torch.arange(len(ordered)) < len(groups[0])


def schedule_of(config: DistillConfig, per_class: float) -> Schedule:
    """The training of a round's network on so many images per class."""
    settings = config.coarse_to_fine
    return Schedule(
        epochs=settings.epochs,
        batch_size=settings.batch(per_class),
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        augment_always=settings.augment_always,
        decay="cosine",
        temperature=settings.temperature,
        temperature_squared=True,
    )


def beginning(config: DistillConfig, pool: RealPool, classes: range, difficulty: Difficulty | None, start: Tensor | None) -> DistillState:
    """The set before the first round: images `[classes, m, C, H, W]` of a finished set, the first ones of each class, or without one the
    easiest real samples. Raises ConfigError without a ranking.

    Args:
        config: settings of the distillation.
        pool: the real samples that take part.
        classes: those of the set.
        difficulty: of all samples.
        start: images of the finished set by class, if there is one.
    """
    if difficulty is None:
        raise ConfigError(f"method {config.method} asks how hard samples are: start the run with a ranking (ranking_uri)")
    first = config.coarse_to_fine.begins(config.ipc)
    images = torch.zeros(len(classes), config.ipc, *pool.dataset.shape)
    real = torch.full((len(classes), config.ipc), DISTILLED)
    if start is not None:
        images[:, :first] = start[classes.start : classes.stop, :first]
    else:
        real[:, :first] = torch.stack([difficulty.easiest_first(pool.by_class[c])[:first] for c in classes])
        images[:, :first] = pool.images(real[:, :first].flatten()).view(-1, first, *pool.dataset.shape)
    state = DistillState.start(images.flatten(0, 1), torch.tensor(classes).repeat_interleave(config.ipc), real.flatten())
    added = torch.full((len(classes), config.ipc), EMPTY)
    added[:, :first] = 0
    state.method = {ADDED: added.flatten(), MISTAKE: torch.zeros(added.numel(), dtype=torch.bool)}
    return state


def curriculum_forms(config: DistillConfig, parameters: int, values: int, iterations: int, images: tuple[int, ...]) -> dict[str, Form]:
    """Types and shapes of what is carried (see `bilp.costs.run_files.Carries`).

    Args:
        config: Settings of the distillation, on which it does not depend.
        parameters: Of the network, likewise.
        values: Likewise.
        iterations: Likewise.
        images: Shape of the synthetic images, `[classes * ipc, C, H, W]`.
    """
    return {ADDED: (torch.int64, images[:1]), MISTAKE: (torch.bool, images[:1])}


def require_curriculum(tensors: Mapping[str, Tensor], config: DistillConfig, pool: RealPool, where: str) -> None:
    """Raise DamagedArtifact, naming `where`, unless `state.method` is that of a run of these rounds."""
    require_tensors(tensors, curriculum_forms(config, 0, 0, 0, (pool.classes * config.ipc,)), where)
    added, settings = tensors[ADDED].view(-1, config.ipc), config.coarse_to_fine
    done = int(added.max())
    expected = [0] * settings.begins(config.ipc)
    for number in range(done):
        expected += [number + 1] * settings.added(config.ipc, config.iterations, number)
    row = torch.tensor([*expected, *[EMPTY] * config.ipc][: config.ipc])
    if done > config.iterations or not bool((added == row).all()) or bool(tensors[MISTAKE][tensors[ADDED] < 1].any()):
        raise DamagedArtifact(f"{where} does not hold images of a beginning and of the rounds that followed it: run the round again")


distill = CurriculumIterations.distill
