"""Scores that are extended to images which came later: by the kept networks, unless too much has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_added_criterion import TOY
from test_score_stages import write_digits
from tiny_world import content_of, put

import bilp
from bilp.artifacts import parquet
from bilp.artifacts.artifact import Artifact, open_artifact
from bilp.artifacts.facts import GrowthFacts, SelectionFacts, SummaryFacts
from bilp.artifacts.tables import TRAJECTORY
from bilp.artifacts.tensors import decode_tensors
from bilp.config import CRITERIA, IngestConfig, NetworkConfig, PruneConfig, ScoreConfig
from bilp.data import ingest, open_dataset
from bilp.errors import ConfigError, IncompatibleArtifact, MissingArtifact
from bilp.maintenance.inventory import take_inventory
from bilp.maintenance.references import references
from bilp.nets import build
from bilp.pruning.prune import prune
from bilp.scoring import extended_trial
from bilp.scoring.extended_trial import joined_predictions
from bilp.scoring.extension import extend_scores, extend_trial, extended_summary, extended_trial_uri, trials_to_extend
from bilp.scoring.kept_networks import KIND, epoch_file, networks_uri
from bilp.scoring.prediction_record import Predictions
from bilp.scoring.predictions import KIND as PREDICTIONS
from bilp.scoring.predictions import beside, read_predictions
from bilp.scoring.summary import FILE, load_summary, open_summary, summarize
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import TRIAL, TRIAL_FILE, read_trajectory
from bilp.scoring.versions import Growth, growth
from bilp.suspects.stage import has_predictions

CONFIG = ScoreConfig(trials=2, epochs=2, init_epochs=2, network=NetworkConfig(width=4, depth=1), batch_size=32, learning_rate=0.05)
KEEPING = CONFIG.model_copy(update={"keep_networks": True})


class Store:
    """Versions of a small data set: a table of images of which each version takes some rows."""

    def __init__(self, folder: Path) -> None:
        source, _ = write_digits(folder / "all", per_class=14, seed=0)
        self.folder, self.root = folder, str(folder / "store")
        self.tables = {split: pq.read_table(f"{source}/{split}-00000-of-00001.parquet") for split in ("train", "test")}

    def version(self, name: str, rows: np.ndarray, labels: np.ndarray | None = None) -> str:
        """The data set of these rows, in their order, and of the test images of their classes."""
        (self.folder / name).mkdir()
        classes = self.tables["train"]["label"].to_numpy()[rows].max()
        for split, table in self.tables.items():
            if split == "train":
                table = table.take(pa.array(rows))
                table = table if labels is None else table.set_column(1, "label", pa.array(labels))
            table = table.filter(pa.array(table["label"].to_numpy() <= classes))
            pq.write_table(table, self.folder / name / f"{split}-00000-of-00001.parquet")
        return ingest(IngestConfig(source="parquet", uri=str(self.folder / name)), self.root)

    def score(self, dataset: str, config: ScoreConfig = KEEPING) -> str:
        """The summary of all trials."""
        for number in range(config.trials):
            score_trial(dataset, config, number, self.root)
        return summarize(dataset, config, self.root)

    def extend(self, dataset: str, onto: str, config: ScoreConfig = KEEPING) -> Artifact:
        """What is found of the growth."""
        return extend_scores(dataset, config.model_copy(update={"extend": onto}), self.root)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("growing"))


@pytest.fixture(scope="module")
def before(store: Store) -> str:
    """All but every seventh image."""
    return store.version("before", np.flatnonzero(np.arange(140) % 7 > 0))


@pytest.fixture(scope="module")
def scores(store: Store, before: str) -> str:
    return store.score(before)


@pytest.fixture(scope="module")
def after(store: Store) -> str:
    """Every image but the last five of those before, backwards."""
    return store.version("after", np.setdiff1d(np.arange(140), [131, 134, 135, 136, 137])[::-1])


@pytest.fixture(scope="module")
def extended(store: Store, scores: str, after: str) -> str:
    uri = extended_summary(store.extend(after, scores), CONFIG)
    assert uri is not None
    return uri


@pytest.mark.slow
def test_trials_that_others_extended_are_taken(store: Store, scores: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as a unit of work of its own, in another order; then they are judged and summarized as if one process had extended all."""
    later = store.version("later", np.flatnonzero(np.arange(140) % 11 > 0))
    shutil.copytree(store.root, tmp_path / "store")
    elsewhere, onto = str(tmp_path / "store"), {"extend": scores}
    here = extended_summary(store.extend(later, scores), CONFIG)
    config = KEEPING.model_copy(update={"extend": scores.replace(store.root, elsewhere)})
    copied = later.replace(store.root, elsewhere)
    assert trials_to_extend(copied, config, elsewhere) == 2
    for trial in (1, 0):
        assert extend_trial(copied, config, trial, elsewhere) == extended_trial_uri(copied, config, trial, elsewhere)
    monkeypatch.setattr(extended_trial, "evaluated", pytest.fail)
    there = extended_summary(extend_scores(copied, config, elsewhere), CONFIG)
    assert here is not None and there is not None
    assert content_of(there, FILE) == content_of(here, FILE)
    assert trials_to_extend(copied, config, elsewhere) == 0, "it is judged"
    assert trials_to_extend(later, KEEPING.model_copy(update=onto), store.root) == 0
    few = store.version("few", np.flatnonzero(np.arange(140) % 7 < 3))
    assert trials_to_extend(few, KEEPING.model_copy(update=onto), store.root) == 0, "too much has left: everything is scored again"


