"""What a unit makes of its one declaration: the flow of a worker, its form, the call, and how it runs in this process."""

from __future__ import annotations

import threading
from typing import Any, get_args

import prefect
import pytest
from prefect.utilities.callables import parameter_schema

from bilp.artifacts.publication import publish
from bilp.storage.objects import children, join
from flows.local.flow import flow
from flows.units.execute import EXECUTORS, execute
from flows.units.unit import Unit
from tasks.execution import Execution
from tasks.parameters import Label, RunUri
from tasks.task import stage

RAN_IN: dict[str, bool] = {}


@stage("make {number} of {label}")
def make_thing(run_uri: RunUri, number: int, label: Label = "hats") -> str:
    """Make one.

    Args:
        number: Which one.
    """
    RAN_IN[f"{label} {number}"] = threading.current_thread() is threading.main_thread()
    return publish(thing_of(run_uri, number), "thing", "k", {"f": b"x"}, config={}, parents={}).uri


@flow(name="make-two", flow_run_name="two of {label}")
def make_two(run_uri: RunUri, label: Label = "hats") -> str:
    """Make two."""
    make_thing(run_uri, 1, label)
    return make_thing(run_uri, 2, label)


def thing_of(run_uri: str, number: int) -> str:
    return join(run_uri, f"thing{number}")


ONE = Unit(make_thing, thing_of)
AT_ONCE = Unit(make_thing, thing_of, side_by_side=True)
TWO = Unit(make_two, lambda run_uri: thing_of(run_uri, 2))


@flow(name="test")
def executed(calls: list[Any]) -> list[str]:
    return execute("test", calls)


def test_a_flow_describes_its_parameters_as_prefects_own_do_but_only_when_asked() -> None:
    def find(run_uri: RunUri, most: int = 3) -> str:
        """Find it.

        Args:
            most: How many at most.
        """
        return run_uri * most

    ours, prefects = flow(name="find")(find), prefect.flow(find)
    assert "parameters" not in vars(ours) | vars(ONE)
    assert set(vars(prefects)["parameters"].properties) == {"run_uri", "most"}
    assert ours.parameters == prefects.parameters
    assert ours.with_options(name="other").parameters == ours.parameters
    assert ONE.parameters == parameter_schema(ONE.fn)


def test_names_and_form_are_those_of_the_work() -> None:
    assert (ONE.name, ONE.flow_run_name) == ("make-thing", "make {number} of {label}")
    assert (TWO.name, TWO.flow_run_name) == ("make-two", "two of {label}")
    form = parameter_schema(ONE).model_dump()
    assert form["required"] == ["run_uri", "number"]
    assert {name: field["description"] for name, field in form["properties"].items()} == {
        "run_uri": "A run that a pipeline registered.",
        "number": "Which one.",
        "root": "Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.",
        "label": "The display name.",
    }
    assert [form["properties"][name]["position"] for name in ("run_uri", "number", "root", "label")] == [0, 1, 2, 3]


def test_a_call_is_known_before_it_is_carried_out(tmp_path: Any) -> None:
    root = str(tmp_path)
    call = ONE.call(root, run_uri=join(root, "run"), number=3)
    assert (call.label, call.artifact) == ("make 3 of hats", join(root, "run", "thing3"))
    assert call.parameters == {"run_uri": join(root, "run"), "number": 3, "root": root, "label": "hats"}
    for wrong in ({"run_uri": "r"}, {"run_uri": "r", "number": 1, "count": 2}):
        with pytest.raises(TypeError):
            ONE.call(root, **wrong)


@pytest.mark.slow
def test_in_this_process_units_run_at_once_or_side_by_side_and_need_no_lease(tmp_path: Any) -> None:
    root = str(tmp_path)
    run = join(root, "run")
    calls = [
        AT_ONCE.call(root, run_uri=run, number=3, label="caps"),
        ONE.call(root, run_uri=run, number=4),
        TWO.call(root, run_uri=run, label="pairs"),
    ]
    assert executed(calls) == [call.artifact for call in calls]
    assert RAN_IN == {"caps 3": False, "hats 4": True, "pairs 1": True, "pairs 2": True}
    assert children(root) == ["run"]


def test_a_worker_does_the_same_under_a_lease(tmp_path: Any) -> None:
    root = str(tmp_path)
    call = TWO.call(root, run_uri=join(root, "run"))
    assert TWO(**call.parameters) == call.artifact
    assert children(join(root, "leases", "run")) == ["thing2"]
    assert children(join(root, "run")) == ["thing1", "thing2"]


def test_there_is_an_executor_for_every_value_of_the_setting() -> None:
    assert set(EXECUTORS) == set(get_args(Execution.model_fields["execution"].annotation))
