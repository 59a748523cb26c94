"""What every task has in common: a name that says what runs, retries of transient errors, and "Cached" for what was there.

Prefect's own result cache stays off. The artifacts of bilp are found by content key, their manifests and checksums are
verified, and nothing that is read can execute code; a persisted Prefect result record could.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ParamSpec, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.states import Completed

from bilp.artifacts.duration import timed
from bilp.errors import (
    BilpError,
    DamagedArtifact,
    ImpossibleUri,
    IncompatibleArtifact,
    MissingArtifact,
    StorageError,
    StorageMisconfigured,
    StorageRefused,
    StorageUnreachable,
)
from bilp.text.unexpected import one_line, while_doing
from tasks import notice_lines, terminal
from tasks.outcome import published_since
from tasks.progress_bars import watched
from tasks.result_words import ResultOf, in_words
from tasks.run_name import RunName
from tasks.sample_noun import speaking_of_given
from tasks.steps import StepOf, placed

P = ParamSpec("P")

notice_lines.pass_on()  # whoever runs tasks wants to read what the work waits for

RETRY_DELAYS = (1.0, 5.0, 20.0, 60.0)  # seconds, for a disk that is full, and for what nobody knows

# Trying again does not repair these.
PERMANENT = (MissingArtifact, DamagedArtifact, IncompatibleArtifact, ImpossibleUri, StorageRefused, StorageMisconfigured)


class Stage(Task[P, str]):
    """A task that returns a URI; its run ends in the state "Cached" if the artifact there was complete before."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> str:  # type: ignore[override]
        # A function that names its final state makes Prefect hand that state out; flows want the URI.
        result: Any = super().__call__(*args, **kwargs)
        return cast(str, result.result() if isinstance(result, State) and not kwargs.get("return_state") else result)


def stage(run_name: str, step: StepOf | None = None, result: ResultOf | None = None) -> Callable[[Callable[P, str]], Stage[P]]:
    """Make a task of a function that returns the URI of its artifact.

    Args:
        run_name: Its name in tables and logs; may name parameters in braces.
        step: What it is a part of, for the terminal; by default of nothing.
        result: A few words on what lies at the URI, for the terminal.
    """

    name = RunName(run_name)

    def decorate(function: Callable[P, str]) -> Stage[P]:
        return Stage(
            _reporting(function, name, step, result),
            name=function.__name__,
            task_run_name=name,
            retries=len(RETRY_DELAYS),
            retry_delay_seconds=list(RETRY_DELAYS),
            retry_condition_fn=is_transient,
            persist_result=False,
            cache_policy=NO_CACHE,
        )

    return decorate


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may be gone at the next attempt: no permanent error, and nothing that `bilp.storage.transient` gave up."""
    error = state.result(raise_on_failure=False)
    transient = isinstance(error, (StorageError, ConnectionError, TimeoutError)) and not isinstance(error, (*PERMANENT, StorageUnreachable))
    if transient and run.run_count <= len(RETRY_DELAYS):
        terminal.say(f"{run.name}: {error}; trying again in {RETRY_DELAYS[run.run_count - 1]:.0f} s")
    return transient


class Unexpected(BilpError):
    """What nobody expected, in one line; its cause is the error itself."""


def _for_a_table(error: BaseException) -> BaseException:
    """The error, or one with a single line in its place if a worker runs this: people then read it in a table of runs.

    The traceback is in the log of the run.
    """
    context = FlowRunContext.get()
    deployed = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    if not deployed or not isinstance(error, Exception) or isinstance(error, (BilpError, OSError)) or "\n" not in str(error):
        return error
    return Unexpected(one_line(error))


def _reporting(function: Callable[P, str], run_name: str, step: StepOf | None, result: ResultOf | None) -> Callable[P, Any]:
    """The function with a line in the terminal at its end, and with the state that its outcome deserves."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        began = datetime.now(UTC)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        label = run_name.format(**bound.arguments)
        with speaking_of_given(bound.arguments), watched(label, placed(step(bound.arguments)) if step else None) as watch:
            try:
                with timed():
                    uri = function(*args, **kwargs)
                fresh = published_since(uri, began)
            except BaseException as error:
                watch.line.stop(error)
                while_doing(error, label)
                told = _for_a_table(error)
                if told is error:
                    raise
                raise told from error
            watch.finish()
            watch.line.end(terminal.DONE if fresh else terminal.THERE, in_words(uri, result))
        return uri if fresh else Completed(name="Cached", message=f"complete at {uri}", data=uri)

    return run
