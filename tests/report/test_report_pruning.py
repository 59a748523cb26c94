"""The section on static pruning for each rule: thresholds where there are any, components over the bars, and what was found in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bilp.artifacts.facts import SelectionFacts
from bilp.config import IngestConfig, PruneConfig
from bilp.config.rules import RULES
from bilp.data import Dataset, ingest, open_dataset
from bilp.pruning.prune import chosen_by, selection_facts, selection_table
from bilp.report.components import components
from bilp.report.figures import bin_edges
from bilp.report.galleries import evenly
from bilp.report.selection import TOGETHER, Pruning, PruningRow, pruning
from bilp.report.wording import share


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(ingest(IngestConfig(), str(tmp_path_factory.mktemp("pruned"))))


def scores(digits: Dataset, wrong_share: float) -> np.ndarray:
    """Losses of samples of which the first of each class are taken for wrongly labeled."""
    rng, count = np.random.default_rng(0), len(digits.train)
    place = np.empty(count)
    for members in digits.train.by_class():
        place[members.numpy()] = np.linspace(0, 1, len(members), endpoint=False)
    return np.where(place < wrong_share, np.exp(rng.normal(1.0, 0.2, count)), np.exp(rng.normal(-2.0, 0.7, count)))


def shown(
    digits: Dataset, values: np.ndarray, agreement: Callable[[], float] | None = None, **settings: object
) -> tuple[Pruning, SelectionFacts]:
    config = PruneConfig.model_validate(settings)
    labels = digits.train.labels.numpy()
    images = digits.train.images().flatten(1).float()
    cut, found = chosen_by(config, values, labels, digits.class_names, lambda members: images[torch.from_numpy(members)], agreement)
    facts = SelectionFacts.model_validate_json(json.dumps(selection_facts(digits, config, cut, found)))
    frame = selection_table(labels, values, cut).to_pandas()
    return pruning(frame, facts, digits, [0, 3], 4, "loss"), facts


def test_components_of_keep_auto_are_drawn_over_a_logarithmic_axis_and_told(digits: Dataset) -> None:
    section, facts = shown(digits, scores(digits, 0.3), keep="auto")
    assert 0.66 < facts.keep < 0.74 and section.kept == facts.kept
    deviations = f"{facts.mixture.separation:.1f} deviations apart" if facts.mixture else ""
    assert section.found.startswith(f"It found two populations, {deviations}") and f"keeps {share(facts.keep)} of" in section.found
    assert section.components and section.thresholds
    for chart in section.histograms:
        assert re.findall(r'class="(curve [^"]+)"', str(chart)) == ["curve c-kept", "curve c-dropped"]
    assert "–" not in {row.threshold for row in section.rows}


def test_one_population_is_told_and_nothing_is_dropped(digits: Dataset) -> None:
    section, facts = shown(digits, scores(digits, 0.0), keep="auto")
    assert facts.keep == 1.0 and facts.mixture is not None and not facts.mixture.split
    assert "no second population" in section.found and section.found.endswith("So every image stays.")
    assert section.kept == section.total
    weak, _ = shown(digits, scores(digits, 0.0), lambda: 0.6, keep="auto")
    assert "they agree with 60\xa0% of the given labels, so the easiest 60\xa0% stay." in weak.found and weak.kept < 0.61 * weak.total
    sure, _ = shown(digits, scores(digits, 0.0), lambda: 0.97, keep="auto")
    assert "agree with 97\xa0% of the given labels, which leaves no wrong ones" in sure.found and sure.kept == sure.total
    weaker, _ = shown(digits, scores(digits, 0.0), lambda: 0.3, keep="auto")
    assert "agree with 30\xa0% of the given labels: too few to believe them." in weaker.found and weaker.kept == weaker.total


@pytest.mark.parametrize(("criterion", "sign"), [("loss_init", 1.0), ("aum", -1.0)])
def test_components_expect_as_many_as_there_are(digits: Dataset, criterion: str, sign: float) -> None:
    values = scores(digits, 0.3)
    _, facts = shown(digits, values if sign > 0 else -np.log(values), criterion=criterion, keep="auto")
    mixture = components(facts)
    assert mixture is not None
    of_zero = (values if sign > 0 else -np.log(values))[digits.train.labels.numpy() == 0]
    edges = bin_edges(of_zero, 24, log=mixture.mixed.log)
    lines = dict(mixture.expected(0, len(of_zero), edges))
    assert sum(float(heights.sum()) for heights in lines.values()) == pytest.approx(len(of_zero), rel=1e-6)
    assert lines["c-dropped"].sum() == pytest.approx(0.3 * len(of_zero), rel=0.1)
    bars = np.histogram(np.clip(of_zero, edges[0], edges[-1]), bins=edges)[0]
    assert np.abs(bars - sum(lines.values())).max() < 4 * math.sqrt(bars.max())


@pytest.mark.parametrize("rule", [rule for rule in RULES if RULES[rule].found])
def test_a_rule_that_finds_the_share_by_itself_is_shown(digits: Dataset, rule: str) -> None:
    section, facts = shown(digits, scores(digits, 0.3), rule=rule, keep="auto")
    assert section.kept == facts.kept < section.total and section.components and facts.mixture is not None


@pytest.mark.parametrize("rule", [rule for rule in RULES if not RULES[rule].found])
def test_every_rule_is_shown(digits: Dataset, rule: str) -> None:
    section, facts = shown(digits, scores(digits, 0.3), rule=rule, keep=0.5)
    assert section.found == "" and not section.components and facts.mixture is None
    assert section.kept == facts.kept == int(section.total * section.kept / section.total)
    if RULES[rule].spread:
        assert {row.threshold for row in section.rows} == {"–"} and not section.thresholds
        assert [cell.heading for cell in section.gallery[0].cells] == ["Kept", "Dropped"]
        assert all(len(cell.pictures) == 4 for row in section.gallery for cell in row.cells)
    else:
        assert len(section.gallery[0].cells) == 3 and section.thresholds
    assert 'class="curve' not in "".join(map(str, section.histograms))


def test_samples_of_a_scattered_selection_are_spread_over_the_ranking() -> None:
    kept, border, dropped = evenly(np.arange(20) % 2 == 0, 3)
    assert (kept.tolist(), border.tolist(), dropped.tolist()) == ([0, 8, 18], [], [1, 9, 19])
    assert [part.tolist() for part in evenly(np.ones(2, dtype=bool), 3)] == [[0, 1], [], []]


def test_many_classes_come_in_parts_by_name_and_few_as_they_are() -> None:
    def rows(names: list[str]) -> Pruning:
        return Pruning(tuple(PruningRow(name, "1", "1", "100 %", "–", "1", "–") for name in names), (), (), 1, 1)

    few = rows([f"class {c % 7}{c}" for c in range(TOGETHER)])
    assert few.by_name == (few.rows,)
    names = [f"{'Cc'[c % 2]}lass {(c * 7) % 1000:03d}" for c in range(1000)]
    parts = rows(names).by_name
    assert [len(part) for part in parts] == [TOGETHER] * 20
    flat = [row.name for part in parts for row in part]
    assert sorted(flat) == sorted(names) and [name.lower() for name in flat] == sorted(name.lower() for name in names)
