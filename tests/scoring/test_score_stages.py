"""The stages score and summarize on the embedded digits: order, determinism, reuse, refusals, and what scores mean."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.parquet import stored_origin
from bilp.artifacts.tables import SUMMARY, TRAJECTORY
from bilp.config import IngestConfig, NetworkConfig, ScoreConfig
from bilp.data import ingest, open_dataset
from bilp.errors import ConfigError, Diverged, IncompatibleArtifact, MissingArtifact
from bilp.nets import build, initialize
from bilp.scoring.loss_curves import train_trial
from bilp.scoring.short_training import training_batches
from bilp.scoring.summary import load_summary, summarize
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE
from bilp.seeds import generator

SMALL = NetworkConfig(width=8, depth=2)
CONFIG = ScoreConfig(trials=2, epochs=3, init_epochs=2, converge_epochs=1, network=SMALL, batch_size=32, learning_rate=0.05)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("scores"))


@pytest.fixture(scope="module")
def digits(root: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    source, _ = write_digits(tmp_path_factory.mktemp("sources") / "digits", per_class=30, seed=0)
    return ingest(IngestConfig(source="parquet", uri=source), root)


@pytest.fixture(scope="module")
def trials(digits: str, root: str) -> list[str]:
    return [score_trial(digits, CONFIG, number, root) for number in range(CONFIG.trials)]


def write_digits(folder: Path, per_class: int, seed: int, flipped: float = 0.0) -> tuple[str, np.ndarray]:
    """Digits as Parquet with `per_class` training images, some with another label; the mask of those."""
    rng = np.random.default_rng(seed)
    images, truth = load_digits(return_X_y=True)
    order = rng.permutation(len(truth))
    train = np.sort(np.concatenate([order[truth[order] == c][:per_class] for c in range(10)]))
    test = np.sort(np.concatenate([order[truth[order] == c][-5:] for c in range(10)]))
    wrong = np.zeros(len(train), dtype=bool)
    wrong[rng.permutation(len(train))[: round(flipped * len(train))]] = True
    labels = truth[train].copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
    folder.mkdir()
    for split, index, label in (("train", train, labels), ("test", test, truth[test])):
        encoded = []
        for pixels in images[index]:
            buffer = io.BytesIO()
            Image.fromarray(np.round(pixels.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        image = pa.array(encoded, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        pq.write_table(pa.table({"image": image, "label": label}), folder / f"{split}-00000-of-00001.parquet")
    return str(folder), wrong


def stamp(file: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    return file.stat().st_mtime_ns, file.stat().st_ino


def sha(uri: str, name: str) -> str:
    return hashlib.sha256((Path(uri) / name).read_bytes()).hexdigest()


def test_record_is_sorted_by_epoch_and_sample(digits: str, trials: list[str]):
    dataset = open_dataset(digits)
    samples = len(dataset.train)
    table = open_artifact(trials[1], TRIAL).table(TRIAL_FILE, TRAJECTORY)
    assert table.num_rows == samples * CONFIG.epochs
    assert table["sample_id"].to_pylist() == list(range(samples)) * CONFIG.epochs
    assert table["epoch"].to_pylist() == [epoch for epoch in range(CONFIG.epochs) for _ in range(samples)]
    assert set(table["trial"].to_pylist()) == {1}
    assert table["label"].to_pylist() == dataset.train.labels.tolist() * CONFIG.epochs
    losses = table["loss"].to_numpy().reshape(CONFIG.epochs, samples)
    assert np.isfinite(losses).all() and (losses > 0).all()
    correct = table["correct"].to_numpy().reshape(CONFIG.epochs, samples)
    # a wrong class outweighs the right one, so the right one has at most half the probability
    assert losses[~correct].min() > np.log(2) - 1e-6
    assert correct[-1].mean() > correct[0].mean() > 0.2  # it learns


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_losses_are_those_of_the_trained_network(digits: str, norm: str):
    """The record equals a loop written out plainly, sample by sample; batch norm is in eval mode when looking."""
    dataset = open_dataset(digits)
    network_config = SMALL.model_copy(update={"norm": norm})
    config = CONFIG.model_copy(update={"epochs": 2, "batch_size": 120, "weight_decay": 0.1, "network": network_config})
    record = train_trial(dataset, config, 1)
    images, labels = dataset.train.batch(None), dataset.train.labels
    network = build(config.network, dataset.shape, dataset.classes)
    initialize(network, generator(config.seed, "score", 1, "network"))
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    for epoch in range(2):
        order = torch.randperm(len(labels), generator=generator(config.seed, "score", 1, "order", epoch))
        network.train()
        for batch in order.split(120):
            loss = -network(images[batch]).log_softmax(1)[range(len(batch)), labels[batch]].mean()
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for p, g, v in zip(network.parameters(), gradients, velocity, strict=True):
                    v.mul_(0.9).add_(g + 0.1 * p)
                    p.sub_(0.05 * v)
        network.eval()
        for index in (0, 7, 150, len(labels) - 1):
            logits = network(images[index : index + 1])[0].detach()
            assert record.losses[epoch, index] == pytest.approx(-logits.log_softmax(0)[labels[index]].item(), rel=1e-3, abs=1e-4)
            assert record.correct[epoch, index] == (logits.argmax() == labels[index])


def test_the_same_bytes_twice_and_other_bytes_for_other_seeds(digits: str, trials: list[str], tmp_path: Path):
    again = score_trial(digits, CONFIG, 0, str(tmp_path))
    assert sha(again, TRIAL_FILE) == sha(trials[0], TRIAL_FILE)
    other = score_trial(digits, CONFIG.model_copy(update={"seed": 1}), 0, str(tmp_path))
    hashes = {sha(trials[0], TRIAL_FILE), sha(trials[1], TRIAL_FILE), sha(other, TRIAL_FILE)}
    assert len(hashes) == 3


def test_summary_is_mean_and_spread_over_trials(digits: str, trials: list[str], root: str):
    uri = summarize(digits, CONFIG, root)
    table = load_summary(uri).to_pandas()
    frames = [pd.read_parquet(Path(trial) / TRIAL_FILE) for trial in trials]
    for name, epochs in (("loss_init", [0, 1]), ("loss_converge", [2])):
        values = [frame[frame.epoch.isin(epochs)].groupby("sample_id").loss.mean().to_numpy() for frame in frames]
        np.testing.assert_allclose(table[name], np.mean(values, axis=0), rtol=1e-5)
        np.testing.assert_allclose(table[f"{name}_std"], np.std(values, axis=0, ddof=1), rtol=1e-3, atol=1e-6)
    accuracy = np.mean([frame.groupby("sample_id").correct.mean().to_numpy() for frame in frames], axis=0)
    np.testing.assert_allclose(table.accuracy, accuracy, rtol=1e-6)
    assert table.sample_id.tolist() == list(range(len(table)))
    assert table.label.tolist() == open_dataset(digits).train.labels.tolist()
    assert summarize(digits, CONFIG, root) == uri


def test_interrupted_scoring_goes_on_with_what_is_missing(digits: str, trials: list[str], tmp_path: Path):
    config = CONFIG.model_copy(update={"trials": 3})
    uris = [score_trial(digits, config, number, str(tmp_path)) for number in range(2)]
    with pytest.raises(MissingArtifact, match=r"trials 2 of 3 have not been scored"):
        summarize(digits, config, str(tmp_path))
    first = stamp(Path(uris[0]) / TRIAL_FILE)
    (Path(uris[1]) / "_manifest.json").unlink()  # as if the process had died before the last file
    with pytest.raises(MissingArtifact, match=r"trials 1, 2 of 3"):
        summarize(digits, config, str(tmp_path))
    calls: list[str] = []
    for number in range(3):
        score_trial(digits, config, number, str(tmp_path), progress=lambda done, total, note="": calls.append(note))
    assert not any(note.startswith("trial 0") for note in calls)
    assert stamp(Path(uris[0]) / TRIAL_FILE) == first
    assert sha(uris[1], TRIAL_FILE) == sha(trials[1], TRIAL_FILE)
    assert load_summary(summarize(digits, config, str(tmp_path))).num_rows == len(open_dataset(digits).train)


def test_more_trials_and_other_windows_reuse_trials(digits: str, trials: list[str], root: str):
    before = [stamp(Path(trial) / TRIAL_FILE) for trial in trials]
    two = summarize(digits, CONFIG, root)
    more = CONFIG.model_copy(update={"trials": 3})
    assert [score_trial(digits, more, number, root) for number in range(3)][:2] == trials
    three = summarize(digits, more, root)
    wide = summarize(digits, CONFIG.model_copy(update={"converge_epochs": 2}), root)
    assert len({two, three, wide}) == 3
    assert [stamp(Path(trial) / TRIAL_FILE) for trial in trials] == before
    tables = [load_summary(uri).to_pandas() for uri in (two, three, wide)]
    assert (tables[0].loss_init != tables[1].loss_init).any()
    assert (tables[0].loss_init == tables[2].loss_init).all() and (tables[0].loss_converge != tables[2].loss_converge).any()


def test_other_trainings_lie_elsewhere(digits: str, trials: list[str], root: str):
    other = CONFIG.model_copy(update={"learning_rate": 0.02})
    with pytest.raises(MissingArtifact, match=r"trials 0, 1 of 2"):
        summarize(digits, other, root)


def test_all_trials_are_one_table_for_any_parquet_reader(trials: list[str]):
    frame = pd.read_parquet(Path(trials[0]).parent)
    assert sorted(frame.trial.unique())[:2] == [0, 1]
    assert list(frame.columns) == TRAJECTORY.names


def test_one_trial_has_no_spread(digits: str, trials: list[str], root: str):
    table = load_summary(summarize(digits, CONFIG.model_copy(update={"trials": 1}), root))
    assert set(table["loss_init_std"].to_pylist()) == {0.0}
    assert table.schema.names == SUMMARY.names


def test_refusals(digits: str, root: str):
    with pytest.raises(ConfigError, match=r"trial 2 does not exist: score.trials = 2"):
        score_trial(digits, CONFIG, 2, root)
    with pytest.raises(IncompatibleArtifact, match="dataset"):
        load_summary(summarize(digits, CONFIG, root), "another fingerprint")


def test_divergence_is_named_with_its_remedy(digits: str, tmp_path: Path):
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(Diverged, match=r"trial 1 diverged in epoch 1 .*learning_rate 1e\+30: lower score.learning_rate"):
        score_trial(digits, config, 1, str(tmp_path))
    assert not (tmp_path / "scores").exists()


def test_progress_reaches_its_total_and_never_goes_back(digits: str, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    score_trial(digits, CONFIG, 0, str(tmp_path), progress=lambda done, total, note="": seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


def test_loss_finds_wrong_labels(tmp_path: Path):
    source, wrong = write_digits(tmp_path / "source", per_class=80, seed=3, flipped=0.05)
    uri = ingest(IngestConfig(source="parquet", uri=source), str(tmp_path / "root"))
    config = ScoreConfig(trials=1, epochs=5, network=NetworkConfig(width=16), batch_size=64)
    score_trial(uri, config, 0, str(tmp_path / "root"))
    table = load_summary(summarize(uri, config, str(tmp_path / "root")))
    losses = table["loss_init"].to_numpy()
    assert wrong.sum() == 40
    assert losses[wrong].mean() > losses[~wrong].mean()
    assert roc_auc_score(wrong, losses) > 0.8


def test_two_images_per_class(tmp_path: Path):
    source, _ = write_digits(tmp_path / "source", per_class=2, seed=4)
    uri = ingest(IngestConfig(source="parquet", uri=source), str(tmp_path / "root"))
    # 20 samples in batches of 19 leave one over, which batch norm cannot be trained on where maps have a single pixel
    for network, batch in ((SMALL, 256), (NetworkConfig(name="resnet18", norm="batch"), 19), (SMALL, 1)):
        config = ScoreConfig(trials=1, epochs=1, init_epochs=1, network=network, batch_size=batch)
        score_trial(uri, config, 0, str(tmp_path / "root"))
        assert load_summary(summarize(uri, config, str(tmp_path / "root"))).num_rows == 20


@pytest.mark.parametrize(
    ("samples", "size", "expected"), [(20, 19, [19]), (20, 18, [18, 2]), (3, 1, [1, 1, 1]), (6, 3, [3, 3]), (1, 5, [1])]
)
def test_no_batch_of_one_is_left_over(samples: int, size: int, expected: list[int]):
    order = torch.randperm(samples, generator=generator(0, "test"))
    batches = training_batches(order, size)
    assert [len(batch) for batch in batches] == expected
    assert torch.cat(batches).tolist() == order[: sum(expected)].tolist()


def test_what_a_table_is_travels_in_the_file(digits: str, trials: list[str]):
    stored = stored_origin((Path(trials[0]) / TRIAL_FILE).read_bytes())
    key = open_artifact(trials[0], TRIAL).manifest.key
    assert stored == {"stage": TRIAL, "key": key, "dataset": open_dataset(digits).fingerprint, "trial": 0}


def test_gradient_norms_are_recorded_in_the_window_only_and_summarized(digits: str, trials: list[str], tmp_path: Path):
    root = str(tmp_path)
    tables = {}
    for kind in ("last_layer", "all"):
        config = CONFIG.model_copy(update={"gradient_norm": kind, "early_from": 2, "early_to": 3, "trials": 1})
        trial = score_trial(digits, config, 0, root)
        frame = pd.read_parquet(Path(trial) / TRIAL_FILE)
        assert frame[frame.epoch == 0].gradient_norm.isna().all()
        inside = frame[frame.epoch > 0]
        assert (inside.gradient_norm > inside.el2n).all()  # the features of a sample are not all zero
        tables[kind] = load_summary(summarize(digits, config, root)).to_pandas()
        np.testing.assert_allclose(tables[kind].grand, inside.groupby("sample_id").gradient_norm.mean(), rtol=1e-5)
        np.testing.assert_allclose(tables[kind].el2n, inside.groupby("sample_id").el2n.mean(), rtol=1e-5)
        plain = pd.read_parquet(Path(trials[0]) / TRIAL_FILE)  # looking closer does not change the training
        assert (frame.loss == plain.loss).all() and (frame.margin == plain.margin).all()
    assert not np.allclose(tables["all"].grand, tables["last_layer"].grand)
    assert tables["all"].grand.corr(tables["last_layer"].grand, method="spearman") > 0.5
    assert load_summary(summarize(digits, CONFIG, str(Path(trials[0]).parents[4]))).to_pandas().grand.isna().all()


def test_other_criteria_find_wrong_labels_too(tmp_path: Path):
    source, wrong = write_digits(tmp_path / "source", per_class=60, seed=5, flipped=0.1)
    uri = ingest(IngestConfig(source="parquet", uri=source), str(tmp_path / "root"))
    config = ScoreConfig(trials=1, epochs=8, early_to=8, network=NetworkConfig(width=8), batch_size=32, gradient_norm="last_layer")
    score_trial(uri, config, 0, str(tmp_path / "root"))
    table = load_summary(summarize(uri, config, str(tmp_path / "root"))).to_pandas()
    for criterion, sign in (("el2n", 1), ("grand", 1), ("aum", -1), ("forgetting", 1)):
        assert roc_auc_score(wrong, sign * table[criterion]) > 0.75, criterion
