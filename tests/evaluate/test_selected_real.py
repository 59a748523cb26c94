"""Networks that learn the real images that static pruning keeps: all of them (arm direct), or as many as synthetic ones."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.config import EvaluateConfig, IngestConfig, PruneConfig
from bilp.data import Dataset, ingest
from bilp.errors import ConfigError, IncompatibleArtifact
from bilp.evaluate import evaluate_baseline
from bilp.evaluate.address import epochs_of_as_many_steps
from bilp.evaluate.baselines import Choice, random_choice
from bilp.evaluate.rows import KIND, evaluation_rows
from bilp.pruning.prune import load_selection, prune
from bilp.training.train import KEPT_BYTES, ImageSet


@pytest.fixture(scope="module")
def kept(digits_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return prune(digits_uri, None, PruneConfig(criterion="random", keep=0.3), str(tmp_path_factory.mktemp("kept")))


def test_arm_direct_learns_what_is_kept_in_as_many_steps_as_all_images_take(
    digits_uri: str, kept: str, small: EvaluateConfig, tmp_path: Path
) -> None:
    uri = evaluate_baseline(digits_uri, "direct", 1, small, str(tmp_path), selection_uri=kept)
    rows = evaluation_rows(open_artifact(uri, KIND))
    count = len(load_selection(kept))
    steps = small.full_epochs * ceil(1438 / small.batch_size)
    assert {(row["arm"], row["experiment"], row["train_images"]) for row in rows} == {("direct", 0, count)}
    assert {row["epochs"] for row in rows} == {round(steps / ceil(count / small.batch_size))}
    assert all(row["accuracy"] > 0.6 for row in rows)
    assert open_artifact(uri, KIND).manifest.facts["selection"] == open_artifact(kept, "selection").manifest.key
    assert evaluate_baseline(digits_uri, "direct", 7, small, str(tmp_path), selection_uri=kept) == uri, "whatever ipc is"


@pytest.mark.parametrize(("images", "epochs"), [(1438, 30), (719, 60), (100, 30 * 45 // 4), (1, 30 * 45)])
def test_steps_are_those_of_all_images(images: int, epochs: int, small: EvaluateConfig) -> None:
    found = epochs_of_as_many_steps(small.model_copy(update={"full_epochs": 30}), 1438, images)
    assert abs(found * ceil(images / 32) - 30 * 45) <= ceil(images / 32) / 2 and abs(found - epochs) <= 1


def test_random_kept_images_are_kept_ones_drawn_anew_for_each_training(digits: Dataset, kept: str) -> None:
    selected = load_selection(kept)
    choose = random_choice(Choice(digits, 4, 0, selected=selected))
    subsets = [choose(number) for number in (0, 1, 0)]
    assert torch.equal(subsets[0], subsets[2]) and not torch.equal(subsets[0], subsets[1])
    for subset in subsets:
        assert set(subset.tolist()) <= set(selected.tolist()) and len(subset.unique()) == 40
        assert torch.bincount(digits.train.labels[subset]).tolist() == [4] * 10


def test_another_selection_is_another_evaluation(digits_uri: str, kept: str, small: EvaluateConfig, tmp_path: Path) -> None:
    root, quick = str(tmp_path), small.model_copy(update={"epochs": 1, "full_epochs": 1})
    other = prune(digits_uri, None, PruneConfig(criterion="random", keep=0.4), root)
    uris = [evaluate_baseline(digits_uri, "random_kept", 1, quick, root, selection_uri=uri) for uri in (kept, other, kept)]
    assert uris[0] == uris[2] != uris[1]
    rows = [evaluation_rows(open_artifact(uri, KIND)) for uri in uris]
    assert {row["arm"] for row in rows[0]} == {"random_kept"} and {row["train_images"] for row in rows[0]} == {10}


def test_without_a_fitting_selection_it_is_refused(digits_uri: str, kept: str, small: EvaluateConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="baseline direct takes what static pruning keeps: give the URI of a selection"):
        evaluate_baseline(digits_uri, "direct", 1, small, str(tmp_path))
    with pytest.raises(ConfigError, match=r"baseline random_kept needs ipc = 60 training images per class, but .* has 4\d.*lower ipc"):
        evaluate_baseline(digits_uri, "random_kept", 60, small, str(tmp_path), selection_uri=kept)
    other = ingest(IngestConfig(source="digits", test_fraction=0.5), str(tmp_path))
    with pytest.raises(IncompatibleArtifact, match="dataset: expected"):
        evaluate_baseline(other, "direct", 1, small, str(tmp_path), selection_uri=kept)


def test_a_part_of_a_split_that_is_read_batch_by_batch_is_the_same(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([7, 3, 1000])
    held = ImageSet.of_split(digits.train, digits.shape, "cpu", ids)
    monkeypatch.setattr("bilp.training.train.KEPT_BYTES", 0)
    assert KEPT_BYTES > 0
    read = ImageSet.of_split(digits.train, digits.shape, "cpu", ids)
    order = torch.tensor([2, 0])
    assert torch.equal(held.images(order), read.images(order)) and torch.equal(read.images(order), digits.train.batch(ids[order]))
    assert torch.equal(held.labels, read.labels)