def test_networks_are_kept_beside_a_trial_and_change_nothing_of_it(store: Store, before: str, scores: str, tmp_path: Path):
    plain = score_trial(before, CONFIG, 0, str(tmp_path))
    trial = open_summary(scores).parents["trial 0"]
    assert Path(plain).relative_to(tmp_path) == Path(trial).relative_to(store.root)
    assert content_of(plain, TRIAL_FILE) == content_of(trial, TRIAL_FILE)
    assert not Path(networks_uri(plain)).exists()
    assert summarize(before, KEEPING, store.root) == summarize(before, CONFIG, store.root)
    assert score_trial(before, KEEPING, 0, str(tmp_path)) == plain
    first, second = (open_artifact(networks_uri(uri), KIND) for uri in (plain, trial))
    assert sorted(first.manifest.files) == [epoch_file(1), epoch_file(2)]
    assert first.identity == second.identity


def test_a_repeated_training_must_record_what_the_trial_did(before: str, tmp_path: Path):
    trial = score_trial(before, CONFIG, 0, str(tmp_path))
    table = parquet.decode(content_of(trial, TRIAL_FILE), TRAJECTORY)
    loss = table["loss"].to_numpy().copy()
    loss[3] = np.nextafter(loss[3], np.float32(9))
    put(trial, TRIAL_FILE, parquet.encode(table.set_column(4, "loss", pa.array(loss)), TRAJECTORY, {}))
    with pytest.raises(IncompatibleArtifact, match="gives another loss here"):
        score_trial(before, KEEPING, 0, str(tmp_path))


def test_rows_are_taken_over_and_new_ones_are_what_the_networks_say(before: str, after: str, scores: str, extended: str):
    """Against a loop over networks and images, normalized by hand as the data set that the networks learned says."""
    old, new = open_dataset(before), open_dataset(after)
    matched = growth(old, new)
    assert (len(matched.added), len(matched.taken), matched.removed) == (20, 115, 5)
    digests = [dataset.train.index()["sha256"].to_pylist() for dataset in (old, new)]
    assert [digests[0][i] for i in matched.earlier[matched.taken]] == [digests[1][i] for i in matched.taken]
    for number in range(CONFIG.trials):
        trials = [open_artifact(open_summary(uri).parents[f"trial {number}"], TRIAL) for uri in (scores, extended)]
        learned, record = (read_trajectory(trial, 2, count) for trial, count in zip(trials, (120, 135), strict=True))
        for name in ("losses", "correct", "el2n", "margins"):
            assert (getattr(record, name)[:, matched.taken] == getattr(learned, name)[:, matched.earlier[matched.taken]]).all()
        files = open_artifact(networks_uri(trials[0].uri), KIND)
        for epoch in range(2):
            network = build(CONFIG.network, old.shape, old.classes)
            network.load_state_dict(decode_tensors(files.read(epoch_file(epoch + 1)), ""))
            for sample in matched.added:
                pixels = new.train.images(torch.tensor([sample])).float() / 255
                logits = network.eval()((pixels - old.mean[0]) / old.std[0])[0].detach()
                label = int(new.train.labels[sample])
                assert record.losses[epoch, sample] == pytest.approx(-float(logits.log_softmax(0)[label]), rel=1e-4, abs=1e-5)
                others = torch.cat([logits[:label], logits[label + 1 :]])
                assert record.margins[epoch, sample] == pytest.approx(float(logits[label] - others.max()), rel=1e-3, abs=1e-4)


