"""The teacher as an artifact, soft labels from it, and real images chosen in its features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig, PruneConfig, TeacherConfig
from bilp.config.arms import needs_teacher
from bilp.data import Dataset
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, train_teacher
from bilp.evaluate.baselines import Choice, centered_choice, herded_choice
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.teacher import FILE as TEACHER_FILE
from bilp.evaluate.teacher import KIND as TEACHER
from bilp.evaluate.teacher import features, load_teacher
from bilp.nets import build, initialize
from bilp.pruning.prune import prune
from bilp.pruning.selected import real_pool
from bilp.seeds import generator
from bilp.training.batch_augment import STREAMS, Streams
from bilp.training.train import ImageSet, train
from bilp.training.training_schedule import Schedule

PublishSet = Callable[..., str]
TINY = TeacherConfig(network=NetworkConfig(width=8), epochs=3, batch_size=64, learning_rate=0.05)


@pytest.fixture(scope="module")
def teacher_uri(digits_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_teacher(digits_uri, TINY, 0, str(tmp_path_factory.mktemp("teacher")))


def test_a_teacher_learns_is_found_again_and_has_the_same_bytes(digits_uri: str, digits: Dataset, teacher_uri: str, tmp_path: Path) -> None:
    artifact = open_artifact(teacher_uri, TEACHER)
    assert artifact.fact("accuracy") > 0.8
    assert artifact.parents == {"dataset": digits_uri}
    other = train_teacher(digits_uri, TINY, 0, str(tmp_path))
    assert open_artifact(other, TEACHER).read(TEACHER_FILE) == artifact.read(TEACHER_FILE)
    assert train_teacher(digits_uri, TINY, 0, str(tmp_path), progress=lambda *_: pytest.fail("trained again")) == other
    assert train_teacher(digits_uri, TINY.model_copy(update={"epochs": 1}), 0, str(tmp_path)) != other
    network = load_teacher(teacher_uri, digits, TINY)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(IncompatibleArtifact, match="network: expected"):
        load_teacher(teacher_uri, digits, TeacherConfig())


def test_a_teacher_of_a_selection_learns_that_alone(digits_uri: str, digits: Dataset, teacher_uri: str, tmp_path: Path) -> None:
    root, config = str(tmp_path), PruneConfig(criterion="random", keep=0.5)
    selection = prune(digits_uri, None, config, root)
    uri = train_teacher(digits_uri, TINY, 0, root, selection_uri=selection)
    assert train_teacher(digits_uri, TINY, 0, root, selection_uri=selection, progress=lambda *_: pytest.fail("trained again")) == uri
    artifact = open_artifact(uri, TEACHER)
    assert artifact.parents == {"dataset": digits_uri, "selection": selection}
    assert artifact.fact("selection") == open_artifact(selection, "selection").manifest.key
    other = prune(digits_uri, None, config.model_copy(update={"seed": 1}), root)
    assert len({uri.rpartition("/")[2], teacher_uri.rpartition("/")[2], train_teacher(digits_uri, TINY, 0, root, selection_uri=other)}) == 3
    found, expected = load_teacher(uri, digits, TINY), build(TINY.network, digits.shape, digits.classes)
    ids = torch.cat(real_pool(digits, selection).by_class)
    assert 0 < len(ids) < len(digits.train)
    initialize(expected, generator(0, "teacher", "network"))
    data = ImageSet.of_tensors(digits.train.batch(ids), digits.train.labels[ids])
    for _ in train(expected, data, Schedule.of_teacher(TINY), Streams(*(generator(0, "teacher", what) for what in STREAMS))):
        pass
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_soft_labels_teach_and_are_part_of_the_key(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    synthetic, root = publish_set("a", 5), str(tmp_path)
    update = {"labels": "soft", "temperature": 4.0, "teacher": TINY, "epochs": 60, "optimizer": "adamw", "learning_rate": 0.01}
    soft = small.model_copy(update={**update, "decay": "cosine"})
    uris = [evaluate_synthetic(digits_uri, synthetic, "static", 0, soft, root)]
    assert len(list(tmp_path.glob("teachers/*"))) == 1
    rows = open_artifact(uris[0], KIND).table(FILE, EVALUATION).to_pylist()
    assert all(row["accuracy"] > 0.5 for row in rows)
    quick = soft.model_copy(update={"epochs": 1})
    for changed in ({}, {"temperature": 5.0}, {"teacher": TINY.model_copy(update={"epochs": 1})}, {"labels": "hard"}):
        uris.append(evaluate_synthetic(digits_uri, synthetic, "static", 0, quick.model_copy(update=changed), root))
    assert len(set(uris)) == 5
    hard = quick.model_copy(update={"labels": "hard", "teacher": TeacherConfig(), "temperature": 9.0})
    assert evaluate_synthetic(digits_uri, synthetic, "static", 0, hard, root) == uris[-1], "a teacher without a say is not part of the key"


def test_who_needs_a_teacher() -> None:
    assert not needs_teacher(EvaluateConfig())
    assert needs_teacher(EvaluateConfig(labels="soft"))
    assert needs_teacher(EvaluateConfig(baselines=("random", "herding")))
    assert needs_teacher(EvaluateConfig(baselines=("k_center",)))


def test_herding_and_k_center_by_their_definitions(digits: Dataset, teacher_uri: str) -> None:
    teacher = load_teacher(teacher_uri, digits, TINY)
    members = digits.train.by_class()[3]
    vectors = features(teacher, digits, members).double()
    mean, chosen = vectors.mean(0), list[int]()
    for k in range(4):
        total = vectors[chosen].sum(0) if chosen else torch.zeros_like(mean)
        distances = [(((k + 1) * mean - total - v).norm().item(), i) for i, v in enumerate(vectors) if i not in chosen]
        chosen.append(min(distances)[1])
    herded = herded_choice(Choice(digits, 4, 0, teacher))
    assert herded(0)[12:16].tolist() == members[chosen].tolist()
    assert torch.equal(herded(0), herded(1))
    centers = centered_choice(Choice(digits, 4, 0, teacher))
    found = [members.tolist().index(sample) for sample in centers(0)[12:16].tolist()]
    for k in range(1, 4):
        nearest = torch.cdist(vectors, vectors[found[:k]]).min(1).values
        assert nearest[found[k]] == pytest.approx(nearest.max().item(), rel=1e-6)
    assert not torch.equal(centers(0), centers(1)), "each training starts elsewhere"
    assert torch.equal(centered_choice(Choice(digits, 4, 0, teacher))(1), centers(1))


@pytest.mark.parametrize("baseline", ["herding", "k_center"])
def test_covering_baselines_are_evaluated_like_the_random_one(
    baseline: str, digits_uri: str, small: EvaluateConfig, tmp_path: Path
) -> None:
    config = small.model_copy(update={"teacher": TINY})
    uri = evaluate_baseline(digits_uri, baseline, 3, config, str(tmp_path))  # type: ignore[arg-type]
    rows = open_artifact(uri, KIND).table(FILE, EVALUATION).to_pylist()
    assert all((row["arm"], row["train_images"], row["epochs"]) == (baseline, 30, 8) for row in rows)
    assert all(row["accuracy"] > 0.3 for row in rows)
    with pytest.raises(ConfigError, match=f"baseline {baseline} needs ipc = 140"):
        evaluate_baseline(digits_uri, baseline, 140, config, str(tmp_path))  # type: ignore[arg-type]
