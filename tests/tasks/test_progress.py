"""Progress: lines where there is no terminal, bars where there is one, an artifact in the UI for what takes long."""

from __future__ import annotations

import io
import re
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from rich.console import Console

from flows.local.flow import flow
from tasks import progress_bars as progresses
from tasks import terminal
from tasks.polling import interval
from tasks.progress_bars import progress, seconds_left, watched
from tasks.task import stage


def display(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> io.StringIO:
    text = io.StringIO()
    shown = terminal.Display(Console(file=text, force_terminal=is_terminal, width=120, color_system=None, legacy_windows=False))
    monkeypatch.setattr(terminal, "_display", shown)
    return text


def test_nothing_is_shown_unless_a_program_asks_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    with watched("quiet"):
        progress()(1, 2)
    terminal.say("quiet")
    assert capfd.readouterr() == ("", "")


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PLAIN_INTERVAL", 0.0)
    text = display(monkeypatch, is_terminal=False)
    with watched("score trial 1") as watch:
        progress()(1, 4, "loss 0.5")
        progress()(4, 4)
        watch.line.end("done")
    first, second, last = text.getvalue().splitlines()
    assert first.strip().startswith("score trial 1: 1/4, about ")
    assert first.endswith("s left  loss 0.5")
    assert second.strip() == "score trial 1: 4/4, about 0 s left"
    assert last.endswith(" s  score trial 1: done")


def test_lines_come_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    text = display(monkeypatch, is_terminal=False)
    with watched("fast"):
        for done in range(1000):
            progress()(done, 1000)
    assert text.getvalue() == ""


def test_a_bar_on_a_terminal_has_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    text = display(monkeypatch, is_terminal=True)
    assert terminal._display is not None
    assert terminal._display.live is not None
    with watched("distill") as watch:
        progress()(1, 4, "loss 0.5")
        terminal._display.live.refresh()
        bars = Console(file=text, width=120, color_system=None)
        bars.print(terminal._display.live.get_renderable())
        watch.line.end("done")
    assert "distill" in text.getvalue()
    assert "25%" in text.getvalue()
    assert "left" in text.getvalue()
    assert "loss 0.5" in text.getvalue()
    assert terminal._display.live.tasks == []


def test_what_was_there_already_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    display(monkeypatch, is_terminal=True)
    assert terminal._display is not None
    assert terminal._display.live is not None
    with watched("cached"):
        assert terminal._display.live.tasks == []


def artifacts_after(interval: float, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """Progress artifacts of a task with three steps when updates are `interval` seconds apart."""
    monkeypatch.setattr(progresses, "ARTIFACT_INTERVAL", interval)
    sent: list[UUID | None] = []

    @stage("long work")
    def work() -> str:
        for done in (1, 2, 3):
            progress()(done, 4, "loss 0.5")
        sent.append(progress().artifact)
        return "somewhere"

    @flow(name="test")
    def run() -> str:
        return work()

    run()
    with get_client(sync_client=True) as client:
        found = [client.request("GET", f"/artifacts/{identifier}", path_params={}).json() for identifier in sent if identifier]
    return [(artifact["data"], artifact["description"]) for artifact in found]


@pytest.mark.slow
def test_the_ui_shows_the_progress_of_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert artifacts_after(0.0, monkeypatch) == [(100.0, "long work: done")]


def test_the_ui_shows_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progresses, "ARTIFACT_INTERVAL", 0.0)
    seen: list[str] = []

    @stage("long work")
    def work() -> str:
        for done in (1, 2):
            progress()(done, 4, "loss 0.5")
            with get_client(sync_client=True) as client:
                seen.append(client.request("GET", f"/artifacts/{progress().artifact}", path_params={}).json()["description"])
        return "somewhere"

    flow(name="test")(lambda: work())()
    assert seen[0] == "long work: loss 0.5", "after the first step nobody knows"
    assert re.fullmatch(r"long work: loss 0\.5 \(about \d+ s left\)", seen[1])


def test_the_remaining_time_is_that_of_what_remains() -> None:
    assert [seconds_left(*measured) for measured in ((0.0, 0, 9), (30.0, 3, 7))] == [None, 70.0]


def test_the_ui_is_not_bothered_by_short_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert artifacts_after(60.0, monkeypatch) == []


def test_the_polling_interval_grows_with_the_time_that_it_took() -> None:
    assert [interval(elapsed, 2.0) for elapsed in (0.0, 99.0, 600.0, 1e6)] == [2.0, 2.0, 12.0, 20.0]
    assert interval(1e6, 60.0) == 60.0
