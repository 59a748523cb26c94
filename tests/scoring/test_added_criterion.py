"""A criterion that is added: trials and summaries that are stored stay what they are, and what it needs is made of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.tables import SELECTION
from bilp.config import CRITERIA, Criterion, IngestConfig, NetworkConfig, PruneConfig, ScoreConfig
from bilp.config.criteria import Column
from bilp.data import Dataset, ingest, open_dataset
from bilp.errors import ConfigError, DataError, MissingArtifact
from bilp.pruning import prune as stage
from bilp.scoring import added_criterion, loss_curves, summary, trial_record
from bilp.scoring.criteria import Trajectory
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import TRIAL_FILE

CONFIG = ScoreConfig(trials=2, epochs=3, init_epochs=2, network=NetworkConfig(width=8, depth=2), batch_size=128)
BY_TOY = PruneConfig(criterion="loss_init", keep=0.5).model_copy(update={"criterion": "toy"})


def spread(trajectory: Trajectory, config: ScoreConfig) -> NDArray[np.float64]:
    """Standard deviation of the losses over the epochs."""
    return trajectory.losses.astype(np.float64).std(axis=0)


def too_few(trajectory: Trajectory, config: ScoreConfig) -> NDArray[np.float64]:
    """Not one number for each sample."""
    return spread(trajectory, config)[1:]


TOY = Criterion("toy", "spread", "The score of an image is how much its loss varies in {trials}.", column=Column(f"{__name__}:spread"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("added"))


@pytest.fixture(scope="module")
def digits(root: str) -> Dataset:
    return open_dataset(ingest(IngestConfig(), root))


@pytest.fixture(scope="module")
def scores(digits: Dataset, root: str) -> str:
    for trial in range(CONFIG.trials):
        score_trial(digits.uri, CONFIG, trial, root)
    return summary.summarize(digits.uri, CONFIG, root)


@pytest.fixture
def added(scores: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on there is one more criterion, and nobody may train."""
    monkeypatch.setitem(CRITERIA._own, "toy", TOY)
    monkeypatch.setattr(loss_curves, "train_trial", None)


def stored(root: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path(root, "scores").rglob("*") if path.is_file()}


def test_keys_are_those_of_earlier_stores() -> None:
    """Written down when trials and summaries had one version; a change of these numbers throws away what people have computed."""
    assert trial_record.training_key("f" * 16, CONFIG) == "27200e89fd55dc68"
    assert trial_record.trial_key("f" * 16, CONFIG, 1) == "ae8058e9acd12ad4"
    keys = {
        name: content_key("summarise", summary.VERSION, **summary.identity("f" * 16, config))
        for name, config in (
            ("trajectory", CONFIG),
            ("herding", ScoreConfig(measure="herding")),
            ("subsets", ScoreConfig(measure="monte_carlo")),
        )
    }
    assert keys == {"trajectory": "5549f428c7b7fd0a", "herding": "edbed2d9b329733a", "subsets": "88bdbc9c63c331bf"}


def test_it_is_summarized_from_the_trials_that_are_there(
    digits: Dataset, root: str, scores: str, added: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(root)
    by_loss = stage.prune(digits.uri, scores, PruneConfig(), root)
    selection = stage.prune(digits.uri, scores, BY_TOY, root)
    after = stored(root)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2, "a table and its manifest"
    trials = [pd.read_parquet(path) for path in sorted(Path(root, "scores").rglob(TRIAL_FILE))]
    expected = sum(trial.groupby("sample_id").loss.std(ddof=0) for trial in trials) / len(trials)
    rows = open_artifact(selection, stage.KIND).table(stage.FILE, SELECTION)
    np.testing.assert_allclose(rows["score"].to_numpy(), expected.to_numpy(), rtol=1e-5)
    assert summary.summarize(digits.uri, CONFIG, root) == scores
    assert summary.load_summary(scores).num_rows == len(digits.train)
    assert stage.prune(digits.uri, scores, PruneConfig(), root) == by_loss
    monkeypatch.setattr(added_criterion, "records", None)  # what is there is found, not made again
    assert stage.prune(digits.uri, scores, BY_TOY, root) == selection


def test_another_version_of_it_is_another_summary_and_nothing_else_changes(
    digits: Dataset, root: str, scores: str, added: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, by_loss = stage.prune(digits.uri, scores, BY_TOY, root), stage.prune(digits.uri, scores, PruneConfig(), root)
    monkeypatch.setitem(CRITERIA._own, "toy", replace(TOY, column=Column(f"{__name__}:spread", version=2)))
    assert stage.prune(digits.uri, scores, BY_TOY, root) != one
    assert stage.prune(digits.uri, scores, PruneConfig(), root) == by_loss


@pytest.mark.parametrize(
    ("column", "error", "said"),
    [
        (Column(f"{__name__}:too_few", version=3), DataError, r"too_few must give one score for each of 1438 samples, not \[1437\]"),
        (
            Column(f"{__name__}:spread", gradients=True),
            ConfigError,
            "do not record what criterion toy needs: score with --prune.criterion toy",
        ),
    ],
)
def test_what_cannot_be_computed_is_said_in_one_line(
    digits: Dataset, root: str, scores: str, added: None, monkeypatch: pytest.MonkeyPatch, column: Column, error: type[Exception], said: str
) -> None:
    monkeypatch.setitem(CRITERIA._own, "toy", replace(TOY, column=column))
    with pytest.raises(error, match=said) as caught:
        stage.prune(digits.uri, scores, BY_TOY, root)
    assert "\n" not in str(caught.value)


def test_a_trial_that_is_gone_is_named(digits: Dataset, root: str, scores: str, added: None, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / open_artifact(scores, summary.KIND).manifest.parents["trial 1"])
    there = str(copy / Path(scores).relative_to(root))
    with pytest.raises(MissingArtifact, match=r"no complete score_trial at .*0001"):
        stage.prune(str(copy / Path(digits.uri).relative_to(root)), there, BY_TOY.model_copy(update={"keep": 0.6}), str(copy / "elsewhere"))
