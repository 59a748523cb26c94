"""Names of runs: one that somebody typed stays, one that Prefect drew gives way to what differs from the defaults."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.utilities.names import generate_slug

from bilp.config import PipelineConfig
from flows.local.flow import flow
from tasks import run_texts
from tasks.run_name import LONGEST, is_random, unless_given


def test_names_that_prefects_server_draws_are_known() -> None:
    drawn = [generate_slug(2) for _ in range(200)]
    assert [name for name in drawn if not is_random(name)] == []


@pytest.mark.parametrize("name", ["beta6-yoshida-adjunct", "omega-canis-majoris-x", "alpha37-zuvan", "nu-vega-void"])
def test_names_that_its_form_draws_are_known(name: str) -> None:
    assert is_random(name)


@pytest.mark.parametrize(
    "name",
    ["my-ablation-7", "alpha-test", "beta-keep", "digits dm ipc 1", "alpha", "", "-", "baseline", "beta6-yoshida-adjunct-2nd", "dc-10"],
)
def test_other_names_are_somebodys(name: str) -> None:
    assert not is_random(name)


@flow(name="named", flow_run_name=unless_given(lambda value: f"value {value}"))
def named(value: str) -> str:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    return context.flow_run.name


def test_a_run_is_named_by_its_parameters_on_one_line() -> None:
    assert named("a\nb") == r"value a\nb"
    assert len(named("x" * 1000)) <= LONGEST


@pytest.mark.slow
def test_a_name_that_a_run_was_made_with_stays() -> None:
    from prefect.flow_engine import run_flow_sync

    assert named("first") == "value first"  # a server is there now
    with get_client(sync_client=True) as client:
        typed = client.create_flow_run(named, parameters={"value": "3"}, name="my-ablation-7")
        drawn = client.create_flow_run(named, parameters={"value": "3"}, name="beta6-yoshida-adjunct")
    assert run_flow_sync(named, flow_run=typed, parameters={"value": "3"}) == "my-ablation-7"
    assert run_flow_sync(named, flow_run=drawn, parameters={"value": "3"}) == "value 3"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "digits dm ipc 1"),
        ({"dataset": "digits", "method": "dm", "keep": 0.5}, "digits dm ipc 1 keep=0.5"),
        ({"dataset": "digits", "keep": 0.8}, "digits dm ipc 1"),  # what follows from digits anyway
        ({"prune": {"per_class": True}, "evaluate": {"robustness": False}}, "digits dm ipc 1"),
        ({"seed": 3, "distill": {"iterations": 8}}, "digits dm ipc 1 seed=3 distill.iterations=8"),
        ({"evaluate": {"networks": ["mlp", "convnet"]}}, "digits dm ipc 1 evaluate.networks=mlp,convnet"),
        ({"recipe": "cifar10-dc-ipc1", "keep": 0.7}, "cifar10 dc ipc 1 cifar10-dc-ipc1 keep=0.7"),
        ({"dataset": "folder", "ingest": {"uri": "photos"}, "keep": 0.4}, "folder dm ipc 1 keep=0.4 ingest.uri=photos"),
        ({"dataset": "digits", "recipe": "cifar10-dc-ipc1", "recipe_dataset": "any"}, "digits dc ipc 1 cifar10-dc-ipc1"),
    ],
)
def test_a_pipeline_is_named_by_what_differs(given: dict[str, object], name: str) -> None:
    assert run_texts.run_name(PipelineConfig.model_validate(given)) == name


def test_a_long_list_of_differences_is_counted() -> None:
    config = PipelineConfig.model_validate({"seed": 1, "keep": 0.4, "beta": 0.2, "experiments": 2, "arms": ["unpruned"]})
    assert run_texts.run_name(config).endswith("and 2 more")
    assert run_texts.varied_name(config, {"ipc": 1, "keep": 0.4}) == "digits dm ipc 1 keep=0.4"
