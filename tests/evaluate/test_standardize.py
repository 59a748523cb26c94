"""Mini-batches less their mean over their deviation, in training and in testing, alone and together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.data import Dataset
from bilp.evaluate import evaluate_baseline, train_all
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.stacked_training import answers_of_all, fresh_stack
from bilp.nets import build, initialize
from bilp.seeds import generator
from bilp.training.batch_augment import Streams, standardized
from bilp.training.train import ImageSet, answers, train
from bilp.training.training_schedule import Schedule

MLP = NetworkConfig(name="mlp")


def test_each_mini_batch_by_itself() -> None:
    images = torch.randn(3, 5, 1, 4, 4, generator=generator(0, "images")) * 3 + 7
    found = standardized(images)
    for batch, one in zip(images, found, strict=True):
        torch.testing.assert_close(one, (batch - batch.mean()) / batch.std())
    assert found.mean((1, 2, 3, 4)).abs().max() < 1e-6


def test_a_training_does_not_notice_brightness_and_contrast() -> None:
    images = torch.randn(40, 1, 8, 8, generator=generator(1, "images"), dtype=torch.float64)
    labels = torch.randint(10, (40,), generator=generator(1, "labels"))
    trained = []
    for scale, shift in ((1.0, 0.0), (5.0, 3.0)):
        network = build(MLP, (1, 8, 8), 10).double()
        initialize(network, generator(7))
        data = ImageSet.of_tensors(images * scale + shift, labels)
        list(train(network, data, Schedule(2, 16, 0.05, 0.9, 5e-3, standardize=True), Streams.of(1, "net", 0)))
        trained.append([parameter.detach() for parameter in network.parameters()])
    for one, other in zip(*trained, strict=True):
        torch.testing.assert_close(one, other)


def test_tests_go_by_mini_batches_of_256_however_many_networks_there_are(digits: Dataset) -> None:
    test = train_all.tested(EvaluateConfig(standardize="batch"), digits, "cpu")
    assert [len(part) for part in test.passes(256)] == [256, len(test) - 256]
    network = build(MLP, digits.shape, digits.classes)
    stacked = fresh_stack(network, [generator(7, k) for k in range(3)])
    together = answers_of_all(network, stacked, test, 5)
    plain = ImageSet.of_split(digits.test, digits.shape)
    for k in range(3):
        initialize(network, generator(7, k))
        assert torch.equal(answers(network, test).predicted, together.predicted[k])
        with torch.no_grad():
            parts = [plain.images(part) for part in torch.arange(len(test)).split(256)]
            expected = torch.cat([network((part - part.mean()) / part.std()).argmax(1) for part in parts])
        assert torch.equal(expected, together.predicted[k])


def test_the_stage_does_it_and_asks_for_another_key(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"networks": (MLP,), "epochs": 4, "networks_at_once": 1})
    changed = config.model_copy(update={"standardize": "batch"})
    plain, batch = (evaluate_baseline(digits_uri, "random", 1, each, str(tmp_path)) for each in (config, changed))
    assert plain != batch
    left, right = (open_artifact(uri, KIND).table(FILE, EVALUATION)["accuracy"].to_pylist() for uri in (plain, batch))
    assert left != right
    with pytest.raises(ValueError, match="standardize batch is of programs with hard labels"):
        EvaluateConfig(standardize="batch", labels="soft")
