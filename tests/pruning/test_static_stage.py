"""The stage prune on the embedded digits: criteria, score lists, reuse, facts and refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import SELECTION
from bilp.config import IngestConfig, NetworkConfig, PruneConfig, ScoreConfig
from bilp.data import Dataset, ingest, open_dataset
from bilp.errors import ConfigError, DataError, IncompatibleArtifact, MissingArtifact
from bilp.pruning.prune import FILE, KIND, cut_by, load_selection, prune
from bilp.scoring.summary import load_summary, summarize
from bilp.scoring.trial import score_trial

SCORING = ScoreConfig(trials=1, epochs=2, init_epochs=2, network=NetworkConfig(width=8, depth=2), batch_size=128)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("selections"))


@pytest.fixture(scope="module")
def digits(root: str) -> Dataset:
    return open_dataset(ingest(IngestConfig(), root))


@pytest.fixture(scope="module")
def scores(digits: Dataset, root: str) -> str:
    score_trial(digits.uri, SCORING, 0, root)
    return summarize(digits.uri, SCORING, root)


def test_keeps_the_low_losses_of_each_class(digits: Dataset, scores: str, root: str):
    uri = prune(digits.uri, scores, PruneConfig(keep=0.3), root)
    values = load_summary(scores)["loss_init"].to_numpy()
    table = open_artifact(uri, KIND).table(FILE, SELECTION).to_pandas()
    assert table.sample_id.tolist() == list(range(len(digits.train)))
    assert table.label.tolist() == digits.train.labels.tolist()
    assert (table.score == values.astype(np.float64)).all()
    for label, group in table.groupby("label"):
        ranking = sorted(group.sample_id, key=lambda i: (values[i], i))
        dropped = (2 * 7 * len(group) + 10) // 20  # round half up of 0.7 n
        assert group[group.kept].sample_id.tolist() == sorted(ranking[: len(group) - dropped]), label
        assert [ranking[rank] for rank in group.rank_in_class] == group.sample_id.tolist()
    kept = load_selection(uri)
    assert kept.dtype.is_signed and kept.tolist() == table[table.kept].sample_id.tolist()


def test_facts_tell_counts_and_thresholds(digits: Dataset, scores: str, root: str):
    uri = prune(digits.uri, scores, PruneConfig(criterion="loss_converge", drop="low", keep=0.25), root)
    facts = open_artifact(uri, KIND).manifest.facts
    table = open_artifact(uri, KIND).table(FILE, SELECTION).to_pandas()
    kept = table[table.kept].groupby("label")
    assert (facts["criterion"], facts["drop"], facts["keep"], facts["per_class"]) == ("loss_converge", "low", 0.25, True)
    assert facts["class_names"] == list(digits.class_names) and facts["dataset"] == digits.fingerprint
    assert facts["total_per_class"] == table.groupby("label").size().tolist()
    assert facts["kept_per_class"] == kept.size().tolist()
    assert facts["lowest_kept_per_class"] == kept.score.min().tolist()
    assert facts["highest_kept_per_class"] == kept.score.max().tolist()
    assert (facts["total"], facts["kept"]) == (len(table), int(table.kept.sum()))
    dropped = table[~table.kept].groupby("label").score.max()
    assert (dropped <= kept.score.min()).all()


def test_keep_one_is_still_a_selection(digits: Dataset, scores: str, root: str):
    assert load_selection(prune(digits.uri, scores, PruneConfig(keep=1.0), root)).tolist() == list(range(len(digits.train)))


def test_the_same_bytes_and_reuse(digits: Dataset, scores: str, root: str, tmp_path: Path):
    config = PruneConfig(keep=0.2)
    first, elsewhere = prune(digits.uri, scores, config, root), prune(digits.uri, scores, config, str(tmp_path))
    digests = [hashlib.sha256((Path(uri) / FILE).read_bytes()).hexdigest() for uri in (first, elsewhere)]
    assert digests[0] == digests[1]
    before = (Path(first) / FILE).stat().st_mtime_ns
    assert prune(digits.uri, scores, PruneConfig(keep=0.2, seed=9), root) == first  # nothing is drawn, so the seed is no part of it
    assert (Path(first) / FILE).stat().st_mtime_ns == before
    assert prune(digits.uri, scores, PruneConfig(keep=0.2, band=(0.1, 0.3)), root) != first


def test_random_control_differs_by_seed_and_needs_no_scores(digits: Dataset, scores: str, root: str):
    uris = [prune(digits.uri, None, PruneConfig(criterion="random", keep=0.1, seed=seed), root) for seed in (0, 1)]
    first, second = (set(load_selection(uri).tolist()) for uri in uris)
    assert first != second
    sizes = [open_artifact(uri, KIND).fact("kept_per_class") for uri in uris]
    assert sizes[0] == sizes[1] and min(sizes[0]) >= 14
    assert prune(digits.uri, scores, PruneConfig(criterion="random", keep=0.1), root) == uris[0]


def test_external_list_ranks_and_its_content_is_the_identity(digits: Dataset, root: str, tmp_path: Path):
    values = np.random.default_rng(0).normal(size=len(digits.train))
    place, copy = tmp_path / "DIGITS_LossInit.json", tmp_path / "copy.json"
    place.write_text(json.dumps(values.tolist()))
    copy.write_text(place.read_text())
    config = PruneConfig(criterion="external", keep=0.5, score_list=str(place))
    uri = prune(digits.uri, None, config, root)
    table = open_artifact(uri, KIND).table(FILE, SELECTION).to_pandas()
    assert table.score.tolist() == values.tolist()
    assert prune(digits.uri, None, config.model_copy(update={"score_list": f"file://{copy}"}), root) == uri
    place.write_text(json.dumps((-values).tolist()))
    mirrored = prune(digits.uri, None, config, root)
    assert mirrored != uri
    odd = [label for label, total in enumerate(open_artifact(uri, KIND).fact("total_per_class")) if total % 2]
    both = set(load_selection(uri).tolist()) & set(load_selection(mirrored).tolist())
    assert odd and both == set()  # halves from either end do not meet; odd classes drop the larger half


def test_external_list_of_another_length_is_refused(digits: Dataset, root: str, tmp_path: Path):
    place = tmp_path / "short.json"
    place.write_text(json.dumps([0.5] * len(digits.test)))
    config = PruneConfig(criterion="external", score_list=str(place))
    with pytest.raises(DataError, match=rf"has {len(digits.test)} scores, .* {len(digits.train)} samples: .*test split"):
        prune(digits.uri, None, config, root)
    with pytest.raises(MissingArtifact, match=r"nowhere\.json"):
        prune(digits.uri, None, config.model_copy(update={"score_list": str(tmp_path / "nowhere.json")}), root)


def test_refusals(digits: Dataset, scores: str, root: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="criterion loss_init needs scores: run score and summarize first"):
        prune(digits.uri, None, PruneConfig(), root)
    with pytest.raises(ConfigError, match=r"10 of 10 classes keep fewer .*smallest keep that would do is 0.0\d+"):
        prune(digits.uri, scores, PruneConfig(keep=0.001), root)
    with pytest.raises(MissingArtifact):
        prune(digits.uri, str(tmp_path / "nothing"), PruneConfig(), root)
    with pytest.raises(MissingArtifact):
        load_selection(scores + "-nothing")
    with pytest.raises(IncompatibleArtifact):
        load_selection(scores)


def test_scores_of_another_data_set_are_refused(digits: Dataset, scores: str, root: str):
    other = ingest(IngestConfig(split_seed=1), root)
    assert open_dataset(other).fingerprint != digits.fingerprint
    with pytest.raises(IncompatibleArtifact, match="dataset"):
        prune(other, scores, PruneConfig(), root)


def test_every_setting_of_the_rule_decides_the_cut() -> None:
    """Class 0 has the eight lowest scores, class 1 the four highest."""
    scores, labels = np.arange(12.0), np.repeat([0, 1], [8, 4])

    def kept(**changes: object) -> list[int]:
        config = PruneConfig(**({"keep": 0.5, "minimum_per_class": 1} | changes))
        return np.flatnonzero(cut_by(config, scores, labels, ["a", "b"]).kept).tolist()

    assert kept() == [0, 1, 2, 3, 8, 9]
    assert kept(keep=0.25) == [0, 1, 8]
    assert kept(drop="low") == [4, 5, 6, 7, 10, 11]
    assert kept(band=(0.25, 0.5)) == [2, 3, 9]
    assert kept(keep=0.75, per_class=False) == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert kept(per_class=False, floor_per_class=2) == [0, 1, 2, 3, 8, 9]
    with pytest.raises(ConfigError, match="minimum_per_class = 5"):
        kept(minimum_per_class=5)
    with pytest.raises(ConfigError, match="minimum_per_class = 1 "):
        kept(per_class=False)
