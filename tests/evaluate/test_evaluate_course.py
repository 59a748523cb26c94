"""What an evaluation records besides accuracies: confusion of classes and the course of trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.data import open_dataset
from bilp.distill import load_synthetic
from bilp.evaluate import evaluate_synthetic, train_all
from bilp.evaluate.course_files import confusion_rows, course_rows
from bilp.evaluate.results import FILE, KIND
from bilp.nets import build, initialize
from bilp.seeds import generator
from bilp.training.course import Course, packed, unpacked

PublishSet = Callable[..., str]
MLP = (NetworkConfig(name="mlp"),)


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_confusion_and_curves_agree_with_the_accuracies(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, at_once: int
) -> None:
    config = small.model_copy(update={"networks": MLP, "networks_at_once": at_once, "epochs": 150})
    evaluation = open_artifact(evaluate_synthetic(digits_uri, publish_set("a", 10), "bilp", 0, config, str(tmp_path)), KIND)
    test = open_dataset(digits_uri).test
    per_class = np.bincount(test.labels.numpy(), minlength=10)
    counts, course = confusion_rows(evaluation, 10), course_rows(evaluation)
    assert counts is not None and course is not None
    for row in evaluation.table(FILE, EVALUATION).to_pylist():
        mine = counts[counts["seed"] == row["seed"]]
        assert mine.groupby("label")["images"].sum().tolist() == per_class.tolist()
        right = int(mine[mine["label"] == mine["predicted"]]["images"].sum())
        assert right / len(test) == pytest.approx(row["accuracy"], abs=1e-7)
        curve = course[course["seed"] == row["seed"]]
        tested = curve.dropna(subset="accuracy")
        assert tested["epoch"].iloc[-1] == 151 and tested["accuracy"].iloc[-1] == np.float32(row["accuracy"])
        assert tested["accuracy"].max() == np.float32(row["best_accuracy"])
        losses = curve["loss"].dropna()
        assert len(losses) == 100 and losses.iloc[-1] < losses.iloc[0] / 2


def test_the_loss_is_that_of_the_mini_batches(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    synthetic = publish_set("a", 10)
    config = small.model_copy(update={"networks": MLP, "networks_at_once": 1, "epochs": 1, "augment": (), "batch_size": 1000})
    evaluation = open_artifact(evaluate_synthetic(digits_uri, synthetic, "bilp", 0, config, str(tmp_path)), KIND)
    images, labels = load_synthetic(synthetic)
    network = build(MLP[0], (1, 8, 8), 10)
    course = course_rows(evaluation)
    assert course is not None
    for seed in (0, 1):
        initialize(network, generator(config.seed, "evaluate", "network", "mlp", seed))
        with torch.no_grad():
            expected = F.cross_entropy(network(images), labels).item()
        first = course[(course["seed"] == seed) & (course["epoch"] == 1)]
        assert first["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_trainings_kept_before_are_taken_as_they_are(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained again for what their version did not record; what is trained now has it."""
    config = small.model_copy(update={"networks": MLP, "networks_at_once": 1})
    synthetic, root = publish_set("a"), str(tmp_path)
    uri = evaluate_synthetic(digits_uri, synthetic, "bilp", 0, config, root)
    before = open_artifact(uri, KIND)
    accuracies = before.read(FILE)
    for file in tmp_path.glob("trainings/**/*.json"):
        told = json.loads(file.read_text(encoding="utf-8"))
        for training in told["trainings"]:
            del training["course"]
        told["digest"] = content_key("trainings", 1, trainings=told["trainings"])
        file.write_text(json.dumps(told), encoding="utf-8")
    for path in Path(uri).iterdir():
        path.unlink()
    more = config.model_copy(update={"seeds": 3})
    mixed = open_artifact(evaluate_synthetic(digits_uri, synthetic, "bilp", 0, more, root), KIND)
    counts = confusion_rows(mixed, 10)
    assert counts is not None and set(counts["seed"]) == {2}, "only the third was trained now"
    monkeypatch.setattr(train_all, "_alone", lambda *_: pytest.fail("trained again"))
    again = open_artifact(evaluate_synthetic(digits_uri, synthetic, "bilp", 0, config, root), KIND)
    assert again.uri == before.uri and again.read(FILE) == accuracies
    assert list(again.manifest.files) == [FILE]
    assert confusion_rows(again, 10) is None and course_rows(again) is None


def test_counts_of_a_thousand_classes_are_small() -> None:
    counts = np.zeros((1000, 1000), dtype=np.int64)
    stream = np.random.default_rng(0)
    np.add.at(counts, (np.repeat(np.arange(1000), 50), stream.integers(0, 1000, 50_000)), 1)
    text = packed(counts)
    assert len(text) < 120_000
    again = np.zeros_like(counts)
    labels, predicted, images = unpacked(text, 1000)
    again[labels, predicted] = images
    assert (again == counts).all()
    with pytest.raises(ValueError, match="no counts of pairs of 10 classes"):
        unpacked(text, 10)


@pytest.mark.parametrize("changed", [{"confusion": "AAAA"}, {"tested": (1,)}, {"tested": (3, 9)}, {"losses": (0.5,) * 101}])
def test_a_course_that_cannot_be_is_refused(changed: dict[str, object]) -> None:
    course = Course.of(np.array([2.0, 1.0, 0.5]), [1, 2], [0.5, 0.75], np.array([[3, 1], [0, 0]]))
    assert course.loss_epochs() == [1, 2, 3] and course.tested == (2, 3)
    with pytest.raises(ValueError):
        Course.model_validate({**course.model_dump(), **changed})


def test_a_loss_that_left_the_numbers_is_left_out() -> None:
    course = Course.of(np.array([2.0, np.inf, 0.5]), [2], [0.5], np.array([[1, 0], [0, 1]]))
    assert course.losses == () and course.accuracies == (0.5,)
