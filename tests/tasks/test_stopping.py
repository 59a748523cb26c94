"""An interrupt reaches the main thread only; tasks that run in other threads stop all the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from flows.local.flow import flow
from tasks.progress_bars import progress
from tasks.stopping import stoppable
from tasks.task import stage


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Shells start programs in the background with interrupts ignored; the test suite may be one of them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_stops_mapped_tasks_in_the_middle() -> None:
    begun: list[int] = []
    ended: list[int] = []
    waiting = threading.Event()
    enough = 10**7  # if nothing stops it, the test fails and does not hang

    @stage("endless {number}")
    def endless(number: int) -> str:
        assert threading.current_thread() is not threading.main_thread()
        waiting.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        begun.append(number)
        for step in range(enough):
            progress()(step, enough)
        ended.append(number)
        return "never interrupted"

    @flow(name="test", task_runner=ThreadPoolTaskRunner(max_workers=1))
    def run() -> list[str]:
        with stoppable():
            tasks = endless.map([1, 2])
            waiting.set()
            return list(tasks.result())

    with pytest.raises(KeyboardInterrupt):
        run()
    assert begun == [1], "the second never began"
    assert not ended


def test_other_flows_are_not_stopped_by_it() -> None:
    @stage("short {number}")
    def short(number: int) -> str:
        progress()(1, 1)
        return str(number)

    @flow(name="test")
    def run() -> list[str]:
        with stoppable():
            return list(short.map([1, 2]).result())

    assert run() == ["1", "2"]