def test_predictions_are_taken_over_and_new_ones_are_what_the_networks_say(before: str, after: str, scores: str, extended: str):
    matched = growth(open_dataset(before), open_dataset(after))
    labels = open_dataset(after).train.labels.numpy()
    for number in range(CONFIG.trials):
        trials = [open_summary(uri).parents[f"trial {number}"] for uri in (scores, extended)]
        old, new = (read_predictions(open_artifact(beside(uri), PREDICTIONS), 10) for uri in trials)
        for name in ("predicted", "best", "second"):
            assert (getattr(new, name)[:, matched.taken] == getattr(old, name)[:, matched.earlier[matched.taken]]).all()
        for name in ("own", "classes", "probabilities"):
            assert (getattr(new, name)[matched.taken] == getattr(old, name)[matched.earlier[matched.taken]]).all()
        record = read_trajectory(open_artifact(trials[1], TRIAL), 2, 135)
        margins = np.where(new.predicted == labels, new.best - new.second, np.nan)
        assert np.array_equal(~np.isnan(margins), record.correct)
        assert np.allclose(margins[record.correct], record.margins[record.correct], atol=1e-5)
        assert np.allclose(new.own, np.exp(-record.losses.astype(np.float64)).mean(axis=0), atol=1e-5)


def test_suspects_are_found_among_extended_scores_and_nothing_is_trained(
    store: Store, after: str, scores: str, extended: str, monkeypatch: pytest.MonkeyPatch
):
    assert has_predictions(extended)
    monkeypatch.setattr("bilp.scoring.loss_curves.train_epochs", None)
    found = bilp.suspects(after, root=store.root, score=KEEPING.model_copy(update={"extend": scores}).model_dump(exclude_unset=True))
    assert len(found.table) == 135


def test_classes_in_another_order_have_their_own_predictions():
    two = ([[0, 1]], [[3.0, 4.0]], [[1.0, 2.0]], [0.5, 0.6], [[0, 1], [1, 0]], [[0.5, 0.4], [0.6, 0.3]])
    one = ([[1]], [[5.0]], [[0.0]], [0.9], [[1, 0]], [[0.9, 0.1]])
    old, new = (Predictions(*map(np.array, each)) for each in (two, one))
    both = joined_predictions(old, new, Growth(np.array([1, -1]), 2), np.array([1, 0], dtype=np.int32))
    assert both.predicted.tolist() == [[0, 1]] and both.classes.tolist() == [[0, 1], [1, 0]] and both.own.tolist() == [0.6, 0.9]


def test_the_constants_of_the_two_versions_differ(before: str, after: str):
    """Else the test before could not tell whose were used."""
    assert abs(open_dataset(before).mean[0] - open_dataset(after).mean[0]) > 1e-4


def test_the_summary_and_selections_say_their_version(
    store: Store, after: str, scores: str, extended: str, monkeypatch: pytest.MonkeyPatch
):
    facts = open_summary(extended).stated(SummaryFacts)
    assert facts.version == 2 and facts.extended is not None and facts.extended.unseen == 20
    assert facts.extended.onto == open_summary(scores).manifest.key
    assert open_summary(scores).stated(SummaryFacts).version == 1
    assert extended != store.score(after, CONFIG)
    assert len(load_summary(extended)) == 135
    selection = open_artifact(prune(after, extended, PruneConfig(), store.root), "selection")
    assert selection.stated(SelectionFacts).scores_version == 2
    monkeypatch.setitem(CRITERIA._own, "toy", TOY)
    by_toy = PruneConfig().model_copy(update={"criterion": "toy"})
    added = open_artifact(prune(after, extended, by_toy, store.root), "selection")
    assert added.stated(SelectionFacts).scores_version == 2
    assert added.parents["scores"].rpartition("/")[0] == extended.rpartition("/")[0]


