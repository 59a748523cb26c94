"""InfoBatch: who is left out, that everybody counts once on average, and the training against a plain loop."""

from __future__ import annotations

import torch
from torch.nn import functional

from bilp.config import NetworkConfig, TeacherConfig
from bilp.data import Dataset
from bilp.evaluate.infobatch import LossPruning, train_on_hard
from bilp.evaluate.teacher import teacher_key
from bilp.nets import build, initialize
from bilp.seeds import generator
from bilp.teachers.supplied import recorded
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet
from bilp.training.training_schedule import Schedule

NARROW = NetworkConfig(width=4, depth=2)


def test_easy_images_are_left_out_and_everybody_counts_once_on_average() -> None:
    losses = torch.linspace(0.0, 1.0, 40) ** 2
    pruning = LossPruning(40, 0.25, 1000, generator(1, "left out"))
    met, weights = pruning.drawn(0)
    assert met.all() and torch.equal(weights, torch.ones(40)), "no loss is known"
    pruning.note(torch.arange(40), losses)
    easy, total = losses < losses.mean(), torch.zeros(40)
    for epoch in range(1, 801):
        met, weights = pruning.drawn(epoch)
        assert met[~easy].all() and torch.equal(weights, torch.where(easy, 4 / 3, 1.0))
        total += met * weights
    assert torch.equal(total[~easy], torch.full((int((~easy).sum()),), 800.0))
    assert float((total[easy] / 800 - 1).abs().max()) < 0.08, "4.6 standard deviations of the mean of 800 draws"
    assert [bool(pruning.drawn(epoch)[0].all()) for epoch in (874, 875, 999)] == [False, True, True]


def test_a_training_is_that_of_a_plain_loop(digits: Dataset) -> None:
    images, labels = digits.train.batch(torch.arange(48)), digits.train.labels[:48]
    schedule = Schedule(6, 16, 0.05, 0.9, 5e-4, decay="cosine")
    network, plain = (build(NARROW, digits.shape, digits.classes) for _ in range(2))
    for each in (network, plain):
        initialize(each, generator(2, "network"))
    pruning = LossPruning(48, 0.5, 6, generator(3, "left out"))
    assert list(train_on_hard(network, ImageSet.of_tensors(images, labels), schedule, Streams.of(0, "x", 0), pruning)) == [*range(6)]
    drawing, order, last, seen = generator(3, "left out"), Streams.of(0, "x", 0).order, [0.0] * 48, []
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        optimizer.param_groups[0]["lr"] = schedule.rate(epoch)
        mean, pruned = sum(last) / 48, 0 < epoch < 6  # the last eighth of six passes is less than one
        lots = torch.rand(48, generator=drawing) if pruned else torch.ones(48)
        left = [k for k in torch.randperm(48, generator=order).tolist() if not (pruned and last[k] < mean and lots[k] < 0.5)]
        seen.append(len(left))
        before = list(last)
        for start in range(0, len(left), 16):
            rows = left[start : start + 16]
            losses = functional.cross_entropy(plain(images[rows]), labels[rows], reduction="none")
            weights = torch.tensor([2.0 if pruned and before[k] < mean else 1.0 for k in rows])
            optimizer.zero_grad()
            (losses * weights).mean().backward()
            optimizer.step()
            for k, loss in zip(rows, losses.tolist(), strict=True):
                last[k] = loss
    assert seen[0] == 48 and max(seen[1:]) < 48
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_it_is_in_the_key_only_where_it_is_asked_for(digits: Dataset) -> None:
    plain = TeacherConfig(network=NARROW)
    assert {"infobatch"} <= recorded(plain) and "infobatch" not in recorded(plain.model_copy(update={"infobatch": 0.5}))
    assert len({teacher_key(digits, plain.model_copy(update={"infobatch": share}), 0) for share in (0.0, 0.5, 0.6)}) == 3
