"""The one way to have units of GPU work carried out: in this process, on workers of the pool `gpu`, or on Ray (`tasks.execution`).

The flows of the stages make a list of calls and have it executed. Results are the same artifacts wherever that happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prefect.futures import PrefectFuture

from flows.local.flow import flow
from flows.units import ray
from flows.units.unit import Call
from tasks import run_progress
from tasks.execution import Execution
from tasks.remote import is_published, run_on_worker
from tasks.stopping import stoppable

T = TypeVar("T")
Submit = Callable[[Call, int], PrefectFuture[str]]
"""Has a call carried out elsewhere, as one of so many."""


def execute(what: str, calls: Sequence[Call]) -> list[str]:
    """The artifacts of all calls, in their order, once all are published; `what` names the work for whoever watches."""
    return EXECUTORS[Execution().execution](what, calls)


def in_this_process(what: str, calls: Sequence[Call]) -> list[str]:
    """Tasks of the running flow."""
    run_progress.units(len(calls))
    with stoppable():
        begun = [_counted(call.begin()) for call in calls]
        return [each if isinstance(each, str) else str(_counted(each.result())) for each in begun]


def _counted(done: T) -> T:
    """What a call that was begun gave; it counts as done unless it is still under way."""
    if isinstance(done, str):
        run_progress.unit_done()
    return done


def on_workers(what: str, calls: Sequence[Call]) -> list[str]:
    """One deployment run for each call, with a task that waits for it."""

    def submit(call: Call, among: int) -> PrefectFuture[str]:
        return run_on_worker.submit(call.label, f"{call.unit.name}/gpu", call.parameters, call.artifact, call.arguments["root"], among)

    return _elsewhere(what, calls, submit)


def on_ray(what: str, calls: Sequence[Call]) -> list[str]:
    """One task for each call, on a node that Ray chooses. Raises BilpError if prefect-ray is not installed."""
    return _elsewhere(what, calls, lambda call, among: ray.submit(call), task_runner=ray.task_runner())


EXECUTORS = {"local": in_this_process, "workers": on_workers, "ray": on_ray}
"""By value of BILP_EXECUTION."""


def _elsewhere(what: str, calls: Sequence[Call], submit: Submit, **options: Any) -> list[str]:
    """Submit what is not published yet and wait for all of it, in a flow with these options."""

    @flow(name="units", flow_run_name="{what}", **options)
    def units(what: str) -> list[str]:
        missing = [call for call in calls if not is_published(call.artifact)]
        run_progress.units(len(missing))
        with stoppable():
            for future in [submit(call, len(missing)) for call in missing]:
                future.result()
                run_progress.unit_done()
        return [call.artifact for call in calls]

    return units(what)
