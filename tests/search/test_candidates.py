"""What a search tries, in how many rungs, and at what cost."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bilp.api.keywords import configured, found_numbers, prunes_adaptively
from bilp.config import NetworkConfig, PipelineConfig
from bilp.errors import ConfigError
from bilp.search.answer import tentative
from bilp.search.candidates import Candidate, asks, candidates, identity, plan, rungs, survivors
from bilp.search.cost import of_search, stated
from bilp.search.found import key_of


def config(**given: object) -> PipelineConfig:
    return PipelineConfig.model_validate({"dataset": "digits", **given})


def test_nothing_is_searched_unless_a_word_says_so_and_an_arm_reads_it() -> None:
    assert not asks(config())
    assert asks(config(keep="search"))
    assert not asks(config(keep="search", arms=["unpruned", "adaptive"]))
    assert not asks(config(beta="search", arms=["unpruned", "static"]))
    assert asks(config(beta="search", arms=["adaptive"]))
    assert not asks(config(beta="search", method="mtt", arms=["bilp"]))


def test_every_pruning_is_tried_once() -> None:
    searched = config(keep="search", beta="search", reselect={"low_share": "search"}, search={"keep": [1, 0.5], "drop": ["high", "low"]})
    grid = itertools.product((1.0, 0.5), ("high", "low"), (0.0, 0.1, 0.3), (0.0, 0.5))
    different = {(keep, drop if keep < 1 else None, beta, low if beta else None) for keep, drop, beta, low in grid}
    found = candidates(searched)
    assert len(found) == len(different)
    assert {(each.keep, each.drop, each.beta, each.low_share) for each in found} == different
    with pytest.raises(ConfigError, match="15 candidates and search.most is 14"):
        candidates(config(keep="search", beta="search", reselect={"low_share": "search"}, search={"keep": [1, 0.7, 0.5], "most": 14}))


def test_the_reference_is_what_prunes_least() -> None:
    searched = plan(config(keep="search", beta="search", search={"keep": [0.3, 0.9, 0.5], "beta": [0.3, 0.1]}))
    assert searched.candidates[searched.reference] == Candidate(keep=0.9, beta=0.1)


@pytest.mark.parametrize(
    ("count", "tried"), [(1, [1]), (2, [2]), (3, [3, 2]), (7, [7, 4, 2]), (8, [8, 4, 2]), (9, [9, 5, 3, 2]), (64, [64, 32, 16, 8, 4, 2])]
)
def test_each_rung_halves_the_candidates_and_doubles_the_iterations(count: int, tried: list[int]) -> None:
    found = rungs(count, 100)
    assert [rung.candidates for rung in found] == tried
    assert [rung.iterations for rung in found] == [max(1, round(100 / 2**k)) for k in reversed(range(len(tried)))]


def test_the_reference_goes_on_whatever_its_rank() -> None:
    assert survivors([3, 1, 0, 2], 2, reference=2) == [1, 2, 3]
    assert survivors([2, 1, 0, 3], 2, reference=2) == [1, 2]


def test_proxies_are_of_the_method_that_the_search_names_or_of_the_run_itself() -> None:
    by_dm = plan(config(keep="search", method="dc", distill={"iterations": 400}, search={"least": 1}))
    assert (by_dm.distill.method, by_dm.rungs[-1].iterations) == ("dm", 40)
    for iterations, longest in ((30, 30), (400, 100), (5000, 500)):
        assert plan(config(keep="search", distill={"iterations": iterations})).rungs[-1].iterations == longest
    assert plan(config(keep="search", method="dc", search={"method": "dc"})).distill.method == "dc"
    proxy = by_dm.proxy(by_dm.rungs[0], 2)
    assert (proxy.iterations, proxy.rounds, proxy.seed) == (10, 1, 2)
    with pytest.raises(ConfigError, match="imitates experts"):
        plan(config(keep="search", method="mtt", search={"method": "mtt"}))


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ConfigError, match="one is auto and the other search"):
        plan(config(beta="search", reselect={"low_share": "auto"}, search={"beta": [0.1, 0.2]}))
    with pytest.raises(ConfigError, match="has a score of every image"):
        plan(config(keep="search", prune={"criterion": "external", "score_list": "x.json"}))
    with pytest.raises(ConfigError, match="prune.scores are of all images"):
        plan(config(keep="search", prune={"scores": "atlas"}))


def test_whatever_decides_the_outcome_is_in_the_key() -> None:
    base = config(keep="search")
    changed = [
        config(keep="search", search={"held_out": 0.3}),
        config(keep="search", search={"seed": 1}),
        config(keep="search", search={"trainings": 4}),
        config(keep="search", search={"distillations": 4}),
        config(keep="search", search={"keep": [1.0, 0.5]}),
        config(keep="search", search={"iterations": 0.9}),
        config(keep="search", score={"trials": 4}),
        config(keep="search", prune={"criterion": "el2n"}),
        config(keep="search", ipc=2),
        config(keep="search", seed=1),
        config(keep="search", evaluate={"epochs": 10}),
    ]
    keys = [str(identity(plan(each), each)) for each in (base, *changed)]
    assert len(set(keys)) == len(keys)
    same = config(keep="search", evaluate={"baselines": ["random"], "seeds": 9}, experiments=4, report={"max_classes": 3})
    assert str(identity(plan(same), same)) == keys[0]


def test_a_revised_network_or_method_is_searched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(keep="search", method="idc", search={"method": "idc"})
    found, by_dm = plan(asked), plan(config(keep="search"))
    before = {key_of(found, asked, "0" * 16), key_of(by_dm, config(keep="search"), "0" * 16)}
    monkeypatch.setattr(NetworkConfig, "revision", property(lambda network: 7))
    after = {key_of(found, asked, "0" * 16), key_of(by_dm, config(keep="search"), "0" * 16)}
    assert not before & after


def test_the_cost_that_is_stated_is_what_the_rungs_add_up_to() -> None:
    searched = config(keep="search", search={"keep": [1.0, 0.7, 0.5], "distillations": 2, "trainings": 3})
    found = plan(searched)
    runs = 2 * (3 + 3)  # in the second rung two, and the reference
    cost = of_search(found, searched, classes=10, images=1000)
    assert (cost.distillations, cost.trainings) == (runs, 3 * runs)
    distilled = sum(2 * 3 * rung.iterations * 10 * (found.distill.batch_real + 1) for rung in found.rungs)
    evaluated = runs * 3 * searched.evaluate.epochs * 10
    scored = searched.score.trials * searched.score.epochs * 800
    assert cost.passes == distilled + evaluated + scored
    assert f"at most {runs} short distillations by dm and {3 * runs} trainings" in stated(found, searched, 10, 1000)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_numbers_that_are_found_make_settings_that_can_be_read_again(beta: float) -> None:
    """A typed beta of 0 is refused with a first decision; one that was found takes it back."""
    for group in ({}, {"beta": "search"}):
        asked = {"dataset": "digits", "beta": "search", "reselect": {"before_initialization": True, **group}}
        found = configured(asked).with_found({"reselect.beta": beta}, "search")
        assert (found.beta, found.reselect.beta, found.reselect.before_initialization) == (beta, beta, beta > 0)
        assert PipelineConfig.model_validate(found.model_dump(mode="json")) == found
        assert configured(found_numbers(asked, configured(asked), found)).reselect == found.reselect
    assert (found.origins or {})["reselect.before_initialization"] == ("search" if beta == 0 else "given")
    alone = {"beta": "search"}
    told = {"beta": beta, "reselect": {"beta": beta}}
    assert found_numbers(alone, configured(alone), found) == told, "nothing is added that nobody asked for"


def test_a_recipe_that_states_beta_prunes_adaptively_where_the_method_can(tmp_path: Path) -> None:
    recipe, ingested = tmp_path / "mine.yaml", configured({"dataset": "digits"}).ingest

    def adaptive(text: str, **given: Any) -> bool:
        recipe.write_text(text, encoding="utf-8")
        return prunes_adaptively({"dataset": "digits", "recipe": str(recipe), **given}, ingested)

    assert adaptive("beta: 0.2\n", method="dm") and adaptive("beta: search\n", method="dm")
    assert not adaptive("beta: 0.2\n", method="ccfs") and not adaptive("beta: 0.2\n", method="dm", beta=0.0)
    assert not adaptive("ipc: 2\n", method="dm") and not prunes_adaptively({"dataset": "digits"}, ingested)
    assert adaptive("ipc: 2\n", beta=0.1)


@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize(
    ("text", "beside"),
    [
        ("beta: search\nkeep: search\nreselect: {low_share: search, before_initialization: yes}\n", {}),
        ("beta: search\nkeep: search\nreselect: {low_share: search}\n", {"reselect": {"beta": "search"}}),
        ("keep: search\nbeta: search\nreselect: {beta: search, low_share: search}\n", {}),
    ],
)
def test_a_number_that_is_found_goes_before_the_word_of_a_recipe(beta: float, text: str, beside: dict[str, Any], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(text, encoding="utf-8")
    given = {"dataset": "digits", "recipe": str(recipe), **beside}
    asked = configured(given)
    found = asked.with_found({"prune.keep": 0.7, "reselect.beta": beta, "reselect.low_share": 0.25}, "search")
    again = configured(found_numbers(given, asked, found))
    assert (again.keep, again.prune.keep, again.reselect) == (0.7, 0.7, found.reselect)


def test_proxies_take_no_first_decision() -> None:
    first = {"before_initialization": True}
    asked, plain = (config(beta="search", reselect=reselect, search={"beta": [0.1, 0.5]}) for reselect in (first, {}))
    assert all(not each.reselect(asked.reselect).before_initialization for each in plan(asked).candidates)
    assert identity(plan(asked), asked) == identity(plan(plain), plain), "so it is the same search"
    assert tentative(asked).reselect.before_initialization, "the run itself is checked as it will be"
