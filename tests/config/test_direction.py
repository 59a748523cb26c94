"""What follows from the images per class for the end that is dropped, and the settings of pruning that may be words."""

from __future__ import annotations

from typing import Any

import pytest

from bilp.config import CRITERIA, PipelineConfig
from bilp.config.base import as_recorded
from bilp.config.defaults import complete
from bilp.config.direction import DIRECTIONS, direction
from bilp.config.explain import explain
from bilp.config.recipes import load_recipe, recipe_names


@pytest.mark.parametrize(
    ("given", "drop", "keep", "origin"),
    [
        ({"ipc": 1}, "high", 0.5, None),
        ({"ipc": 10}, "high", 0.5, None),
        ({"dataset": "digits", "ipc": 10}, "high", 0.8, None),  # 7 % of a class: up to 10 nothing turns
        ({"ipc": 49}, "high", 0.5, None),
        ({"ipc": 50}, "both", 0.5, "ipc 50 (50 or more: both ends are dropped)"),
        ({"ipc": 250}, "low", 0.9, "ipc 250 (5 % of the class or more: easy images are dropped)"),
        ({"ipc": 250, "keep": 0.7}, "low", 0.7, "ipc 250 (5 % of the class or more: easy images are dropped)"),
        ({"dataset": "cifar100", "ipc": 25}, "low", 0.9, "ipc 25 (5 % of the class or more: easy images are dropped)"),
        ({"ipc": 250, "prune": {"criterion": "aum"}}, "high", 0.9, "ipc 250 (5 % of the class or more: easy images are dropped)"),
        ({"ipc": 50, "prune": {"criterion": "cad"}}, "low", 0.5, "criterion cad"),
        ({"ipc": 50, "prune": {"criterion": "random"}}, "high", 0.5, "criterion random"),
        ({"ipc": 50, "prune": {"rule": "strata"}}, "high", 0.5, None),
        ({"ipc": 50, "prune": {"drop": "high"}}, "high", 0.5, "given"),
        ({"ipc": 50, "prune": {"band": [0.1, 0.5]}}, "high", 0.5, None),
        ({"ipc": 250, "keep": "auto"}, "high", "auto", None),
        ({"ipc": 50, "keep": "search"}, "both", "search", "ipc 50 (50 or more: both ends are dropped)"),
        ({"dataset": "folder", "ingest": {"uri": "x"}, "ipc": 500}, "both", 0.5, "ipc 500 (50 or more: both ends are dropped)"),
    ],
)
def test_the_end_that_is_dropped_follows_from_the_images_per_class(given: dict[str, Any], drop: str, keep: Any, origin: str | None) -> None:
    values = {"dataset": "cifar10", **given}
    config = PipelineConfig.model_validate(values)
    assert (config.prune.drop, config.prune.keep, config.keep) == (drop, keep, keep)
    assert complete(values).origins.get("prune.drop") == origin
    told = {setting.path: setting.origin for setting in explain(values)}
    assert told["prune.drop"] == (origin or "default")


def test_every_number_of_images_has_one_direction_and_only_difficulty_turns() -> None:
    assert all(direction(ipc, per_class) in DIRECTIONS for ipc in (1, 11, 50, 1000) for per_class in (None, 1, 500, 5000))
    for name, criterion in CRITERIA.items():
        if criterion.from_list:
            continue
        turned = PipelineConfig.model_validate({"dataset": "cifar10", "ipc": 50, "prune": {"criterion": name}}).prune.drop != criterion.drop
        assert turned == criterion.difficulty, name


def test_where_both_ends_are_dropped_no_best_ranked_are_kept_in_any_case() -> None:
    assert PipelineConfig.model_validate({"dataset": "cifar10", "ipc": 50, "prune": {"per_class": False}}).prune.floor_per_class == 0
    given = {"ipc": 3, "prune": {"per_class": False, "drop": "both"}}
    assert PipelineConfig.model_validate(given).prune.floor_per_class == 0


def test_published_recipes_of_this_paper_state_the_end_that_it_drops() -> None:
    recipes = [name for name in recipe_names() if name.startswith("published/bilp") and load_recipe(name)["ipc"] >= 50]
    assert recipes
    for name in recipes:
        assert load_recipe(name)["prune"]["drop"] == "high", name


@pytest.mark.parametrize(
    ("given", "epochs"),
    [
        ({"dataset": "cifar100", "ipc": 10}, 6),
        ({"dataset": "cifar100", "ipc": 50}, 30),
        ({"dataset": "cifar100", "ipc": 100}, 60),
        ({"dataset": "cifar10", "ipc": 1}, 6),
        ({"dataset": "cifar100", "ipc": 400}, 60),
        ({"dataset": "digits", "ipc": 50}, 20),
        ({"dataset": "folder", "ingest": {"uri": "x"}}, 30),
    ],
)
def test_cad_scores_for_as_long_as_a_set_will_train(given: dict[str, Any], epochs: int) -> None:
    score = PipelineConfig.model_validate({**given, "prune": {"criterion": "cad"}}).score
    assert (score.epochs, score.trials) == (epochs, 1)


def test_strata_drop_beforehand_what_their_paper_says() -> None:
    found = [
        PipelineConfig.model_validate({"dataset": "cifar10", "keep": keep, "prune": {"rule": "strata"}}) for keep in (0.05, 0.1, 0.2, 0.3)
    ]
    assert [config.prune.hardest for config in found] == [0.3, 0.3, 0.2, 0.0]
    assert complete({"keep": 0.1, "prune": {"rule": "strata"}}).origins["prune.hardest"] == "rule strata at keep 0.1"


def test_what_came_later_is_written_nowhere_at_its_former_values() -> None:
    assert set(as_recorded(PipelineConfig().prune)) == {
        "criterion", "drop", "keep", "band", "per_class", "floor_per_class", "minimum_per_class", "score_list", "seed",
    }  # fmt: skip
    assert as_recorded(PipelineConfig(keep="auto"))["prune"]["keep"] == "auto"


@pytest.mark.parametrize(("given", "kept"), [("0.25", 0.25), (1, 1.0), ("auto", "auto"), ("search", "search")])
def test_keep_is_a_number_or_a_word(given: Any, kept: Any) -> None:
    config = PipelineConfig.model_validate({"keep": given})
    assert config.keep == config.prune.keep == kept
    assert PipelineConfig.model_validate_json(config.model_dump_json()).keep == kept
