"""Train several networks of one architecture in one computation: their parameters are stacked, `torch.func.vmap` runs them.

Every network meets the initial parameters, mini-batches and treatments that it meets in `bilp.training.train.train`,
which is the reference: the results differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bilp.config import NetworkConfig
from bilp.config.shapes import Shape
from bilp.errors import Diverged
from bilp.nets import Network, build, initialize
from bilp.training.answers import Answers, Gathering
from bilp.training.batch_augment import Streams, standardized
from bilp.training.course import Losses
from bilp.training.mini_batches import mini_batches
from bilp.training.train import ImageSet, images_at_once, told_beforehand, trains_alone
from bilp.training.training_schedule import Schedule
from bilp.training.training_step import TrainingStep

Stacked = dict[str, Tensor]

# On a CPU the gain is fewer calls of small operations, and it is lost as soon as the operations themselves are the work:
# above so many values in the largest map of a network's mini-batch (benchmarks/records.md).
CPU_VALUES = 2**18
# On a GPU small sets leave most of the device idle; a training on more images than these fills it alone.
GPU_IMAGES = 4096
# What the networks of one computation may hold at once, in bytes.
BUDGET = {"cpu": 2**30, "cuda": 12 * 2**30}
# Parameters, gradients, momentum (two buffers for AdamW) and the parameters' share of temporary copies.
COPIES_OF_PARAMETERS = 5
# A map is kept for the backward pass, and its gradient is as large.
COPIES_OF_MAPS = 2


class Sampled(Protocol):
    """What the size of a network depends on: a data set, or what is known of one that is not there yet."""

    @property
    def shape(self) -> Shape:
        """Of a sample."""

    @property
    def classes(self) -> int:
        """How many there are."""


def networks_at_once(asked: int | None, config: NetworkConfig, dataset: Sampled, images: int, schedule: Schedule, device: str) -> int:
    """How many networks to train in one computation.

    1 for networks with batch norm, whose running statistics belong to one network, or dropout, which draws random numbers. The
    result depends on nothing that changes between two runs of the same configuration on the same kind of device.

    Args:
        asked: The setting; None decides by device, work and memory.
        config: The network.
        dataset: Whose images have the shape and the classes.
        images: How many images each of the sets has.
        schedule: Of their training.
        device: Where they are trained.
    """
    kind = torch.device(device).type
    batch = min(schedule.batch_size, images)
    maps, largest, parameters, alone = _sizes(config, dataset.shape, dataset.classes)
    if alone:
        return 1
    if asked is not None:
        return asked
    worth_it = largest * batch <= CPU_VALUES if kind == "cpu" else images <= GPU_IMAGES
    bytes_each = 4 * (COPIES_OF_PARAMETERS * parameters + COPIES_OF_MAPS * maps * batch)
    return max(1, BUDGET.get(kind, BUDGET["cpu"]) // bytes_each) if worth_it else 1


def map_values(config: NetworkConfig, shape: Shape, classes: int) -> int:
    """Values of all maps of a network for one image; nothing is computed."""
    return _sizes(config, shape, classes)[0]


def _sizes(config: NetworkConfig, shape: Shape, classes: int) -> tuple[int, int, int, bool]:
    """Values of all maps and of the largest one for an image, parameters, and whether it trains alone; nothing is computed."""
    network = build(config, shape, classes)
    alone = trains_alone(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    counted: list[int] = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _inputs, output: counted.append(output.numel()))
    network.to("meta").eval()(torch.empty(1, *shape, device="meta"))
    return sum(counted), max(counted), parameters, alone


def fresh_stack(network: Network, generators: Sequence[torch.Generator]) -> Stacked:
    """Initial parameters of one network per generator, each `[K, ...]`; `network` is overwritten with the last of them."""
    drawn: list[Stacked] = []
    for stream in generators:
        initialize(network, stream)
        drawn.append({name: parameter.detach().clone() for name, parameter in network.named_parameters()})
    return {name: torch.stack([each[name] for each in drawn]).requires_grad_() for name in drawn[0]}


def train_together(
    network: Network,
    stacked: Stacked,
    sets: Sequence[ImageSet],
    schedule: Schedule,
    streams: Sequence[Streams],
    teacher: nn.Module | None = None,
    losses: Losses | None = None,
) -> Iterator[int]:
    """`train` for K networks at once: parameters `stacked` in place, network k on `sets[k]` with `streams[k]`.

    Raises ValueError if the sets are not equally large, or if the network has batch norm or dropout.

    Args:
        network: Whose layers all K have.
        stacked: Parameters by name, each `[K, ...]`.
        sets: K sets, equally large (or the same).
        schedule: Of all of them.
        streams: K times the random streams of one training.
        teacher: Gives the soft labels, in eval mode; not needed for hard ones.
        losses: Is told the losses of every mini-batch, if given.
    """
    if len({len(each) for each in sets}) != 1 or trains_alone(network):
        raise ValueError("networks are trained together on sets of one size, without batch norm or dropout: train them one by one")
    network.train()
    step = TrainingStep(
        lambda images: _forward(network, stacked, images, shared=False), list(stacked.values()), schedule, teacher, stacked=True
    )
    fixed = _fixed(sets, schedule, teacher)
    for epoch in range(schedule.passes):
        step.begin(epoch)
        orders = torch.stack([torch.randperm(len(sets[0]), generator=each.order) for each in streams])
        for batch in mini_batches(orders, schedule, sets[0].side, streams, sets[0].labels.device):
            wanted = sets[0].indices(batch.indices, batch.there)
            images, labels = _gather(sets, wanted, batch.there)
            told = None if fixed is None else torch.stack([answers(rows) for answers, rows in zip(fixed, wanted, strict=True)])
            images = batch.treated(images)
            loss = step(standardized(images) if schedule.standardize else images, labels, batch.mixed, told)
            if losses is not None:
                losses.add(loss, batch.count)
        if losses is not None:
            losses.end()
        yield epoch


def _fixed(sets: Sequence[ImageSet], schedule: Schedule, teacher: nn.Module | None) -> list[Callable[[Tensor], Tensor]] | None:
    """`told_beforehand` of each set; those of a set that is the same for all are computed once."""
    once = {id(each): told_beforehand(each, schedule, teacher) for each in sets}
    found = [told for each in sets if (told := once[id(each)]) is not None]
    return found or None  # sets of one evaluation all have such labels, or none has


def accuracies(network: Network, stacked: Stacked, data: ImageSet) -> list[float]:
    """Share of `data` that each of the K networks classifies correctly. Raises Diverged naming the first whose logits are not finite."""
    return shares(predictions_of_all(network, stacked, data), data)


def shares(predicted: Tensor, data: ImageSet) -> list[float]:
    """Share of `data`, or of its videos, that is right in each row of predictions `[K, N]`."""
    return [hits / len(data.answered) for hits in (predicted == data.answered).sum(1).tolist()]


def predictions_of_all(network: Network, stacked: Stacked, data: ImageSet) -> Tensor:
    """The class `[K, N]` that each of the K networks takes each image for. Raises Diverged naming the first whose logits are not finite."""
    return answers_of_all(network, stacked, data).predicted


def answers_of_all(network: Network, stacked: Stacked, data: ImageSet, top_k: int | None = None) -> Answers:
    """What each of the K networks says of the images, with the `top_k` likeliest classes if given. Raises as `predictions_of_all`."""
    network.eval()
    networks = len(next(iter(stacked.values())))
    found = Gathering(data.labels, data.windows, top_k)
    finite = torch.ones(networks, dtype=torch.bool, device=data.labels.device)
    with torch.no_grad():
        for batch in data.passes(data.at_once or max(1, images_at_once(data) // networks)):
            logits = _forward(network, stacked, data.images(batch), shared=True)
            found.add(logits, batch)
            finite &= logits.isfinite().flatten(1).all(1)
    if not finite.all():
        raise Diverged(f"the outputs of network {int((~finite).nonzero()[0])} of those trained at once are not finite")
    return found.answers()


def _gather(sets: Sequence[ImageSet], batches: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Images `[K, B, C, H, W]` at the indices `batches` `[K, B]`, and labels `[K, B]` at the same ones on the device, `rows`."""
    first = sets[0]
    if all(each is first for each in sets):
        images = first.images(batches.flatten())
        return images.view(*batches.shape, *images.shape[1:]), first.labels[rows]
    return (
        torch.stack([data.images(batch) for data, batch in zip(sets, batches, strict=True)]),
        torch.stack([data.labels[batch] for data, batch in zip(sets, rows, strict=True)]),
    )


def _forward(network: Network, stacked: Stacked, images: Tensor, shared: bool) -> Tensor:
    """Logits `[K, B, classes]` of images `[K, B, C, H, W]`, or `[B, C, H, W]` if they are the same for all."""

    def one(parameters: Stacked, inputs: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, parameters, (inputs,))
        return logits

    logits: Tensor = vmap(one, in_dims=(0, None if shared else 0))(stacked, images)
    return logits
