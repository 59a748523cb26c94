"""Pick orders and random subsets as trials of a scoring: definitions, independence, interruption, and selections by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import MEASURED_SUMMARY
from bilp.artifacts.tables import SELECTION as SELECTION_TABLE
from bilp.config import IngestConfig, NetworkConfig, PruneConfig, ScoreConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.errors import ConfigError, DataError, Diverged, MissingArtifact
from bilp.nets import build, initialize
from bilp.pruning.prune import FILE as SELECTION_FILE
from bilp.pruning.prune import KIND as SELECTION
from bilp.pruning.prune import prune
from bilp.scoring.coverage import herding
from bilp.scoring.picking import embed_samples
from bilp.scoring.short_training import train_epochs
from bilp.scoring.subsets import class_accuracies, draw_subset
from bilp.scoring.summary import summarize
from bilp.scoring.trial import score_trial
from bilp.scoring.trial_record import MEASURED_FILE, training_key
from bilp.seeds import generator

SMALL = ScoreConfig(trials=1, epochs=2, init_epochs=2, network=NetworkConfig(width=8, depth=2), batch_size=128)
SUBSETS = SMALL.model_copy(update={"measure": "monte_carlo", "trials": 6, "subset_share": 0.25, "epochs": 1})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("measures"))


@pytest.fixture(scope="module")
def digits(root: str) -> Dataset:
    return open_dataset(ingest(IngestConfig(), root))


def scored(digits: Dataset, config: ScoreConfig, root: str) -> tuple[str, pd.DataFrame]:
    for trial in range(config.trials):
        score_trial(digits.uri, config, trial, root)
    uri = summarize(digits.uri, config, root)
    return uri, open_artifact(uri, "score_summary").table(MEASURED_FILE, MEASURED_SUMMARY).to_pandas()


@pytest.fixture(scope="module")
def subset_summary(digits: Dataset, root: str) -> tuple[str, pd.DataFrame]:
    return scored(digits, SUBSETS, root)


def test_herding_scores_are_places_in_the_order_of_a_trained_network(digits: Dataset, root: str) -> None:
    config = SMALL.model_copy(update={"measure": "herding"})
    uri, table = scored(digits, config, root)
    *_, network = train_epochs(digits, torch.arange(len(digits.train)), config, 0)
    for members in digits.train.by_class():
        order = members[herding(embed_samples(network, digits.train, members, 100))]
        assert table.score[order.numpy()].tolist() == list(range(len(members)))
    assert set(table.visits) == {1} and set(table.score_std) == {0.0}
    selection = prune(digits.uri, uri, PruneConfig(criterion="herding", keep=0.1), root)
    kept = open_artifact(selection, SELECTION).table(SELECTION_FILE, SELECTION_TABLE).to_pandas().query("kept")
    for _, rows in kept.groupby("label"):  # the first picks stay
        assert sorted(rows.score) == list(range(len(rows)))


def test_k_center_starts_somewhere_else_in_each_trial(digits: Dataset, root: str) -> None:
    config = SMALL.model_copy(update={"measure": "k_center", "trials": 2})
    _, table = scored(digits, config, root)
    firsts = []
    for trial in range(2):
        frame = pd.read_parquet(Path(score_trial(digits.uri, config, trial, root)) / MEASURED_FILE)
        assert sorted(frame[frame.label == 3].score) == list(range(len(digits.train.by_class()[3])))
        firsts.append(frame[frame.score == 0].sample_id.tolist())
    assert firsts[0] != firsts[1] and len(firsts[0]) == 10
    assert set(table.visits) == {2} and table.score_std.max() > 0


def test_distances_from_the_center_and_moderate_keeps_their_middle(digits: Dataset, root: str) -> None:
    config = SMALL.model_copy(update={"measure": "center_distance"})
    uri, table = scored(digits, config, root)
    *_, network = train_epochs(digits, torch.arange(len(digits.train)), config, 0)
    for members in digits.train.by_class():
        features = embed_samples(network, digits.train, members, 100).double().numpy()
        distances = np.linalg.norm(features - np.median(features, axis=0), axis=1)
        np.testing.assert_allclose(table.score[members.numpy()], distances, rtol=1e-5)
    settings = PruneConfig(criterion="center_distance", drop="both", keep=0.4)
    rows = open_artifact(prune(digits.uri, uri, settings, root), SELECTION).table(SELECTION_FILE, SELECTION_TABLE).to_pandas()
    for _, of_class in rows.groupby("label"):
        ranks = of_class[of_class.kept].rank_in_class
        assert ranks.max() - ranks.min() + 1 == len(ranks)
        assert abs((ranks.min() + ranks.max()) / 2 - (len(of_class) - 1) / 2) <= 0.5


@pytest.mark.parametrize("share", [0.25, 0.1, 0.3])
def test_subsets_share_out_all_samples_and_are_measured_outside(digits: Dataset, share: float) -> None:
    config = SUBSETS.model_copy(update={"subset_share": share})
    members, labels = digits.train.by_class(), digits.train.labels
    rounds = []
    for turn in range(2):
        parts = range(turn * config.subsets_per_round, (turn + 1) * config.subsets_per_round)
        subsets = [draw_subset(members, config, trial) for trial in parts]
        assert torch.cat([s.included for s in subsets]).sort().values.tolist() == list(range(len(labels)))
        for subset in subsets:
            assert not set(subset.included.tolist()) & set(subset.held_out.tolist())
            assert subset.included.diff().min() > 0 and subset.held_out.diff().min() > 0
            expected = torch.bincount(labels) / config.subsets_per_round
            assert (torch.bincount(labels[subset.included]) - expected).abs().max() < 1
            assert (torch.bincount(labels[subset.held_out]) - 0.1 * torch.bincount(labels)).abs().max() <= 0.5
        rounds.append(subsets)
    assert rounds[0][0].included.tolist() != rounds[1][0].included.tolist()
    assert set(rounds[0][0].held_out.tolist()) != set(rounds[0][1].held_out.tolist())


def test_tiny_classes_take_part_and_single_samples_cannot() -> None:
    config = SUBSETS.model_copy(update={"subset_share": 0.1})
    members = [torch.tensor([0, 2]), torch.tensor([1, 3])]
    subsets = [draw_subset(members, config, trial) for trial in range(10)]
    assert sorted(torch.cat([s.included for s in subsets]).tolist()) == [0, 1, 2, 3]
    assert all(len(s.held_out) == 2 for s in subsets)
    with pytest.raises(DataError, match="needs 2 samples in each class, but class 1 has 1"):
        draw_subset([torch.tensor([0, 2]), torch.tensor([1])], config, 0)


def test_scores_are_mean_accuracies_of_the_class_over_subsets(digits: Dataset, root: str, subset_summary: tuple[str, pd.DataFrame]) -> None:
    table = subset_summary[1]
    labels = digits.train.labels.numpy()
    found: dict[int, list[float]] = {}
    for trial in range(SUBSETS.trials):
        subset = draw_subset(digits.train.by_class(), SUBSETS, trial)
        *_, network = train_epochs(digits, subset.included, SUBSETS, trial, stage="monte_carlo")
        answers = network(digits.train.batch(subset.held_out)).argmax(1).numpy()
        truth = labels[subset.held_out.numpy()]
        for index in subset.included.tolist():
            found.setdefault(index, []).append(float((answers[truth == labels[index]] == labels[index]).mean()))
    assert table.visits.tolist() == [len(found[i]) for i in range(len(labels))]
    assert table.visits.min() >= 1  # six subsets of a quarter: one round and a half
    np.testing.assert_allclose(table.score, [np.mean(found[i]) for i in range(len(labels))], rtol=1e-6)
    expected = [np.std(found[i], ddof=1) if len(found[i]) > 1 else 0.0 for i in range(len(labels))]
    np.testing.assert_allclose(table.score_std, expected, rtol=1e-5, atol=1e-7)


def test_accuracy_of_a_class_by_hand(digits: Dataset) -> None:
    network = build(NetworkConfig(name="mlp"), digits.shape, digits.classes)
    initialize(network, generator(0, "mlp"))
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.arange(10.0))  # always says 9
    wanted = torch.cat([digits.train.by_class()[c][:2] for c in (3, 9)])
    accuracies = class_accuracies(network.eval(), digits, wanted, 3)
    assert (accuracies[3], accuracies[9]) == (0.0, 1.0) and np.isnan(accuracies[[0, 1, 2, 4, 5, 6, 7, 8]]).all()
    network.classifier.bias.data.fill_(torch.nan)
    with pytest.raises(Diverged, match="lower score.learning_rate"):
        class_accuracies(network, digits, wanted, 3)


def test_low_accuracy_is_dropped_and_interrupted_subsets_go_on(
    digits: Dataset, root: str, subset_summary: tuple[str, pd.DataFrame], tmp_path: Path
) -> None:
    uri, _ = subset_summary
    selection = prune(digits.uri, uri, PruneConfig(criterion="monte_carlo", keep=0.5), root)
    rows = open_artifact(selection, SELECTION).table(SELECTION_FILE, SELECTION_TABLE).to_pandas()
    for _, group in rows.groupby("label"):
        assert group[group.kept].score.min() >= group[~group.kept].score.max()
    for trial in (0, 1, 3, 4, 5):
        score_trial(digits.uri, SUBSETS, trial, str(tmp_path))
    with pytest.raises(MissingArtifact, match="trials 2 of 6 have not been scored"):
        summarize(digits.uri, SUBSETS, str(tmp_path))
    score_trial(digits.uri, SUBSETS, 2, str(tmp_path))
    again = summarize(digits.uri, SUBSETS, str(tmp_path))
    assert (Path(again) / MEASURED_FILE).read_bytes() == (Path(uri) / MEASURED_FILE).read_bytes()


def test_scores_of_another_measure_are_refused(digits: Dataset, root: str, subset_summary: tuple[str, pd.DataFrame]) -> None:
    with pytest.raises(ConfigError, match=r"no scores for criterion aum, only for monte_carlo: score with --prune.criterion aum"):
        prune(digits.uri, subset_summary[0], PruneConfig(criterion="aum"), root)
    score_trial(digits.uri, SMALL, 0, root)
    losses = summarize(digits.uri, SMALL, root)
    with pytest.raises(ConfigError, match="no scores for criterion grand"):
        prune(digits.uri, losses, PruneConfig(criterion="grand"), root)
    for criterion in ("el2n", "forgetting", "aum"):
        prune(digits.uri, losses, PruneConfig(criterion=criterion), root)


def test_a_key_holds_what_shapes_a_trial_and_nothing_else() -> None:
    def key(**changes: object) -> str:
        return training_key("data", ScoreConfig(**{"epochs": 6, **changes}))

    assert key() == key(trials=9, init_epochs=2, converge_epochs=3, early_from=2, early_to=6, subset_share=0.2, held_out=0.3)
    assert key() != key(gradient_norm="all") != key(gradient_norm="last_layer")
    assert key(gradient_norm="all") != key(gradient_norm="all", early_to=6)
    herded = {"measure": "herding"}
    assert key(**herded) != key() and key(**herded) == key(**herded, subset_share=0.2, gradient_norm="all")
    drawn = {"measure": "monte_carlo", "trials": 10}
    assert key(**drawn) == key(**drawn | {"trials": 20}) != key(**drawn, held_out=0.3)
