"""How often networks that are sure agree with labels: the probability that follows from loss and margin, and the estimate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bilp.scoring.agreement import agreement
from bilp.scoring.criteria import Trajectory


def record(logits: torch.Tensor, labels: torch.Tensor) -> Trajectory:
    """What a trial of one epoch records."""
    losses = cross_entropy(logits, labels, reduction="none")
    own = labels[:, None]
    margins = logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)
    parts = [part[None].numpy().astype(np.float32) for part in (losses, losses, margins)]
    return Trajectory(parts[0], (logits.argmax(1) == labels)[None].numpy(), parts[1], parts[2])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4])
def test_it_is_the_share_of_right_labels_among_the_samples_of_the_largest_probability(share: float) -> None:
    stream = torch.Generator().manual_seed(0)
    true = torch.randint(10, (2000,), generator=stream)
    logits = torch.randn(2000, 10, generator=stream) + 2.5 * torch.eye(10)[true] * torch.rand(2000, 1, generator=stream)
    wrong = torch.rand(2000, generator=stream) < share
    labels = torch.where(wrong, (true + 1) % 10, true)
    surest = logits.softmax(1).amax(1).argsort(descending=True)[:200]
    expected = float((logits.argmax(1) == labels)[surest].float().mean())
    assert agreement([record(logits, labels)]) == pytest.approx(expected, abs=0.011)
    both = agreement([record(logits, labels), record(torch.eye(10)[labels], labels)])
    assert both == pytest.approx((expected + 1) / 2, abs=0.011)


def test_too_few_samples_say_nothing() -> None:
    assert agreement([record(torch.eye(10)[torch.arange(190) % 10], torch.arange(190) % 10)]) is None
