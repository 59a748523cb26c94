"""Soft labels that a synthetic set stores: learned as what a teacher says would be, without a teacher; refused where there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig, TeacherConfig
from bilp.config.arms import needs_teacher
from bilp.config.decode import DecodeConfig
from bilp.data import Dataset
from bilp.errors import ConfigError
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.stacked_training import fresh_stack, train_together
from bilp.nets import build, initialize
from bilp.preflight import check_labels
from bilp.seeds import generator
from bilp.training.batch_augment import Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

PublishSet = Callable[..., str]
NARROW = NetworkConfig(width=8)
TAUGHT = Schedule(2, 8, 0.01, 0.9, 0.0, optimizer="adamw", decay="cosine", temperature=4.0, fixed_labels=True, cutmix=0.5)


def shapes(digits: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    """Twenty images, their labels, and logits that agree with these without being them."""
    chosen = torch.cat([indices[:2] for indices in digits.train.by_class()])
    labels = digits.train.labels[chosen]
    drawn = torch.randn(20, 10, generator=generator(0, "logits"))
    return digits.train.batch(chosen), labels, drawn + 6.0 * functional.one_hot(labels, 10)


def test_networks_learn_what_is_stored_as_they_learn_what_a_teacher_says(digits: Dataset) -> None:
    images, labels, _ = shapes(digits)
    teacher = build(NARROW, digits.shape, digits.classes).eval()
    initialize(teacher, generator(1, "teacher"))
    with torch.no_grad():
        stored = replace(ImageSet.of_tensors(images, labels), told=teacher(images))
    learned = []
    for data, asked in ((ImageSet.of_tensors(images, labels), teacher), (stored, None)):
        network = build(NARROW, digits.shape, digits.classes)
        initialize(network, generator(2, "network"))
        assert list(train(network, data, TAUGHT, Streams.of(0, "network", 0), asked)) == [0, 1]
        module = build(NARROW, digits.shape, digits.classes)
        stacked = fresh_stack(module, [generator(2, "network"), generator(3, "network")])
        streams = [Streams.of(0, "network", seed) for seed in (0, 1)]
        assert list(train_together(module, stacked, [data] * 2, TAUGHT, streams, asked)) == [0, 1]
        learned.append(torch.cat([each.detach().flatten() for each in (*network.parameters(), *stacked.values())]))
    assert torch.equal(*learned)


def soft(small: EvaluateConfig, **changed: Any) -> EvaluateConfig:
    given = {"labels": "stored", "temperature": 1.0, "optimizer": "adamw", "learning_rate": 0.01, "decay": "cosine", "networks": (NARROW,)}
    return small.model_copy(update={**given, "epochs": 60, "seeds": 2, **changed})


@pytest.mark.slow
def test_no_teacher_is_asked_or_counts(
    digits_uri: str, digits: Dataset, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    _, _, logits = shapes(digits)
    uri, root, config = publish_set("told", logits=logits), str(tmp_path), soft(small)
    evaluated = evaluate_synthetic(digits_uri, uri, "static", 0, config, root)
    rows = open_artifact(evaluated, KIND).table(FILE, EVALUATION).to_pylist()
    assert min(row["accuracy"] for row in rows) > 0.3, "three times what guessing reaches"
    assert not list(tmp_path.glob("teachers/*"))
    other = config.model_copy(update={"teacher": TeacherConfig(epochs=1)})
    assert evaluate_synthetic(digits_uri, uri, "static", 0, other, root) == evaluated
    quick = config.model_copy(update={"epochs": 1})
    turned = publish_set("turned", logits=logits.roll(1, dims=1))
    found = {evaluate_synthetic(digits_uri, uri, "static", 0, quick.model_copy(update=own), root) for own in ({}, {"temperature": 5.0})}
    assert len(found | {evaluate_synthetic(digits_uri, turned, "static", 0, quick, root)}) == 3


@pytest.mark.slow
def test_real_images_store_none_and_have_those_of_a_teacher(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    brief = {"epochs": 1, "teacher": TeacherConfig(network=NARROW, epochs=1, batch_size=256)}
    uris = [evaluate_baseline(digits_uri, "random", 1, soft(small, **brief, labels=name), str(tmp_path)) for name in ("stored", "fixed")]
    assert uris[0] == uris[1]
    assert needs_teacher(soft(small, baselines=("random",)))
    assert not needs_teacher(soft(small, baselines=()))


def test_sets_without_are_refused(digits_uri: str, digits: Dataset, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    none = publish_set("none")
    with pytest.raises(
        ConfigError, match=r"stores no soft labels, which evaluate.labels stored asks for: set evaluate.labels to fixed, .* or to hard$"
    ):
        evaluate_synthetic(digits_uri, none, "static", 0, soft(small), str(tmp_path))
    decode = DecodeConfig(factor=2).model_dump(mode="json")
    several = publish_set("several", logits=shapes(digits)[2], decode=decode)
    with pytest.raises(ConfigError, match="stores labels of images that stand for several: set evaluate.labels to fixed"):
        evaluate_synthetic(digits_uri, several, "static", 0, soft(small), str(tmp_path))
    assert not list(tmp_path.glob("evaluations/*"))


def test_a_run_is_refused_before_it_distills() -> None:
    def of(method: str, **distill: Any) -> bilp.PipelineConfig:
        return bilp.settings(dataset="digits", method=method, distill=distill, evaluate={"labels": "stored"}, arms=["unpruned"])

    check_labels(of("rded"))
    refused = "those of method {} store none with these settings .*rded.* can.*: use fixed, which asks a teacher"
    with pytest.raises(ConfigError, match=refused.format("dm")):
        check_labels(of("dm"))
    with pytest.raises(ConfigError, match=refused.format("ca2d")):
        check_labels(of("ca2d", patches={"soft_labels": "none"}))
