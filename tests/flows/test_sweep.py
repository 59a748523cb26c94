"""Sweeps: names, what is refused, the table at the end, and that one combination's failure is not the others'."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from tiny_pipeline import TINY, Finished

from bilp.errors import ConfigError
from bilp.text.escaping import markdown
from flows.sweep import SweepFailed, combinations, sweep
from tasks import sweep_table
from tasks.sweep_table import Outcome

DIVERGES = 1e30


def test_a_sweep_goes_through_every_combination() -> None:
    found = combinations({"dataset": "digits", "score": {"epochs": 7}}, {"keep": [0.3, 0.7], "score.trials": [2, 3]})
    assert [(config.keep, config.score.trials, config.score.epochs) for config in found] == [
        (0.3, 2, 7),
        (0.3, 3, 7),
        (0.7, 2, 7),
        (0.7, 3, 7),
    ]
    with pytest.raises(ConfigError, match="no values for keep"):
        combinations({}, {"keep": []})


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"kepp": [0.5]}, "kepp: no such setting; did you mean keep?"),
        ({"distill.iteration": [5]}, r"distill.iteration: no such setting; did you mean distill.iterations\?"),
        ({"keep": [0.5, 7]}, r"keep = 7: input should be less than or equal to 1"),
    ],
)
def test_what_cannot_be_varied_is_refused_in_words(vary: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        combinations({"dataset": "digits"}, vary)


def test_values_in_few_words() -> None:
    assert sweep_table.named({"keep": 0.5, "ipc": 10}) == "keep=0.5 ipc=10"
    assert sweep_table.listed("keep", [0.3, 0.5]) == "keep = 0.3, 0.5"
    assert "x = 1, a\\.b = \\[1\\]" in sweep_table.plan({"x": 1, "a": {"b": [1]}}, ["keep=0.5"]).replace("a.b", "a\\.b")


def test_the_table_escapes_and_tells_what_failed() -> None:
    outcomes = [Outcome({"keep": 0.5, "name": "<b>|\x1b"}).failed("it *broke*"), Outcome({"keep": 0.7, "name": "x"})]
    text = sweep_table.as_markdown(outcomes, 3)
    assert "<b>" not in text and "\x1b" not in text and "failed: it \\*broke\\*" in text
    assert text.endswith("2 of 3 combinations are done.")
    plain = sweep_table.as_text(outcomes)
    assert len(plain) == 3 and plain[0].split() == ["keep", "name", "arm", "accuracy", "against", "unpruned"]
    assert plain[1].startswith("0.5   <b>|\\x1b") and plain[1].endswith("failed: it *broke*")


def of_last_sweep() -> tuple[FlowRun, list[FlowRun], dict[str, Artifact]]:
    """The run, its pipelines in the order of their start, and its artifacts."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(limit=200, sort=FlowRunSort.START_TIME_DESC)
        mine = max((run for run in runs if run.name.startswith("sweep ")), key=lambda run: str(run.created))
        inner = [run for run in runs if run.id != mine.id and f"sweep:{str(mine.id)[-8:]}" in run.tags]
        keys = ArtifactFilterKey(any_=["plan", "progress", "result"])
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=keys))
    own = [artifact for artifact in artifacts if artifact.flow_run_id == mine.id]
    assert len(own) == len({artifact.key for artifact in own}) == 3, "one of each"
    return mine, sorted(inner, key=lambda run: str(run.created)), {str(artifact.key): artifact for artifact in own}


@pytest.mark.slow
def test_a_combination_that_fails_leaves_the_others_their_results(copied: Finished, tmp_path: Path) -> None:
    vary = {"keep": [0.8, 0.5], "distill.learning_rate": [DIVERGES, 1.0]}
    with pytest.raises(SweepFailed, match=r"2 of 4 combinations failed \(keep=0.8 distill.learning_rate=1e\+30: Diverged: .*keep=0.5 .*\)"):
        sweep(TINY, vary, copied.root)
    mine, inner, shown = of_last_sweep()
    assert mine.state is not None and mine.state.is_failed()
    assert set(mine.tags) == {f"sweep:{str(mine.id)[-8:]}", "dataset:digits", "method:dm", "ipc:1"}
    assert mine.name == "sweep digits over keep = 0.8, 0.5, distill.learning_rate = 1e+30, 1.0"
    assert [run.name for run in inner][:2] == [
        "digits dm ipc 1 keep=0.8 distill.learning_rate=1e+30",
        "digits dm ipc 1 keep=0.8 distill.learning_rate=1.0",
    ]
    assert [run.state.is_completed() for run in inner if run.state] == [False, True, False, True]
    assert all(set(mine.tags) == set(run.tags) for run in inner)
    table = str(shown["result"].data)
    rows = [line for line in table.splitlines() if line.startswith("| 0.")]
    assert [("failed: Diverged" in row, "BiLP |" in row) for row in rows] == [(True, False), (False, True)] * 2
    (page,) = Path(copied.root, "reports", "comparisons").iterdir()
    assert markdown(str(page)) in table.rpartition("All reports side by side: ")[2]
    assert page.read_text(encoding="utf-8").count('<a href="../') == 2
    assert shown["progress"].description == "all 4 stages are done"
