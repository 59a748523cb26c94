"""Progress: lines now and then where there is no terminal, lines that are rewritten where there is one, an artifact in the UI."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from rich.console import Console

from bilp import ending
from flows.local.flow import flow
from tasks import progress_bars as progresses
from tasks import steps, terminal
from tasks.estimate import Planned
from tasks.polling import interval
from tasks.progress_bars import progress, seconds_left, watched
from tasks.steps import Step
from tasks.task import stage


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def display(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, width: int = 120) -> tuple[io.StringIO, Clock]:
    text, clock = io.StringIO(), Clock()
    console = Console(file=text, force_terminal=is_terminal, width=width, height=20, color_system=None, legacy_windows=False)
    monkeypatch.setattr(terminal, "_display", terminal.Display(console, clock))
    return text, clock


def rewritten() -> list[str]:
    """The lines that a terminal shows now of what runs."""
    assert terminal._display is not None
    return terminal._display.running().plain.splitlines()


def a_round(number: int, total: int = 10, label: str = "bilp") -> Step:
    return steps.distill_round({"round_number": number, "rounds": total, "label": label, "shard": None})


def finish(label: str = "bilp") -> Step:
    return steps.beside("distill", "distill {label}", "finishing", closes=True)({"label": label})


PLAN = [Planned("score", "trial", 2), Planned("distill", "round", 10), Planned("evaluate", "evaluation", 2)]


def test_nothing_is_shown_unless_a_program_asks_for_it(capfd: pytest.CaptureFixture[str]) -> None:
    with watched("quiet"):
        progress()(1, 2)
    terminal.say("quiet")
    terminal.expect(PLAN)
    assert capfd.readouterr() == ("", "")


def test_lines_in_a_pipe_come_seldom_and_say_what_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    text, clock = display(monkeypatch, is_terminal=False)
    terminal.expect(PLAN)
    line = terminal.line("distill bilp round 1/10", a_round(1))
    for second in range(40):
        clock.now = float(second)
        line.advance(second, 100, "loss 0.5")
    told = text.getvalue().splitlines()
    assert [part.strip() for part in told] == [
        f"distill bilp: round 1 of 10, {done} %, about 16 min left, loss 0.5; "
        f"stage 2 of 3: distill, {second} s so far, at least 16 min left"
        for second, done in ((10, 1), (20, 2), (30, 3))
    ]


def test_rounds_of_an_arm_are_one_line_that_is_rewritten_and_one_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    text, clock = display(monkeypatch, is_terminal=True)
    terminal.line("register bilp", steps.whole("distill", "register {label}", quiet=True)({"label": "bilp"})).end(terminal.DONE)
    for number in range(1, 11):
        line = terminal.line(f"distill bilp round {number}/10", a_round(number))
        line.advance(0, 2, "")
        clock.now += 1.0
        line.advance(1, 2, f"loss 0.{number}")
        (row,) = rewritten()
        assert f"round {number} of 10" in row and f"{10 * number - 5} %" in row and f"loss 0.{number}" in row
        assert f"about {21 - 2 * number} s left" in row
        clock.now += 1.0
        line.advance(2, 2, f"loss 0.{number}")
        line.end(terminal.DONE)
    terminal.line("finish bilp", finish()).end(terminal.DONE)
    assert rewritten() == []
    assert text.getvalue() == "   20.0 s  distill bilp: 10 rounds, loss 0.10\n"


def test_what_was_there_already_shows_nothing_that_moves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = display(monkeypatch, is_terminal=True)
    for number in range(1, 4):
        terminal.line("", a_round(number)).end(terminal.THERE)
        assert rewritten() == []
    for number in range(4, 11):
        line = terminal.line("", a_round(number))
        line.advance(1, 1, "loss 0.1")
        line.end(terminal.DONE)
    terminal.line("", finish()).end(terminal.DONE)
    terminal.line("", finish("unpruned")).end(terminal.THERE)
    terminal.line("prune", steps.whole("prune", "prune")({})).end(terminal.THERE, "kept 1,151 of 1,438")
    assert [line.split(" s  ")[1] for line in text.getvalue().splitlines()] == [
        "distill bilp: 10 rounds, 3 of them there already, loss 0.1",
        "distill unpruned: there already",
        "prune: kept 1,151 of 1,438, there already",
    ]


def test_the_last_line_is_about_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, clock = display(monkeypatch, is_terminal=True)
    terminal.expect(PLAN)
    assert rewritten() == ["0 s so far"]
    trial = terminal.line("", steps.one_of("score", "score", "trial", "trial", lambda given: 2)({"trial": 0}))
    assert rewritten() == ["stage 1 of 3: score, 0 s so far"]
    clock.now = 30.0
    trial.advance(1, 1, "")
    trial.end(terminal.DONE)
    assert rewritten()[-1] == "stage 1 of 3: score, 30 s so far, at least 30 s left"


def test_work_side_by_side_has_a_line_each_and_the_screen_is_not_overrun(monkeypatch: pytest.MonkeyPatch) -> None:
    display(monkeypatch, is_terminal=True)
    lines = [terminal.line("", a_round(1, label=f"arm {number}")) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda line: line.advance(1, 2, "loss"), lines))
    rows = rewritten()
    assert len(rows) == 18 and len(set(rows)) == 18
    for line in lines[:39]:
        line.end(terminal.DONE)
    assert "round 1 of 10" in rewritten()[0], "what runs goes first"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 140])
def test_no_width_hides_a_number(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, clock = display(monkeypatch, is_terminal=True, width=width)
    terminal.expect(PLAN)
    line = terminal.line("", a_round(7, label="an arm of a long name that nobody would give 12/345"))
    line.advance(0, 100, "")
    clock.now = 60.0
    line.advance(58, 100, "loss 0.123456 and a note that is much too long for a terminal of any width that people use")
    row, whole = rewritten()
    assert len(row) < width and len(whole) < width
    assert "round 7 of 10" in row and "5 %" in row
    assert "stage 2 of 3" in whole and " left" in whole
    assert ("distill" in row and "/345" in row) == (width > 40)
    assert ("━" in row) == (width == 140), "a bar gives way to words"


def test_an_error_says_where_the_work_stopped_and_another_attempt_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = display(monkeypatch, is_terminal=False)
    terminal.line("", a_round(1)).end(terminal.DONE)
    terminal.line("", a_round(2)).stop(ConnectionError("gone"))
    assert text.getvalue() == "    0.0 s  distill bilp: stopped by ConnectionError in round 2 of 10\n"
    terminal.line("", a_round(2)).end(terminal.DONE)
    assert terminal._display is not None
    assert terminal._display.resumes == ["distill bilp after round 2 of 10"]


def test_an_interrupt_is_told_where_the_work_continues(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, ending.one_line("program", "working"), terminal.display():
        terminal.line("", a_round(1)).end(terminal.DONE)
        interrupted = terminal.line("", a_round(2))
        interrupted.advance(1, 2, "")
        interrupted.stop(KeyboardInterrupt())
        raise KeyboardInterrupt
    assert ended.value.code == ending.INTERRUPTED
    last = "program: error: interrupted; the same command continues where it stopped: distill bilp after round 1 of 10\n"
    assert capsys.readouterr().err.endswith(last)
    ending.continues_at([])


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
