"""What all tasks share: which failures are tried again, what their runs are called, and which state they end in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow

from bilp.artifacts.publication import publish
from bilp.errors import (
    BilpError,
    ConfigError,
    DamagedArtifact,
    DataError,
    Diverged,
    ImpossibleUri,
    IncompatibleArtifact,
    LeaseLost,
    MissingArtifact,
    StorageError,
    StorageMisconfigured,
    StorageRefused,
    StorageUnreachable,
)
from bilp.storage.objects import delete, join
from flows.local import server
from flows.local.flow import flow
from tasks import task as stages
from tasks.outcome import published_since
from tasks.task import Stage, stage


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "RETRY_DELAYS", (0.0, 0.0, 0.0))


def failing(errors: list[Exception], attempts: list[int]) -> Stage[[]]:
    """A task whose first attempts raise `errors`, one each."""

    @stage("failing")
    def work() -> str:
        attempts.append(len(attempts))
        if len(attempts) <= len(errors):
            raise errors[len(attempts) - 1]
        return "somewhere/else"

    return work


def in_a_flow(work: Callable[[], str]) -> str:
    @flow(name="test")
    def run() -> str:
        return work()

    return run()


@pytest.mark.parametrize("error", [StorageError("out of reach"), ConnectionResetError(), TimeoutError()])
def test_transient_errors_are_tried_again(error: Exception) -> None:
    attempts: list[int] = []
    assert in_a_flow(failing([error, error], attempts)) == "somewhere/else"
    assert len(attempts) == 3


def test_storage_that_stays_out_of_reach_fails_in_the_end() -> None:
    attempts: list[int] = []
    with pytest.raises(StorageError, match="the fourth"):
        in_a_flow(failing([StorageError("a"), StorageError("b"), StorageError("c"), StorageError("the fourth")], attempts))
    assert len(attempts) == 4


PERMANENT = (
    *(ConfigError, DataError, Diverged, LeaseLost, ValueError, ZeroDivisionError),
    *(MissingArtifact, DamagedArtifact, IncompatibleArtifact, ImpossibleUri, StorageRefused, StorageMisconfigured),
    StorageUnreachable,
)


def test_what_is_wrong_for_good_or_was_waited_for_already_is_not_tried_again() -> None:
    tried: dict[type[Exception], int] = {}

    def each() -> str:
        for kind in PERMANENT:
            attempts: list[int] = []
            with pytest.raises(kind, match="wrong"):
                failing([kind("wrong")] * 4, attempts)()
            tried[kind] = len(attempts)
        return "all of them"

    assert in_a_flow(each) == "all of them"
    assert tried == dict.fromkeys(PERMANENT, 1)


def test_every_error_of_bilp_has_been_thought_of() -> None:
    def kinds(kind: type[BilpError]) -> set[type[BilpError]]:
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__()))

    assert {kind.__name__ for kind in kinds(BilpError) if kind.__module__ == "bilp.errors"} == {
        "BilpError",
        *(
            "ConfigError",
            "DataError",
            "StorageError",
            "StorageRefused",
            "StorageMisconfigured",
            "StorageUnreachable",
            "ImpossibleUri",
            "MissingArtifact",
            "DamagedArtifact",
            "UntrustedArtifact",
            "IncompatibleArtifact",
            "Diverged",
            "LeaseLost",
            "PluginMissing",
        ),
    }


def test_a_run_is_named_after_what_it_does_and_says_whether_it_was_cached(tmp_path: Path) -> None:
    root = str(tmp_path)

    @stage("make {thing} of {config[size]}")
    def make(thing: str, config: dict[str, int], root: str = root) -> str:
        return publish(join(root, thing), "thing", "k", {"f": b"x"}, config={}, parents={}).uri

    @flow(name="test")
    def run() -> list[tuple[str, str, str]]:
        found = []
        for _ in range(2):
            state = make("hats", {"size": 7}, return_state=True)
            found.append((state.type.value, state.name, state.result()))
        delete(join(root, "hats"))
        assert make("hats", {"size": 7}) == join(root, "hats")
        return found

    uri = join(root, "hats")
    assert run() == [("COMPLETED", "Completed", uri), ("COMPLETED", "Cached", uri)]


def test_mapped_tasks_hand_out_uris_too(tmp_path: Path) -> None:
    root = str(tmp_path)

    @stage("make {number}")
    def make(number: int) -> str:
        return publish(join(root, str(number)), "thing", "k", {"f": b"x"}, config={}, parents={}).uri

    @flow(name="test")
    def run() -> list[str]:
        first, second = make.map([1, 2]).result(), make.map([1, 2]).result()
        assert first == second
        return list(first)

    assert run() == [join(root, "1"), join(root, "2")]


def test_published_since(tmp_path: Path) -> None:
    root = str(tmp_path)
    now, second = datetime.now(UTC), timedelta(seconds=1)
    for name in "abc":
        publish(join(root, name), "thing", "k", {"page.html": b"x"}, config={}, parents={})
    assert published_since(join(root, "a"), now)
    assert not published_since(join(root, "a"), now), "this process has met it"
    assert not published_since(join(root, "b"), now + 5 * second), "it was there before"
    assert published_since(join(root, "c", "page.html"), now - second), "a file stands for its artifact"
    assert published_since(join(root, "nothing"), now), "without a manifest nothing was complete before"


def test_a_run_that_a_worker_starts_fails_with_a_message_of_one_line() -> None:
    @flow(name="fails")
    def fails() -> str:
        return failing([RuntimeError("first line\nsecond line")], [])()

    with server.reachable(), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(fails), "here")
        deployed = run_flow(fails, flow_run=client.create_flow_run_from_deployment(deployment), return_type="state")
        assert isinstance(deployed, State)
        message = client.read_flow_run(deployed.state_details.flow_run_id).state.message  # type: ignore[arg-type, union-attr]
    assert message == "Flow run encountered an exception: Unexpected: RuntimeError: first line second line"
    with pytest.raises(RuntimeError, match="first line\nsecond line"):
        fails()  # whoever calls it gets the error itself
