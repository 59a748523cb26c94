"""The progress of a whole run: stages, units, parts and steps, how seldom it is told, and a run inside of another."""

from __future__ import annotations

import pytest

from tasks import run_progress
from tasks.run_progress import SHORTEST, RunProgress, following


class Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_done_adds_up() -> None:
    told: list[tuple[float, str]] = []
    clock = Clock()
    progress = RunProgress(["read", "distill", "test"], lambda percent, words: told.append((percent, words)), clock)
    progress.stage()
    assert told == [(0.0, "stage 1 of 3, read: 0 %")]
    progress.stage()
    progress.units(2)
    progress.unit_done()
    progress.begin_part(1, 4)
    clock.now += 30
    progress.step(0.5)
    assert progress.of_stage == (1 + 0.375) / 2
    assert progress.percent == pytest.approx(100 * (1 + 0.6875) / 3)
    assert told[-1][1] == "stage 2 of 3, distill: 69 %, about 14 s left of this stage"
    progress.step(0.1)
    assert progress.of_stage == 0.6875, "it never goes back"
    progress.unit_done()
    progress.unit_done()
    assert progress.of_stage == 1.0
    progress.finish("all is done")
    assert told[-1] == (100.0, "all is done")


def test_it_is_told_seldom() -> None:
    told: list[str] = []
    clock = Clock()
    progress = RunProgress(["one"], lambda _, words: told.append(words), clock)
    progress.stage()
    for _ in range(1000):
        progress.step(0.5)
    assert len(told) == 1
    clock.now += SHORTEST
    progress.step(0.5)
    assert len(told) == 2
    for _ in range(3600):
        clock.now += 1
        progress.step(0.5)
    assert len(told) < 300


def test_a_run_inside_of_another_tells_that_one() -> None:
    told: list[float] = []
    inner: list[float] = []
    with following(["a", "b"], lambda percent, _: told.append(percent)) as outer:
        run_progress.stage()
        with following(["x", "y"], lambda percent, _: inner.append(percent)):
            run_progress.stage()
            run_progress.unit_done()
            run_progress.stage()
            run_progress.units(2)
        assert outer.of_stage == 0.0, "told as seldom as everything"
        run_progress.stage()
        run_progress.step(0.5)
        assert outer.percent == 75.0
    assert inner == []
    assert run_progress.nobody()


def test_a_failed_run_says_where_it_ended() -> None:
    told: list[str] = []
    with pytest.raises(ValueError, match="x"), following(["a", "b"], lambda _, words: told.append(words)):
        run_progress.stage()
        run_progress.stage()
        raise ValueError("x")
    assert told[-1] == "ended in stage 2 of 2, b: 0 %"
    run_progress.step(1.0)  # nobody is followed any more
