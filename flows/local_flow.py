"""`flow` as Prefect's own, for flows that also run where no Prefect server is configured, and that fail in one line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.exceptions import ParameterTypeError

from bilp.errors import BilpError
from bilp.unexpected import one_line
from flows import local_server

P = ParamSpec("P")
R = TypeVar("R")


class Unexpected(BilpError):
    """What nobody expected, said in one line for the state of a run; its cause is the error itself."""


class LocalFlow(Flow[P, R]):
    """A Prefect flow that, when it is called as a function, brings its own server if none is configured."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        with local_server.reachable():
            return super().__call__(*args, **kwargs)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """As Prefect's, with every wrong value in one line."""
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:
            head, *wrong = (line.strip(" -") for line in str(error).splitlines())
            raise ParameterTypeError(" ".join([head, "; ".join(wrong)]).strip()) from None


def flow(**options: Any) -> Callable[[Callable[P, R]], LocalFlow[P, R]]:
    """The decorator; options are those of `prefect.flow`. Results are not persisted: flows return URIs of artefacts."""
    return lambda function: LocalFlow(_failing_in_one_line(function), persist_result=False, **options)


def _failing_in_one_line(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for runs that workers start: people read the message of their state in a table, and the traceback in their log."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            context = FlowRunContext.get()
            deployed = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
            if not deployed or "\n" not in str(error):
                raise
            raise Unexpected(one_line(error)) from error

    return run
