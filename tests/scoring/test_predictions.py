"""What networks predict is recorded by the training of a trial, beside it, and changes nothing about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import PredictionsFacts
from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import IngestConfig, NetworkConfig, ScoreConfig
from bilp.data import ingest, open_dataset
from bilp.errors import ConfigError
from bilp.scoring import prediction_record, trial
from bilp.scoring.loss_curves import train_trial
from bilp.scoring.prediction_record import PredictionRecord
from bilp.scoring.predictions import EPOCHS, KIND, PREDICTED, beside, read_probabilities
from bilp.scoring.short_training import train_epochs
from bilp.scoring.trial import record_predictions, score_trial
from bilp.scoring.trial_record import TRIAL, read_trajectory

CONFIG = ScoreConfig(trials=1, epochs=2, init_epochs=1, network=NetworkConfig(width=4, depth=1), batch_size=256)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("predicted"))


@pytest.fixture(scope="module")
def digits(root: str) -> str:
    return ingest(IngestConfig(), root)


@pytest.fixture(scope="module")
def scored(digits: str, root: str) -> str:
    return score_trial(digits, CONFIG, 0, root)


def remove(uri: str) -> None:
    for path in Path(uri).iterdir():
        path.unlink()


def test_predictions_are_those_of_the_trained_network(digits: str, scored: str) -> None:
    """Against a loop written out plainly: the same training, all samples at once, softmax in float64."""
    dataset = open_dataset(digits)
    everything = torch.arange(len(dataset.train))
    artifact = open_artifact(beside(scored), KIND)
    table = artifact.table(EPOCHS, PREDICTED)
    shape = (CONFIG.epochs, len(everything))
    predicted, best, second = (table[name].to_numpy().reshape(shape) for name in ("predicted", "best", "second"))
    total = torch.zeros(len(everything), 10, dtype=torch.float64)
    for epoch, network in enumerate(train_epochs(dataset, everything, CONFIG, 0)):
        with torch.no_grad():
            logits = network(dataset.train.batch())
        total += logits.double().softmax(1)
        ranked = logits.sort(dim=1, descending=True).values.numpy()
        np.testing.assert_allclose(best[epoch], ranked[:, 0], atol=1e-4)
        np.testing.assert_allclose(second[epoch], ranked[:, 1], atol=1e-4)
        assert (predicted[epoch] == logits.argmax(1).numpy()).mean() > 0.999
    means = (total / CONFIG.epochs).numpy()
    own, classes, probabilities = read_probabilities(artifact, 10)
    np.testing.assert_allclose(own, means[np.arange(len(means)), dataset.train.labels.numpy()], atol=1e-5)
    np.testing.assert_allclose(probabilities, np.take_along_axis(means, classes.astype(int), 1), atol=1e-5)
    assert (np.diff(probabilities, axis=1) <= 0).all()


def test_margins_of_the_trial_follow_from_the_two_best_logits(digits: str, scored: str) -> None:
    """Of a sample that is classified rightly, the margin is the best logit minus the second: trial and predictions are of one training."""
    samples = len(open_dataset(digits).train)
    record = read_trajectory(open_artifact(scored, TRIAL), CONFIG.epochs, samples)
    table = open_artifact(beside(scored), KIND).table(EPOCHS, PREDICTED)
    margin = (table["best"].to_numpy() - table["second"].to_numpy()).reshape(CONFIG.epochs, samples)
    right = record.correct
    np.testing.assert_allclose(record.margins[right], margin[right], rtol=1e-6)
    assert (record.margins[~right] <= 0).all()


def test_a_trial_without_predictions_is_repeated_and_stays_as_it_is(digits: str, scored: str, root: str) -> None:
    before = {path.name: path.read_bytes() for path in Path(scored).iterdir()}
    predictions = {path.name: path.read_bytes() for path in Path(beside(scored)).iterdir() if path.name != MANIFEST}
    remove(beside(scored))
    assert score_trial(digits, CONFIG, 0, root) == scored  # what is there is not computed again
    assert not (Path(beside(scored)) / MANIFEST).exists()
    again = record_predictions(digits, CONFIG, 0, root)
    assert again == beside(scored)
    assert {path.name: path.read_bytes() for path in Path(again).iterdir() if path.name != MANIFEST} == predictions
    assert {path.name: path.read_bytes() for path in Path(scored).iterdir()} == before
    assert open_artifact(again, KIND).stated(PredictionsFacts).equals_trial


def test_a_repeated_training_that_rounds_otherwise_is_told(digits: str, scored: str, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(beside(scored))
    monkeypatch.setattr(trial, "file_digest", lambda path: "0" * 64)
    assert not open_artifact(record_predictions(digits, CONFIG, 0, root), KIND).stated(PredictionsFacts).equals_trial


def test_one_training_makes_both(digits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[int] = []

    def counted(*given: object) -> object:
        trainings.append(1)
        return train_trial(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "resolve", lambda name: counted)
    uri = record_predictions(digits, CONFIG, 0, str(tmp_path))
    assert beside(score_trial(digits, CONFIG, 0, str(tmp_path))) == uri == record_predictions(digits, CONFIG, 0, str(tmp_path))
    assert len(trainings) == 1


def test_other_measures_predict_nothing(digits: str, root: str) -> None:
    with pytest.raises(ConfigError, match="herding predict nothing"):
        record_predictions(digits, CONFIG.model_copy(update={"measure": "herding"}), 0, root)


@pytest.mark.parametrize("large", [False, True])
def test_many_classes_keep_the_most_probable_and_the_label(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the sums lie in a file, and rows are sorted a few at a time."""
    monkeypatch.setattr(prediction_record, "IN_MEMORY", 0 if large else 2**30)
    monkeypatch.setattr(prediction_record, "BLOCK", 64)
    labels = torch.tensor([12, 3, 0, 7, 12])
    logits = torch.randn(2, 5, 13, generator=torch.Generator().manual_seed(0))
    with prediction_record.prediction_record(2, labels, 13) as record:
        assert isinstance(record, PredictionRecord)
        for epoch in range(2):
            record.add(logits[epoch, :3])
            record.add(logits[epoch, 3:])
            record.end(epoch)
        found = record.finish()
    means = logits.softmax(2).mean(0)
    np.testing.assert_allclose(found.own, means[torch.arange(5), labels], rtol=1e-5)
    np.testing.assert_array_equal(found.classes, means.argsort(dim=1, descending=True)[:, :10])
    np.testing.assert_array_equal(found.predicted, logits.argmax(2))
