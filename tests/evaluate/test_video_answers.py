"""Clips of one video have one answer, that of their mean probabilities: against a table by hand and a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from bilp.artifacts.artifact import open_artifact
from bilp.config import EvaluateConfig, IngestConfig, NetworkConfig
from bilp.config.network import FRAME_MEAN
from bilp.data import open_dataset, read_source
from bilp.data.source_record import open_record
from bilp.evaluate import evaluate_baseline, train_all
from bilp.evaluate.results import KIND
from bilp.evaluate.rows import evaluation_rows
from bilp.evaluate.stacked_training import accuracies, answers_of_all, fresh_stack
from bilp.nets import build, initialize
from bilp.seeds import generator
from bilp.training.answers import Windows
from bilp.training.train import ImageSet, accuracy, answers


class Said(nn.Module):
    """A network whose logits are what it is given."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


BY_HAND = (
    # video, label, probabilities in percent of each of seven classes
    (0, 1, (60, 40, 0, 0, 0, 0, 0)),
    (0, 1, (30, 70, 0, 0, 0, 0, 0)),  # mean 45, 55: right, as the surer one says
    (1, 0, (34, 33, 33, 0, 0, 0, 0)),
    (1, 0, (34, 33, 33, 0, 0, 0, 0)),
    (1, 0, (0, 99, 1, 0, 0, 0, 0)),  # mean 22.7, 55: wrong, though two of three clips are right; second of seven
    (2, 6, (16, 16, 16, 16, 16, 16, 4)),
    (2, 6, (30, 20, 15, 12, 11, 12, 0)),  # seventh of seven
    (3, 5, (0, 5, 25, 20, 20, 30, 0)),  # one clip alone: right
    (4, 0, (90, 10, 0, 0, 0, 0, 0)),
    (4, 0, (90, 10, 0, 0, 0, 0, 0)),
    (4, 0, (0, 100, 0, 0, 0, 0, 0)),  # mean probabilities 60, 40: right, where mean logits would say 1
)


def test_answers_of_videos_by_hand() -> None:
    labels, videos = (torch.tensor([row[place] for row in BY_HAND]) for place in (1, 0))
    logits = torch.tensor([row[2] for row in BY_HAND]).float().add(1e-6).log()[:, :, None, None]
    held = ImageSet.of_tensors(logits, labels)
    data = ImageSet(held.images, labels, (1, 1), held=True, windows=Windows.of(videos, labels, "cpu"))
    found = answers(Said(), data, 5)
    assert data.answered.tolist() == [1, 0, 6, 5, 0]
    assert found.predicted.tolist() == [1, 1, 0, 5, 0]
    assert found.within is not None and found.within.tolist() == [True, True, False, True, True]
    assert found.top_k_shares() == [4 / 5] and accuracy(Said(), data) == 3 / 5
    assert accuracy(Said(), held) == 6 / 11, "each clip by itself"


def test_clips_of_one_video_with_two_labels_have_two_answers() -> None:
    found = Windows.of(torch.tensor([0, 0, 1, 0]), torch.tensor([2, 3, 3, 2]), "cpu")
    assert found.labels.tolist() == [2, 3, 3] and found.number.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("at_once", [None, 7])
def test_networks_alone_and_together_answer_as_a_plain_loop(at_once: int | None) -> None:
    stream = generator(0, "images")
    videos = torch.randint(20, (60,), generator=stream)
    labels = (videos * 7) % 10
    held = ImageSet.of_tensors(torch.randn(60, 1, 8, 8, generator=stream), labels)
    data = ImageSet(held.images, labels, held.side, held=True, at_once=at_once, windows=Windows.of(videos, labels, "cpu"))
    network = build(NetworkConfig(name="mlp"), (1, 8, 8), 10)
    stacked = fresh_stack(network, [generator(7, k) for k in range(3)])
    together, shares = answers_of_all(network, stacked, data, 5), accuracies(network, stacked, data)
    for k in range(3):
        initialize(network, generator(7, k))
        alone = answers(network, data, 5)
        assert torch.equal(alone.predicted, together.predicted[k])
        assert alone.within is not None and together.within is not None and torch.equal(alone.within, together.within[k])
        right, within = [], []
        for video in sorted(set(videos.tolist())):
            with torch.no_grad():
                mean = network(held.images((videos == video).nonzero()[:, 0])).softmax(1).mean(0)
            label = 7 * video % 10
            right.append(int(mean.argmax()) == label)
            within.append(label in mean.topk(5).indices.tolist())
        assert accuracy(network, data) == shares[k] == np.mean(right)
        assert alone.top_k_shares() == [np.mean(within)]


@pytest.mark.slow
def test_the_stage_counts_videos(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, videos in (("train", 2), ("test", 3)):
        for name in ("run", "walk"):
            for video in range(videos):
                folder = tmp_path / "clips" / split / name / f"{split}_{video}"
                folder.mkdir(parents=True)
                for frame in range(9):
                    Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{frame}.png")
    config = IngestConfig(source="video_folder", uri=str(tmp_path / "clips"), sampling="window", clips=4, frames=2, stride=1, resolution=8)
    root = str(tmp_path / "store")
    data = open_dataset(open_record(read_source(config, root)).dataset_uri)
    assert (len(data.train), len(data.test)) == (4, 24)
    asked = EvaluateConfig(networks=(NetworkConfig(name=FRAME_MEAN, width=4, depth=1),), seeds=3, epochs=2, augment=())
    assert len(train_all.tested(asked, data, "cpu").answered) == 6
    rows = evaluation_rows(open_artifact(evaluate_baseline(data.uri, "random", 1, asked, root), KIND))
    assert all(6 * row["accuracy"] == pytest.approx(round(6 * row["accuracy"])) for row in rows)
