"""Initial images and labels of DATM (Guo et al. 2024): real samples that experts classify correctly, and what these experts say of them.

As its program chooses them: expert 0, after its last epoch, looks at the samples of a class in a random order until it has classified as
many correctly as are needed. If it has seen all before that, the next expert looks at those that are left, and so on. The label of an
image is the mean of the logits of those experts that classify it correctly.

Where no expert does, the program goes on for ever with the images and divides zero by zero for the labels. Here the images are then filled
up with those that come first in the order. And the label is the mean of the logits of all experts, in which the largest number and the one
of the image's class have changed places: it says, like every other one, that the class is the likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bilp.config import DistillConfig
from bilp.data.pool import RealPool
from bilp.experts.buffer import ExpertBuffer
from bilp.experts.expert_answers import AT_ONCE, ExpertAnswers
from bilp.nets.arithmetic import arithmetic


def recognized(
    config: DistillConfig, pool: RealPool, orders: Mapping[int, Tensor], experts: ExpertBuffer, device: torch.device | str
) -> list[Tensor]:
    """The sample_ids, int64, that the images of each class are made of.

    Args:
        config: settings of the run, which say how many.
        pool: its real samples.
        orders: sample_ids `[n]` in the order in which they are looked at, by class.
        experts: who looks.
        device: where.
    """
    wanted = config.ipc * config.decode.factor**2
    answers = ExpertAnswers(experts, config.network, pool.dataset.shape, pool.classes, device)
    with arithmetic(config.gpu, device):
        return [_first_recognized(answers, pool, c, order, wanted) for c, order in orders.items()]


def _first_recognized(answers: ExpertAnswers, pool: RealPool, class_index: int, order: Tensor, wanted: int) -> Tensor:
    """`wanted` of the sample_ids `order` `[n]` of a class."""
    chosen, left = order[:0], order
    for expert in range(len(answers)):
        found = [order[:0]]
        for ids in left.split(AT_ONCE):
            right = answers.logits(expert, pool.images(ids)).argmax(1).cpu() == class_index
            found.append(ids[right])
            if len(chosen) + sum(map(len, found)) >= wanted:
                return torch.cat([chosen, *found])[:wanted]
        chosen = torch.cat([chosen, *found])
        left = left[~torch.isin(left, chosen)]
    return torch.cat([chosen, left])[:wanted]


def initial_logits(answers: ExpertAnswers, images: Tensor, labels: Tensor) -> Tensor:
    """The logits of the first soft labels, float32 `[M, classes]`, of images `[M, C, H, W]` and their classes, int64 `[M]`, which lie on
    the device of the experts."""
    right_sum = whole_sum = torch.zeros(())
    right_count = torch.zeros(len(labels), device=labels.device)
    for expert in range(len(answers)):
        logits = answers.logits(expert, images)
        right = logits.argmax(1) == labels
        right_sum = right_sum.to(logits) + logits * right.unsqueeze(1)
        whole_sum = whole_sum.to(logits) + logits
        right_count += right
    known = (right_count > 0).unsqueeze(1)
    return torch.where(known, right_sum / right_count.clamp(min=1).unsqueeze(1), with_class_first(whole_sum / len(answers), labels))


def with_class_first(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits `[M, classes]` in each row of which the largest number and that of the class `labels` `[M]` have changed places."""
    largest, places = logits.max(1, keepdim=True)
    own = logits.gather(1, labels.unsqueeze(1))
    return logits.scatter(1, places, own).scatter(1, labels.unsqueeze(1), largest)
