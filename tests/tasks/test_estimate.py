"""How long the rest takes: from what was done, on time that a test tells, and nothing where nobody knows."""

from __future__ import annotations

import pytest

from bilp.config import PipelineConfig
from flows.planned import planned_steps
from tasks import steps
from tasks.estimate import Estimate, Left, Planned
from tasks.rows import Row
from tasks.status_lines import cut, duration, remaining
from tasks.steps import Step


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def begun(*plan: Planned) -> tuple[Estimate, Time]:
    time = Time()
    return Estimate(plan, time), time


def test_rest_of_a_kind_takes_as_long_as_what_was_done_and_unknown_kinds_are_said() -> None:
    estimate, time = begun(Planned("score", "trial", 4), Planned("distill", "round", 2))
    assert estimate.left() is None
    estimate.begin("a", "score", "trial")
    time.now = 10.0
    estimate.end("a", "trial", worked=True)
    assert estimate.left() == Left(30.0, whole=False)
    estimate.begin("r", "distill", "round")
    estimate.advance("r", "round", 0.0)
    time.now = 15.0
    estimate.advance("r", "round", 0.5)
    assert estimate.left() == Left(30.0 + 15.0, whole=True)
    assert estimate.reached == 2


def test_the_stage_is_that_of_the_step_that_began_last() -> None:
    estimate, _ = begun(Planned("distill", "round", 2), Planned("evaluate", "train teacher"), Planned("evaluate", "evaluation", 1))
    told = []
    for stage, kind in (("evaluate", "train teacher"), ("distill", "round"), ("evaluate", "evaluation")):
        estimate.begin(kind, stage, kind)
        told.append(estimate.stages[estimate.reached - 1])
    assert told == ["evaluate", "distill", "evaluate"]


def test_what_was_there_already_tells_nothing_about_the_time() -> None:
    estimate, time = begun(Planned("distill", "round", 3))
    estimate.begin("a", "distill", "round")
    time.now = 1.0
    estimate.end("a", "round", worked=False)
    assert estimate.left() is None
    estimate.begin("b", "distill", "round")
    time.now = 21.0
    estimate.end("b", "round", worked=True)
    assert estimate.left() == Left(20.0, whole=True)


def test_what_a_step_found_of_itself_is_not_taken_for_speed() -> None:
    estimate, time = begun(Planned("evaluate", "evaluation", 2))
    estimate.begin("a", "evaluate", "evaluation")
    time.now = 0.1
    estimate.advance("a", "evaluation", 0.8)
    time.now = 10.1
    estimate.advance("a", "evaluation", 0.9)
    left = estimate.left()
    assert left is not None and left.seconds == pytest.approx(110.0, rel=0.02)


def test_steps_side_by_side_share_their_time() -> None:
    estimate, time = begun(Planned("score", "trial", 4))
    for name in "ab":
        estimate.begin(name, "score", "trial")
    time.now = 10.0
    for name in "ab":
        estimate.end(name, "trial", worked=True)
    assert estimate.left() == Left(10.0, whole=True)


@pytest.mark.parametrize("given", [{}, {"method": "mtt"}, {"arms": ["unpruned"], "experiments": 2}, {"distill": {"shards": 2}}])
def test_the_plan_has_the_kinds_and_stages_of_the_tasks(given: dict[str, object]) -> None:
    config = PipelineConfig.model_validate(given)
    arm = {"arm": "bilp", "experiment": 0}
    told = [
        steps.one_of("score", "score", "trial", "trial", lambda given: 3)({"trial": 0}),
        steps.one_of("experts", "experts", "expert", "expert", lambda given: 3)({"expert": 0}),
        steps.distill_round({"round_number": 1, "rounds": 2, "label": "bilp", "shard": None}),
        steps.beside("distill", "distill", "measuring effects")({}),
        *(steps.evaluated_baseline({"baseline": name}) for name in config.evaluate.baselines),
        steps.evaluated_set(arm),
        steps.whole("evaluate", "train teacher")({}),
    ]
    kinds = {(step.stage, step.kind) for step in told}
    plan = planned_steps(config)
    assert {(planned.stage, planned.kind) for planned in plan if planned.kind} <= kinds
    stages = list(dict.fromkeys(planned.stage for planned in plan))
    assert stages == [stage for stage in steps.STAGES if stage in stages] and stages[-1] == "report"
    rounds = sum(planned.count for planned in plan if planned.kind == "round")
    assert rounds == config.distill.rounds * config.distill.shards * len(config.arms) * config.experiments
    assert [planned.stage for planned in planned_steps(config, "distill")][-1] == "distill"


def test_times_and_names_in_few_cells() -> None:
    told = [duration(seconds) for seconds in (0.4, 59, 60, 125, 839, 3600, 12_000, 200_000)]
    assert told == ["0 s", "59 s", "1 min", "2 min 5 s", "14 min", "1 h", "3 h 20 min", "2 days 7 h"]
    assert [remaining(left) for left in (None, Left(720, whole=True), Left(180, whole=False), Left(1, whole=False))] == [
        "",
        "about 12 min left",
        "at least 3 min left",
        "",
    ]
    assert cut("distill an arm with a long name 12/345", 20) == "distill ...me 12/345"


def test_a_line_tells_the_steps_that_run_side_by_side_and_no_time_before_it_knows():
    row = Row("score", 0.0)
    for number in (1, 2, 3):
        row.begin(number, Step("score", "score", "trial", total=5, number=number, noun="trial"))
    row.advance(1, 0.0, "", 0.0)
    assert row.numbers(1.0) == ["trials 1-3 of 5", "0 %"]
    row.advance(1, 0.02, "", 60.0)
    assert row.numbers(60.0) == ["trials 1-3 of 5", "0 %"], "a first batch is slow, and says nothing of the others"
    row.advance(1, 0.5, "", 70.0)
    assert row.numbers(70.0) == ["trials 1-3 of 5", "10 %", "about 10 min left"]
    row.end(1, True, "")
    row.end(2, True, "")
    assert row.numbers(80.0)[0] == "trial 3 of 5"


def test_a_step_that_first_tells_of_itself_when_it_is_done_has_no_time_left_to_tell():
    row = Row("full", 0.0)
    row.begin(1, Step("evaluate", "full", "full"))
    row.advance(1, 1.0, "", 5.0)
    assert row.numbers(6.0) == ["100 %"]
    row.advance(1, 1.0, "", 7.0)
    assert row.numbers(7.0) == ["100 %"]
