"""The stage: what is published, that arms draw common random numbers, caching, determinism and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.data import Dataset
from bilp.errors import ConfigError, DamagedArtifact, Diverged, IncompatibleArtifact, MissingArtifact
from bilp.evaluate import evaluate_baseline, evaluate_synthetic
from bilp.evaluate.baselines import random_subset
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.train_all import Plan, look_epochs, train_all
from bilp.training.train import ImageSet

PublishSet = Callable[..., str]


def table(uri: str) -> pa.Table:
    return open_artifact(uri, KIND).table(FILE, EVALUATION)


def test_a_synthetic_set_of_real_images_teaches(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    config = small.model_copy(
        update={"networks": (NetworkConfig(width=16), NetworkConfig(name="mlp")), "epochs": 20, "networks_at_once": 1}
    )
    steps: list[tuple[int, int]] = []
    uri = evaluate_synthetic(
        digits_uri,
        publish_set("a", 10),
        "bilp",
        3,
        config,
        str(tmp_path),
        progress=lambda done, total, note="": steps.append((done, total)),
    )
    rows = table(uri).to_pylist()
    assert [(row["network"], row["seed"]) for row in rows] == [("convnet width 16", 0), ("convnet width 16", 1), ("mlp", 0), ("mlp", 1)]
    for row in rows:
        assert (row["arm"], row["experiment"], row["train_images"], row["epochs"]) == ("bilp", 3, 100, 20)
        assert 0.6 < row["accuracy"] <= row["best_accuracy"] <= 1.0
    assert steps == [(done, 84) for done in range(1, 85)]
    artifact = open_artifact(uri, KIND)
    assert uri == f"{tmp_path}/evaluations/{artifact.manifest.key}"
    assert artifact.fact("arm") == "bilp"
    assert artifact.parents["dataset"] == digits_uri


def test_the_same_evaluation_gives_the_same_bytes_and_is_not_repeated(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    synthetic = publish_set("a")
    config = small.model_copy(update={"augment": ("color", "scale")})
    before = torch.random.get_rng_state()
    roots = [str(tmp_path / name) for name in ("one", "two")]
    first, second = (evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root) for root in roots)
    assert torch.equal(before, torch.random.get_rng_state())
    assert open_artifact(first, KIND).read(FILE) == open_artifact(second, KIND).read(FILE)

    def never(done: int, total: int, note: str = "") -> None:
        raise AssertionError("trained again")

    other = config.model_copy(update={"baselines": ("full",), "full_epochs": 99})  # does not concern this set
    assert evaluate_synthetic(digits_uri, synthetic, "static", 0, other, roots[0], progress=never) == first


def test_everything_that_matters_is_in_the_key(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    quick = small.model_copy(update={"epochs": 1, "networks": (NetworkConfig(name="mlp"),)})
    one, two = publish_set("a"), publish_set("b")
    root = str(tmp_path)
    uris = [
        evaluate_synthetic(digits_uri, one, "static", 0, quick, root),
        evaluate_synthetic(digits_uri, two, "static", 0, quick, root),
        evaluate_synthetic(digits_uri, one, "bilp", 0, quick, root),
        evaluate_synthetic(digits_uri, one, "static", 1, quick, root),
        evaluate_synthetic(digits_uri, one, "static", 0, quick.model_copy(update={"seed": 1}), root),
        evaluate_synthetic(digits_uri, one, "static", 0, quick.model_copy(update={"epochs": 2}), root),
        evaluate_baseline(digits_uri, "random", 2, quick, root),
        evaluate_baseline(digits_uri, "random", 3, quick, root),
        evaluate_baseline(digits_uri, "full", 2, quick, root),
    ]
    assert len(set(uris)) == len(uris)
    assert evaluate_baseline(digits_uri, "full", 3, quick, root) == uris[-1]  # all data are all data at any ipc


def test_arms_and_lists_of_networks_meet_the_same_chance(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    networks = (NetworkConfig(width=16), NetworkConfig(name="mlp"))
    config = small.model_copy(update={"networks": networks, "augment": ("crop", "rotate"), "epochs": 4})
    backwards = config.model_copy(update={"networks": networks[::-1], "seeds": 3})
    synthetic, root = publish_set("a"), str(tmp_path)
    left = table(evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root)).to_pylist()
    right = table(evaluate_synthetic(digits_uri, synthetic, "bilp", 1, backwards, root)).to_pylist()
    accuracies = {(row["network"], row["seed"]): row["accuracy"] for row in right}
    assert len(accuracies) == 6
    assert [row["accuracy"] for row in left] == [accuracies[row["network"], row["seed"]] for row in left]
    assert len({row["accuracy"] for row in left}) > 1, "seeds and networks differ"


def test_all_real_data_teach_best(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    rows = table(evaluate_baseline(digits_uri, "full", 1, small, str(tmp_path))).to_pylist()
    assert [row["train_images"] for row in rows] == [1438, 1438]
    assert all(row["arm"] == "full" and row["epochs"] == 2 and row["experiment"] == 0 and row["accuracy"] > 0.9 for row in rows)


def test_the_random_baseline_draws_balanced_subsets_anew_for_each_seed(
    digits_uri: str, digits: Dataset, small: EvaluateConfig, tmp_path: Path
) -> None:
    rows = table(evaluate_baseline(digits_uri, "random", 5, small, str(tmp_path))).to_pylist()
    assert all((row["arm"], row["train_images"], row["epochs"]) == ("random", 50, 8) for row in rows)
    assert all(row["accuracy"] > 0.3 for row in rows)
    subsets = [random_subset(digits.train.by_class(), 5, 0, seed) for seed in (0, 0, 1)]
    assert torch.equal(subsets[0], subsets[1])
    assert not torch.equal(subsets[0], subsets[2])
    for subset in subsets:
        assert len(subset.unique()) == 50
        assert torch.bincount(digits.train.labels[subset]).tolist() == [5] * 10


def test_a_baseline_larger_than_a_class_is_refused(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ipc = 140 training images per class, but .*8 has 139.*lower ipc"):
        evaluate_baseline(digits_uri, "random", 140, small, str(tmp_path))


@pytest.mark.parametrize(("fact", "value"), [("mean", [0.5]), ("std", [0.25]), ("shape", [1, 8, 4]), ("class_names", list("1023456789"))])
def test_a_set_of_other_data_is_refused(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, fact: str, value: object
) -> None:
    with pytest.raises(IncompatibleArtifact, match=f"{fact}: expected .* found"):
        evaluate_synthetic(digits_uri, publish_set("a", **{fact: value}), "bilp", 0, small, str(tmp_path))


IMAGES, LABELS = torch.zeros(20, 1, 8, 8), torch.arange(10).repeat_interleave(2)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"images": IMAGES}, "lacks the tensors labels"),
        ({"images": IMAGES.double(), "labels": LABELS}, "float64"),
        ({"images": IMAGES[:, :, :4].contiguous(), "labels": LABELS}, r"\[20, 1, 4, 8\]"),
        ({"images": IMAGES, "labels": LABELS[:3].clone()}, r"labels as int64 \[3\]"),
        ({"images": IMAGES, "labels": LABELS + 7}, "2 images of each of 10 classes in their order"),
        ({"images": IMAGES / 0, "labels": LABELS}, "not finite"),
    ],
)
def test_a_set_with_wrong_tensors_is_refused(
    digits_uri: str,
    publish_set: PublishSet,
    small: EvaluateConfig,
    tmp_path: Path,
    tensors: dict[str, torch.Tensor],
    message: str,
) -> None:
    with pytest.raises(DamagedArtifact, match=message):
        evaluate_synthetic(digits_uri, publish_set("a", tensors=tensors), "bilp", 0, small, str(tmp_path))


def test_what_is_missing_or_impossible_is_refused_before_any_training(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    root = str(tmp_path)
    with pytest.raises(ConfigError, match="unknown baseline 'half': use full, random, herding, k_center or random_kept"):
        evaluate_baseline(digits_uri, "half", 1, small, root)  # type: ignore[arg-type]
    with pytest.raises(MissingArtifact, match="no complete synthetic"):
        evaluate_synthetic(digits_uri, f"{root}/nothing", "bilp", 0, small, root)
    twice = small.model_copy(update={"networks": (NetworkConfig(width=16), NetworkConfig(width=16))})
    with pytest.raises(ConfigError, match="'convnet width 16' twice"):
        evaluate_synthetic(digits_uri, publish_set("a"), "bilp", 0, twice, root)
    deep = small.model_copy(update={"networks": (NetworkConfig(name="mlp"), NetworkConfig(depth=4))})
    with pytest.raises(ConfigError, match="set depth to 3 or less"):
        evaluate_baseline(digits_uri, "full", 1, deep, root, progress=lambda done, total, note="": pytest.fail("trained"))


def test_a_diverged_training_is_named(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path) -> None:
    wild = small.model_copy(update={"learning_rate": 1e20, "networks": (NetworkConfig(name="mlp"),), "networks_at_once": 1})
    with pytest.raises(Diverged, match=r"evaluation of bilp, experiment 2 with mlp, seed 0: .*lower evaluate.learning_rate"):
        evaluate_synthetic(digits_uri, publish_set("a"), "bilp", 2, wild, str(tmp_path))


def test_looks_are_few_affordable_and_include_the_last_epoch() -> None:
    assert look_epochs(301, 10, 359) == (29, 59, 89, 119, 149, 179, 209, 239, 269, 300)
    assert look_epochs(301, 10, 10_000) == (300,)  # testing must not cost more than training
    assert look_epochs(4, 5000, 100) == (0, 1, 2, 3)
    for passes, train_images in ((2, 1), (8, 20), (300, 500)):
        looks = look_epochs(passes, train_images, 100)
        assert looks[-1] == passes - 1
        assert len(set(looks)) == len(looks) <= 10


def test_the_table_tells_where_it_comes_from(
    digits_uri: str, digits: Dataset, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path
) -> None:
    uri = evaluate_synthetic(digits_uri, publish_set("a"), "bilp", 0, small.model_copy(update={"epochs": 1}), str(tmp_path))
    metadata = open_artifact(uri, KIND).local(FILE).read_bytes()
    assert digits.fingerprint.encode() in metadata
    config = open_artifact(uri, KIND).manifest.config
    assert json.loads(json.dumps(config))["epochs"] == 1


def test_every_seed_and_network_has_an_order_of_its_own(digits: Dataset, small: EvaluateConfig) -> None:
    config = small.model_copy(update={"networks": (NetworkConfig(width=4), NetworkConfig(name="mlp")), "networks_at_once": 1})
    orders: list[list[list[int]]] = []
    for _ in range(2):
        seen: list[list[int]] = []

        def recorded(indices: torch.Tensor, seen: list[list[int]] = seen) -> torch.Tensor:
            seen.append(indices.tolist())
            return digits.train.batch(indices)

        data = ImageSet(recorded, digits.train.labels[:20], (8, 8))
        train_all(Plan(config, 1, "order"), digits, lambda _, data=data: data)
        orders.append(seen)
    assert orders[0] == orders[1]
    assert len(orders[0]) == 2 * 2 * 2  # networks, seeds, epochs
    assert all(sorted(order) == list(range(20)) for order in orders[0])
    assert len({tuple(order) for order in orders[0]}) == len(orders[0])
