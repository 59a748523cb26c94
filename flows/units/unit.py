"""What a unit of GPU work is: a flow that any worker of the pool `gpu` can run, stop and continue.

A unit is identified by the artifact that it publishes. Published: nothing to do. Begun: it continues from what is there (the rounds
of a distillation). One process at a time works on it (`flows.units.under_lease`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, Signature
from typing import Any

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from pydantic_core import to_jsonable_python

from flows.local.flow import LocalFlow
from flows.units.under_lease import under_lease
from tasks.parameters import Root
from tasks.run_name import RunName
from tasks.sample_noun import speaking_of_given
from tasks.task import Stage


class Unit(LocalFlow[..., str | State[Any]]):
    """The flow that a worker runs: the work, under a lease, unless its artifact is published; it returns the artifact's URI.

    Name, parameters, documentation and name of a run are those of the work; `root` is added, or may be left out where the work asks
    for it: it is then BILP_STORAGE of the process that runs the unit.
    """

    def __init__(self, work: Stage[...] | LocalFlow[..., str], address: Callable[..., str], *, side_by_side: bool = False) -> None:
        """Make a unit.

        Args:
            work: What is done: a task, or a flow that consists of several.
            address: URI of the artifact; takes some of the work's arguments.
            side_by_side: Whether BILP_WORKERS of them may run at the same time in one process.
        """
        self.work, self.address, self.side_by_side = work, address, side_by_side
        function = inspect.unwrap(work.fn)
        act = work if isinstance(work, Stage) else function
        signature = _with_root(inspect.signature(function, eval_str=True))

        def run(*args: Any, **kwargs: Any) -> str | State[Any]:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            arguments = given.arguments
            with speaking_of_given(arguments):
                return under_lease(
                    arguments["root"],
                    lambda root: _call(address, arguments | {"root": root}),
                    lambda root: _call(act, arguments | {"root": root}, function),
                )

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__signature__ = signature  # type: ignore[attr-defined]
        run_name = work.task_run_name if isinstance(work, Stage) else work.flow_run_name
        assert isinstance(run_name, RunName)
        super().__init__(run, name=work.name.replace("_", "-"), flow_run_name=run_name, persist_result=False)
        self.run_name, self.signature = run_name, signature

    def call(self, root: str, **arguments: Any) -> Call:
        """This unit with its arguments, to be carried out by `flows.units.execute`. Raises TypeError for unknown arguments."""
        given = self.signature.bind(root=root, **arguments)
        given.apply_defaults()
        return Call(self, given.arguments)


@dataclass(frozen=True)
class Call:
    """One unit with its arguments."""

    unit: Unit
    arguments: Mapping[str, Any]
    """Every parameter's."""

    @property
    def label(self) -> str:
        """The display name."""
        return self.unit.run_name.format(**self.arguments)

    @cached_property
    def artifact(self) -> str:
        """URI of what the unit publishes."""
        return str(_call(self.unit.address, self.arguments))

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments as JSON would hold them."""
        plain: dict[str, Any] = to_jsonable_python(dict(self.arguments))
        return plain

    def begin(self) -> str | PrefectFuture[str]:
        """Do the work in this process, without a lease: at once, or in a thread of the running flow if the unit runs side by side."""
        work = self.unit.work
        function = inspect.unwrap(work.fn)
        if self.unit.side_by_side and isinstance(work, Stage):
            future: PrefectFuture[str] = _call(work.submit, self.arguments, function)
            return future
        return str(_call(work, self.arguments, function))


def _with_root(signature: Signature) -> Signature:
    """The signature with an optional `root`, after what is required."""
    root = Parameter("root", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Root)
    others = [parameter for parameter in signature.parameters.values() if parameter.name != "root"]
    required = [parameter for parameter in others if parameter.default is Parameter.empty]
    optional = [parameter for parameter in others if parameter.default is not Parameter.empty]
    return Signature([*required, root, *optional], return_annotation=signature.return_annotation)


def _call(function: Callable[..., Any], arguments: Mapping[str, Any], described: Callable[..., Any] | None = None) -> Any:
    """Call with those of the arguments that the function, or the one that describes it, takes."""
    return function(**{name: arguments[name] for name in inspect.signature(described or function).parameters})
