"""Random samples at equal keep: as many of each class as static pruning keeps, drawn without any score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.config import IngestConfig, PruneConfig
from bilp.data import ingest, open_dataset
from bilp.errors import ConfigError
from bilp.pruning.chosen import Available, choose, lowest, random_selection, static_selection
from bilp.pruning.prune import KIND, load_selection, prune
from bilp.pruning.static import random_scores, select
from bilp.seeds import generator


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = str(tmp_path_factory.mktemp("chosen"))
    return root, ingest(IngestConfig(), root)


def unequal(root: str, dataset: str) -> str:
    """A selection that keeps another number of each class."""
    scores = Path(root, "list.json")
    values = np.random.default_rng(0).permutation(len(open_dataset(dataset).train)).tolist()
    scores.write_text(str([float(value) for value in values]))
    config = PruneConfig(criterion="external", score_list=str(scores), keep=0.3, per_class=False)
    return prune(dataset, None, config, root)


def test_as_many_of_each_class_are_drawn_as_the_static_selection_keeps(digits: tuple[str, str]) -> None:
    root, dataset = digits
    static = unequal(root, dataset)
    drawn = [random_selection(Available(dataset, None, static, seed, root)) for seed in (0, 1, 0)]
    labels = open_dataset(dataset).train.labels
    counts = [torch.bincount(labels[load_selection(uri)], minlength=10).tolist() for uri in (static, *drawn)]
    assert counts[1:] == [counts[0]] * 3 and len(set(counts[0])) > 1
    assert drawn[0] == drawn[2] != drawn[1]
    assert not torch.equal(load_selection(drawn[0]), load_selection(drawn[1]))
    facts = open_artifact(drawn[0], KIND).manifest.facts
    assert facts["criterion"] == "random" and facts["kept_per_class"] == counts[0]


def test_the_draw_is_that_of_a_slow_reference(digits: tuple[str, str]) -> None:
    root, dataset = digits
    static = unequal(root, dataset)
    labels = open_dataset(dataset).train.labels
    kept = torch.bincount(labels[load_selection(static)], minlength=10).tolist()
    expected = []
    for c, count in enumerate(kept):
        ids = (labels == c).nonzero().flatten().tolist()
        numbers = torch.rand(len(ids), dtype=torch.float64, generator=generator(3, "prune", c)).tolist()
        expected += [ids[k] for k in sorted(range(len(ids)), key=lambda k: numbers[k])[:count]]
    assert load_selection(random_selection(Available(dataset, None, static, 3, root))).tolist() == sorted(expected)


def test_it_agrees_with_criterion_random_where_that_keeps_as_many(digits: tuple[str, str]) -> None:
    root, dataset = digits
    static = prune(dataset, None, PruneConfig(criterion="random", keep=0.4, seed=7), root)
    assert torch.equal(load_selection(random_selection(Available(dataset, None, static, 7, root))), load_selection(static))


def test_cut_to_counts_has_the_thresholds_that_a_cut_to_a_share_has() -> None:
    labels = np.repeat(np.arange(3), [10, 20, 30])
    scores = random_scores(labels, 3, 0)
    expected = select(scores, labels, ["a", "b", "c"], keep=0.5)
    found = lowest(scores, labels, ["a", "b", "c"], np.array([5, 10, 15]))
    for name in ("kept", "rank_in_class", "total_per_class", "kept_per_class", "lowest_kept", "highest_kept"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    nothing = lowest(scores, labels, ["a", "b", "c"], np.array([0, 1, 2]))
    assert np.isnan(nothing.lowest_kept).tolist() == [True, False, False] and nothing.kept.sum() == 3


def test_choices_without_a_chooser_are_all_samples_and_others_need_what_they_choose_by(digits: tuple[str, str]) -> None:
    root, dataset = digits
    static = unequal(root, dataset)
    of = Available(dataset, None, static, 0, root)
    assert choose("all", of) is None and choose("scored", of) == static_selection(of) == static
    assert choose("as_many_random", of) == random_selection(of)
    with pytest.raises(ConfigError, match="chosen by the static selection, and none was given"):
        choose("as_many_random", Available(dataset, None, None, 0, root))