def test_an_extension_is_extended_by_the_same_networks(store: Store, after: str, scores: str, extended: str):
    last = store.version("last", np.arange(140))
    found = store.extend(last, extended)
    uri = extended_summary(found, CONFIG)
    assert uri is not None
    facts = open_summary(uri).stated(SummaryFacts).extended
    assert facts is not None and (facts.version, facts.added, facts.taken, facts.unseen) == (3, 5, 135, 20)
    networks = [open_artifact(open_summary(each).parents["trial 1"], TRIAL).parents["networks"] for each in (uri, extended)]
    assert networks[0] == networks[1] == networks_uri(open_summary(scores).parents["trial 1"])


def test_the_same_twice_computes_nothing(store: Store, after: str, scores: str, extended: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bilp.scoring.extended_trial.evaluated", None)
    assert extended_summary(store.extend(after, scores), CONFIG) == extended


def test_a_data_set_may_be_named_in_place_of_its_summary(store: Store, before: str, after: str, scores: str, extended: str):
    assert extended_summary(store.extend(after, before), CONFIG) == extended


def test_collection_keeps_networks_with_their_trial_and_what_extensions_need(store: Store, scores: str, extended: str):
    of = references(take_inventory(store.root))
    place = {uri: uri.removeprefix(f"{store.root}/") for uri in (scores, extended)}
    trial = open_summary(scores).parents["trial 0"].removeprefix(f"{store.root}/")
    assert networks_uri(trial) in of[trial]
    needed = of[place[extended]]
    assert any(name.endswith("/growth") for name in needed)
    assert networks_uri(trial) in of[open_summary(extended).parents["trial 0"].removeprefix(f"{store.root}/")]


@pytest.mark.parametrize(
    ("name", "rows", "reason"),
    [
        ("nine", None, "the classes are others: 9 instead of 10"),
        ("fewer", np.flatnonzero(np.arange(140) % 3 == 1), "% of the images that the kept networks learned have left"),
    ],
)
def test_too_great_a_change_is_a_reason_to_score_everything(store: Store, scores: str, name: str, rows: np.ndarray | None, reason: str):
    rows = np.flatnonzero(store.tables["train"]["label"].to_numpy() < 9) if rows is None else rows
    found = store.extend(store.version(name, rows), scores)
    assert extended_summary(found, CONFIG) is None
    assert reason in " ".join(found.stated(GrowthFacts).reasons)


def test_new_images_with_other_labels_are_a_reason(store: Store, before: str, scores: str):
    rows = np.concatenate([np.flatnonzero(np.arange(140) % 7 > 0), np.arange(0, 140, 7)])
    labels = store.tables["train"]["label"].to_numpy()[rows].copy()
    labels[120:] = (labels[120:] + 5) % 10
    config = KEEPING.model_copy(update={"epochs": 8, "init_epochs": 8, "learning_rate": 0.2, "seed": 3})
    found = store.extend(store.version("wrong", rows, labels), store.score(before, config), config)
    reasons = found.stated(GrowthFacts).reasons
    assert len(reasons) == 1 and reasons[0].startswith("scores of new images of all classes lie")


def test_too_many_unseen_images_are_a_reason(store: Store):
    few = store.version("few", np.flatnonzero(np.arange(140) % 2 > 0))
    found = store.extend(store.version("twice", np.arange(140)), store.score(few))
    assert found.stated(GrowthFacts).reasons == ("the kept networks learned 50% of the images only; 70% is the least",)


def test_scores_without_networks_or_of_other_settings_are_refused(store: Store, before: str, after: str, scores: str, tmp_path: Path):
    other = CONFIG.model_copy(update={"seed": 1})
    with pytest.raises(MissingArtifact, match="score its data set once more with --score.keep_networks true"):
        store.extend(after, store.score(before, other), other)
    with pytest.raises(ConfigError, match=r"other settings \(score.learning_rate\)"):
        store.extend(after, scores, CONFIG.model_copy(update={"learning_rate": 0.1}))
    with pytest.raises(MissingArtifact, match="has not been scored by these settings"):
        store.extend(after, before, CONFIG.model_copy(update={"learning_rate": 0.1}))
    with pytest.raises(ConfigError, match="of this very data set"):
        store.extend(before, scores)


def test_networks_of_a_measure_of_the_whole_set_cannot_be_kept():
    with pytest.raises(ValueError, match="scores a set as a whole"):
        ScoreConfig(measure="herding", keep_networks=True)
