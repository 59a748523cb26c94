"""The rule of CCFS as a score of reselection: what the synthetic images of the moment teach wrongly, and a teacher knows, comes first.

Chen et al. 2025 (CCFS, arXiv 2503.18872, section 3.3) add to a set the easiest real samples of those that a network trained on the set
takes for another class and a teacher classifies correctly; `bilp.distill.loops.coarse_to_fine` is that method. Here the real samples of
a class are ranked in the same order, and the last ones are dropped from the batches of a method that optimizes. At every boundary of a
round a new network is trained on the whole set, decoded, under the labels of its classes, and tested on real samples without augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilp.distill.step.batch import Batch
from bilp.distill.step.setting import Setting
from bilp.distill.step.substitutes import Substitute
from bilp.errors import ConfigError, Diverged
from bilp.matching.per_sample import micro_batches
from bilp.nets import Network, build, initialize
from bilp.nets.arithmetic import place
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

CANDIDATES, KNOWN, UNKNOWN = range(3)
"""Groups of real samples in their order: mistakes of the network on the set that the teacher knows, what both know, and the rest."""


@dataclass(frozen=True)
class Judges:
    """What real samples are judged by at a boundary."""

    network: Network
    """Has learned the synthetic images."""
    teacher: Network
    """Has learned real images."""
    places: Tensor
    """Place of every sample of the train split by difficulty, the easiest first, float64 `[N]` from 0 to below 1."""


def prepare(setting: Setting, synthetic: Tensor, *path: str | int) -> Judges:
    """A network that learned all synthetic images `[classes * ipc, C, H, W]`, from the streams under `path`, and the teacher.

    Raises ConfigError without a teacher or a ranking. That the images are those of all classes is checked before a run.
    """
    teacher, difficulty, dataset = setting.inputs.teacher, setting.inputs.difficulty, setting.pool.dataset
    if teacher is None or difficulty is None:
        raise ConfigError(f"reselect.score {setting.reselect.score} asks a teacher and a ranking: start the run with both")
    order = difficulty.easiest_first(torch.arange(len(dataset.train)))
    places = torch.empty(len(order), dtype=torch.float64)
    places[order] = torch.arange(len(order), dtype=torch.float64) / len(order)
    return Judges(_trained(setting, synthetic, *path), teacher.network(dataset, setting.config.gpu, setting.device), places)


def _trained(setting: Setting, synthetic: Tensor, *path: str | int) -> Network:
    """A new network after its training on the set, in eval mode."""
    config, settings, dataset = setting.config, setting.reselect.mistakes, setting.pool.dataset
    shown = [setting.network_inputs(synthetic[setting.rows(c)].detach(), None) for c in setting.classes]
    labels = torch.cat([setting.class_labels(c, len(own)) for c, own in zip(setting.classes, shown, strict=True)])
    network = build(config.network, dataset.shape, dataset.classes)
    initialize(network, generator(config.seed, "mistakes", *path, "network"))
    place(network, config.gpu, setting.device)
    rates = (settings.learning_rate, settings.momentum, settings.weight_decay)
    streams = Streams(*(generator(config.seed, "mistakes", *path, what) for what in STREAMS))
    data = ImageSet.of_tensors(torch.cat(shown), labels, str(setting.device))
    with torch.enable_grad():
        for _ in train(network, data, Schedule(settings.epochs, settings.batch_size, *rates), streams):
            pass
    return network.eval()


def _grouped(setting: Setting, batch: Batch, images: Tensor, judges: Judges) -> Tensor:
    """Group and place of each sample of a batch as one number, float64 `[n]`; augmented `images` are passed over."""
    plain = setting.pool.images(batch.ids, setting.device)
    own = "reselect.mistakes.learning_rate"
    mistaken = ~_right(setting, judges.network, plain, batch.class_index, "the network on the synthetic images", own)
    known = _right(setting, judges.teacher, plain, batch.class_index, "the teacher", "evaluate.teacher.learning_rate")
    groups = torch.full((len(plain),), UNKNOWN, dtype=torch.float64)
    groups[known] = torch.where(mistaken[known], CANDIDATES, KNOWN).double()
    return groups + judges.places[batch.ids.cpu()]


def _right(setting: Setting, network: Network, images: Tensor, class_index: int, whose: str, lowered: str) -> Tensor:
    """Whether a network classifies each of a class's images rightly, bool `[n]` on the CPU. Raises Diverged."""
    logits = torch.cat([network(images[rows]) for rows in micro_batches(images)])
    if not bool(logits.isfinite().all()):
        name = setting.pool.dataset.class_names[class_index]
        raise Diverged(f"the answers of {whose} to images of class {name} are not finite: lower {lowered}")
    return (logits.argmax(dim=1) == class_index).cpu()


def ranked(numbers: Tensor) -> Tensor:
    """Place of each number `[n]` in ascending order, from 1 / n to 1: the pruner compares logarithms, where groups would be far apart."""
    places = torch.empty(len(numbers), dtype=torch.float64)
    places[numbers.argsort(stable=True)] = torch.arange(1, len(numbers) + 1, dtype=torch.float64)
    return places / len(numbers)


MISTAKES = Substitute(_grouped, ranked, prepare)
