"""`flow` as Prefect's own, for flows that also run where no Prefect server is configured."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import prefect.flows
from prefect import Flow
from prefect.client.schemas.objects import RunType
from prefect.context import FlowRunContext
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import ParameterSchema, parameter_schema

from bilp.config import recipes
from bilp.errors import MOST
from bilp.storage.uris import refuse_secrets
from bilp.text.escaping import shortened, shown
from flows.local import server
from tasks import in_notebook
from tasks.run_name import RunName

if os.environ.get("PREFECT__FLOW_RUN_ID"):  # a worker started this process for a run, whose parameters came through the server
    recipes.take_names_alone()

P = ParamSpec("P")
R = TypeVar("R")


_one_at_a_time = threading.Lock()


class LocalFlow(Flow[P, R]):
    """A Prefect flow that, when it is called as a function, brings its own server if none is configured."""

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        """As Prefect's, whose options these are; only the schema of the parameters waits until somebody asks for it."""
        with _no_schema():
            super().__init__(fn, **options)
        del self.__dict__["parameters"]

    @cached_property
    def parameters(self) -> ParameterSchema:  # type: ignore[override]
        """The schema of the parameters, for forms. All flows together take a second, which every process would wait that imports them."""
        return parameter_schema(self.fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        refuse_secrets([*args, kwargs])  # before Prefect keeps them with the run
        with server.reachable(), in_notebook.quiet():
            result = super().__call__(*args, **kwargs)
        _link_as_tasks()
        return result

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """As Prefect's, with every wrong value in one line."""
        refuse_secrets(parameters)  # Prefect logs them all if one is wrong
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:
            head, *wrong = (line.strip(" -") for line in str(error).splitlines())
            raise ParameterTypeError(shortened(shown(" ".join([head, "; ".join(wrong)]).strip()), MOST)) from None


@contextmanager
def _no_schema() -> Iterator[None]:
    """While a flow is made, which Prefect describes by a schema that it does not read: deployments are given another one."""
    prefects = vars(prefect.flows)
    with _one_at_a_time:
        prefects[parameter_schema.__name__] = lambda _: ParameterSchema()
        try:
            yield
        finally:
            prefects[parameter_schema.__name__] = parameter_schema


def _link_as_tasks() -> None:
    """Have what inner flows returned count as results of tasks with those flow runs' identifiers, where it is given to others.

    Prefect records where parameters came from. Its UI draws an arrow for each, whatever kind of run it came from, and lists no task runs
    at all if one of them names a flow run.
    """
    context = FlowRunContext.get()
    results = context.run_results if context is not None else {}
    for part, (state, kind, reference) in list(results.items()):
        if kind == RunType.FLOW_RUN:
            details = state.state_details.model_copy(update={"task_run_id": state.state_details.flow_run_id})
            results[part] = (state.model_copy(update={"state_details": details}), RunType.TASK_RUN, reference)


def flow(**options: Any) -> Callable[[Callable[P, R]], LocalFlow[P, R]]:
    """The decorator; options are those of `prefect.flow`. Results are not persisted: flows return URIs of artifacts."""
    if isinstance(options.get("flow_run_name"), str):
        options["flow_run_name"] = RunName(options["flow_run_name"])
    return lambda function: LocalFlow(function, persist_result=False, **options)
