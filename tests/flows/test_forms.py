"""The form of the UI: what it hands in untouched is nothing, what is filled in arrives, and both are checked by Prefect."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from bilp.config import PipelineConfig
from flows.pipeline import pipeline

Schema = dict[str, Any]


@cache
def form() -> Schema:
    schema: Schema = parameter_schema(pipeline).model_dump_for_openapi()
    return schema


def refused(config: dict[str, Any]) -> list[str]:
    """What Prefect's server says of these parameters before it makes a run of them."""
    return [problem.message for problem in validate({"config": config}, copy.deepcopy(form()))]


def received(config: Any) -> PipelineConfig:
    """The configuration that the flow gets."""
    found: PipelineConfig = pipeline.validate_parameters({"config": config, "root": None})["config"]
    return found


def fields(schema: Schema, prefix: str = "") -> dict[str, Schema]:
    """Every input of the form by its path."""
    found = {}
    for name, value in schema["properties"].items():
        group = form()["definitions"].get(value.get("$ref", "").rpartition("/")[2])
        found |= fields(group, f"{prefix}{name}.") if group else {f"{prefix}{name}": value}
    return found


def inputs() -> dict[str, Schema]:
    return fields(form()["definitions"]["PipelineConfig"])


def test_an_untouched_form_hands_in_nothing() -> None:
    """The UI sends the default of an input, and false for every switch that nobody touched."""
    assert len(inputs()) > 150
    assert not [path for path, value in inputs().items() if "default" in value or value.get("type") == "boolean"]


def test_the_switches_are_choices_that_may_be_left_open() -> None:
    switches = {path: value for path, value in inputs().items() if {"type": "boolean"}.items() <= value.get("anyOf", [{}])[-1].items()}
    of_evaluation = ("learned_rate", "robustness", "temperature_squared", "decay_vectors", "test_enlarged", "linear_probe")
    of_methods = (
        *("hallucinators.gray", "inversion.flip", "linear.pyramid"),
        *("random_features.learn_labels", "regression.learn_labels", "regression.mirrored"),
    )
    others = ("ingest.label_noise.per_class", "score.keep_networks", "prune.per_class", "experts.curriculum.score.keep_networks")
    others = (*others, "reselect.before_initialization")
    assert set(switches) == {*others, *(f"evaluate.{name}" for name in of_evaluation), *(f"distill.{name}" for name in of_methods)}
    for value in switches.values():
        assert value["anyOf"][0]["enum"] == ["yes", "no"], "the first kind is what an empty input shows"


@pytest.mark.parametrize(
    "config",
    [
        {"dataset": "digits"},
        {"prune": {"per_class": "no"}, "evaluate": {"robustness": "yes"}},
        {"prune": {"per_class": False}, "evaluate": {"robustness": True}},
        {"evaluate": {"networks": ["convnet", {"name": "mlp"}]}},
        {"dataset": "folder", "ingest": {"uri": "photos", "classes": ["0", "1"]}},
    ],
)
def test_what_is_filled_in_is_accepted_and_counts_as_given(config: dict[str, Any]) -> None:
    assert refused(config) == []
    origins = received(config).origins or {}
    given = {path for path, origin in origins.items() if origin == "given"}
    assert given == {f"{stage}.{name}" for stage, below in config.items() if isinstance(below, dict) for name in below} | {
        name for name, value in config.items() if not isinstance(value, dict)
    }


def test_parameters_of_a_deployment_from_before_settings_were_renamed_are_still_accepted() -> None:
    config = {"ingest": {"colour": "grey"}, "evaluate": {"optimiser": "adamw"}}
    assert refused(config) == []
    assert received(config) == PipelineConfig.model_validate({"ingest": {"color": "gray"}, "evaluate": {"optimizer": "adamw"}})
    assert not [path for path in inputs() if path.endswith(("colour", "optimiser"))], "an input of a former name"
    assert refused({"ingest": {"colours": "grey"}}) and refused({"distill": {"optimiser": "adamw"}})


@pytest.mark.parametrize("config", [{"prune": {"per_class": "perhaps"}}, {"evaluate": {"networks": ["mlpp"]}}, {"ipc": 0}])
def test_what_is_filled_in_wrong_is_refused_before_a_run_is_made(config: dict[str, Any]) -> None:
    assert refused(config)


def test_no_over_yes_of_a_recipe_is_possible(tmp_path: Any) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("prune: {per_class: no}\nevaluate: {robustness: yes}\n", encoding="utf-8")
    base = {"recipe": str(recipe)}
    left = received(base)
    assert (left.prune.per_class, left.evaluate.robustness) == (False, True), "what nobody touched is left to the recipe"
    over = received({**base, "prune": {"per_class": "yes"}, "evaluate": {"robustness": "no"}})
    assert (over.prune.per_class, over.evaluate.robustness) == (True, False)


def test_a_flow_that_is_called_with_a_configuration_still_knows_where_its_values_came_from() -> None:
    config = PipelineConfig.model_validate({"ipc": 3})
    assert received(config).origins == config.origins
    assert (config.origins or {})["ipc"] == "given"
    assert "seed" not in (config.origins or {})
    assert config.model_copy(update={"seed": 5}).origins is None
    assert PipelineConfig(ipc=3) == config == PipelineConfig.model_validate(config.model_dump())
