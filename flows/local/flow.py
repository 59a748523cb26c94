"""`flow` as Prefect's own, for flows that also run where no Prefect server is configured."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.exceptions import ParameterTypeError

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


class LocalFlow(Flow[P, R]):
    """A Prefect flow that, when it is called as a function, brings its own server if none is configured."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        refuse_secrets([*args, kwargs])  # before Prefect keeps them with the run
        with server.reachable(), in_notebook.quiet():
            return super().__call__(*args, **kwargs)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """As Prefect's, with every wrong value in one line."""
        refuse_secrets(parameters)  # Prefect logs them all if one is wrong
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:
            head, *wrong = (line.strip(" -") for line in str(error).splitlines())
            raise ParameterTypeError(shortened(shown(" ".join([head, "; ".join(wrong)]).strip()), MOST)) from None


def flow(**options: Any) -> Callable[[Callable[P, R]], LocalFlow[P, R]]:
    """The decorator; options are those of `prefect.flow`. Results are not persisted: flows return URIs of artifacts."""
    if "flow_run_name" in options:
        options["flow_run_name"] = RunName(options["flow_run_name"])
    return lambda function: LocalFlow(function, persist_result=False, **options)
