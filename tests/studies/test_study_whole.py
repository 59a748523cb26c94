"""A study from its file to its page: by functions and by the command, killed, gone on with, and extended; on labels that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bilp.api import studied
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import StudyFacts
from bilp.artifacts.manifest_file import MANIFEST
from bilp.config.baselines import BASELINES
from bilp.config.nested import merge
from bilp.maintenance.garbage import Options, plan
from bilp.results.stored import results
from bilp.studies.definition import study_of
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_artifact import KIND
from bilp.studies.study_plan import Group, planned
from bilp.studies.study_progress import Progress

NARROW = {"width": 4, "depth": 1}
STUDY: dict[str, Any] = {
    "name": "whole",
    "settings": {
        "dataset": "digits",
        "score": {"trials": 1, "epochs": 2, "init_epochs": 2, "network": NARROW},
        "reselect": {"candidates_per_class": 6},
        "distill": {"iterations": 2, "rounds": 2, "batch_real": 8, "network": NARROW},
        "evaluate": {"seeds": 2, "epochs": 2, "networks": [NARROW]},
    },
    "grid": {"labels": {"right": {}, "wrong": {"ingest": {"label_noise": {"kind": "symmetric", "share": 0.3}}}}},
    "arms": {"real": {"baseline": "random"}, "unpruned": {}, "bilp": {}},
    "seeds": 2,
    "new_per_seed": ["data", "scores", "distillation", "evaluation"],
}


class Killed(BaseException):
    """The process ends here."""


def calls(monkeypatch: pytest.MonkeyPatch, die_after: int | None = None) -> list[Group]:
    """The groups whose pipelines are carried out; before another one than so many the process ends."""
    made: list[Group] = []
    compute = studied._computed

    def counted(group: Group, *rest: Any) -> Outcome:
        if die_after is not None and len(made) >= die_after:
            raise Killed
        made.append(group)
        return compute(group, *rest)

    monkeypatch.setattr(studied, "_computed", counted)
    return made


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_computes_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        calls(patch, die_after=3)
        studied.study(STUDY, root=root)
    with monkeypatch.context() as patch:
        made = calls(patch)
        found = studied.study(STUDY, root=root)
        assert len(made) == 1, "three of four blocks were there"
        assert studied.study(STUDY, root=root).page == found.page and len(made) == 1
    rows = found.rows.groupby(["cell", "arm"]).size()
    assert rows.to_dict() == {(cell, arm): 4 for cell in ("right", "wrong") for arm in ("real", "unpruned", "bilp")}
    assert list(found.table.columns)[:3] == ["cell", "arm", "title"] and len(found.table) == 6
    wrong = found.detection
    assert set(wrong["cell"]) == {"wrong"} and set(wrong.loc[wrong["arm"] == "", "wrong"]) == {431} and wrong["auroc"].between(0, 1).all()
    assert set(wrong["arm"]) == {"", "bilp"} and (wrong.loc[wrong["score"] == "loss_init", "kept"] > 0).all()
    page = Path(found.page).read_text(encoding="utf-8")
    assert "What scores found of the wrong labels" in page and "2 cells, 2 seeds each: complete." in page

    with monkeypatch.context() as patch:
        made = calls(patch)
        more = studied.study({**STUDY, "seeds": 3}, root=root)
        assert [block for block in made if block.config.distill.seed != 2] == [] and len(made) == 2, "only the third seed"
    assert more.page.rpartition("/")[0] == found.page.rpartition("/")[0] and more.rows["seed"].max() == 2
    facts = open_artifact(more.page.rpartition("/")[0], KIND).stated(StudyFacts)
    assert (facts.done, facts.planned) == (6, 6)

    listed = results(root)
    assert [(result.kind, result.status) for result in listed] == [("study", "study whole, 6 of 6 blocks")], "its runs are no loose ends"
    assert plan(root, Options(older_than=0.0)).removed == ()


@pytest.mark.slow
def test_the_budget_stops_before_a_block_that_would_not_end_within_it(tmp_path: Path) -> None:
    found = studied.study({**STUDY, "minutes": 0.0001}, root=str(tmp_path))
    assert set(found.rows["cell"]) == {"right"} and set(found.rows["seed"]) == {0}
    assert "Not complete: 1 of 4 blocks" in Path(found.page).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_study_whose_blocks_all_fail_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.study import StudyFailed, study
    from tasks.execution import device

    monkeypatch.setenv("BILP_DEVICE", "mps")
    device.cache_clear()
    try:
        with pytest.raises(StudyFailed, match=r"^4 of 4 blocks failed .*BILP_DEVICE=mps.*nothing to show$"):
            study(STUDY, root=str(tmp_path))
    finally:
        device.cache_clear()


@pytest.mark.slow
def test_the_command_makes_what_the_function_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.commands import study as command

    one = merge(STUDY, {"seeds": 1})
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(one))
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "flows"))
    command.main([str(file)])
    printed = capsys.readouterr().out
    assert "trained on" in printed and printed.rstrip().endswith("study.html")
    found = studied.study(one, root=str(tmp_path / "functions"))
    progress = Progress(planned(study_of(one, "study"), "study"), str(tmp_path / "flows"))
    progress.look()
    assert progress.waiting == [] and progress.key == Path(found.page).parent.name
    ours = Path(found.page).with_name("table.csv").read_bytes()
    assert (tmp_path / "flows" / "studies" / progress.key / "table.csv").read_bytes() == ours
    command.main([str(file), "--dry-run"])
    assert "2 of 2 blocks (a cell with a seed) are there" in capsys.readouterr().out


def test_a_wrong_command_line_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from flows.commands import study as command

    file = tmp_path / "wrong.yaml"
    file.write_text("name: x\narms: {unpruned: {keep: 9}}\n")
    for words, told in (([str(file)], "keep = 9"), ([], "give a study first"), (["none"], "no study is called 'none'")):
        with pytest.raises(SystemExit) as ended:
            command.main(words)
        assert ended.value.code == 2
        printed = capsys.readouterr()
        assert told in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    command.main(["--example"])
    assert "name: ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_arms_of_every_kind_are_the_same_from_the_command_and_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms whose samples are found, drawn at random, known to be right, or learned without any distillation."""
    from flows.commands import study as command

    kinds = {
        "auto": {"arms": ["static"], "keep": "auto"},
        "oracle": {},
        "random_pruning": {},
        "direct": {},
        "kept": {"baseline": "random_kept"},
    }
    noisy = {"ingest": {"label_noise": {"kind": "symmetric", "share": 0.3}}}
    one = {**merge(STUDY, {"seeds": 1, "settings": noisy}), "grid": {}, "arms": kinds, "pages": True}
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(one))
    here, there = tmp_path / "functions", tmp_path / "flows"
    found = studied.study(one, root=str(here))
    assert set(found.rows["arm"]) == set(kinds)
    monkeypatch.setenv("BILP_STORAGE", str(there))
    command.main([str(file)])
    assert published(there) == published(here) and any(name.startswith("reports") for name in published(here))
    assert (
        Path(found.page).with_name("rows.parquet").read_bytes()
        == (there / Path(found.page).relative_to(here)).with_name("rows.parquet").read_bytes()
    )


def published(root: Path) -> list[str]:
    """Folders of everything that was published."""
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob(MANIFEST))


def test_each_arm_learns_from_its_own_samples(tmp_path: Path) -> None:
    arms = {name: {} for name in ("unpruned", "random_pruning", "oracle", "static")}
    wrong = {"ingest": {"label_noise": {"kind": "symmetric", "share": 0.3}}}
    studied.study(merge(STUDY, {"seeds": 1, "settings": wrong}) | {"arms": arms, "grid": {}}, root=str(tmp_path))
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/_run.json")]
    chosen = [record["selection"] for record in records]
    assert len(chosen) == 4 and len(set(chosen)) == 4 and None in chosen

    selected = next(name for name, entry in BASELINES.items() if entry.selected and not entry.hidden)
    alone = {"name": "alone", "arms": {"kept": {"baseline": selected}}, "grid": {}, "seeds": 1}
    found = studied.study({**STUDY, **alone}, root=str(tmp_path))
    assert set(found.rows["arm"]) == {"kept"}


@pytest.mark.slow
def test_what_a_study_shows_is_made_again_whatever_a_kill_left_of_it(tmp_path: Path) -> None:
    small = {**STUDY, "arms": {"real": {"baseline": "random"}}, "grid": {}, "seeds": 1}
    page = Path(studied.study(small, root=str(tmp_path)).page)
    names = sorted(path.name for path in page.parent.iterdir())
    first = page.read_bytes()

    page.unlink()  # somebody else took it away while this one was published
    assert studied.study(small, root=str(tmp_path)).page == str(page) and page.read_bytes() == first

    (page.parent / MANIFEST).unlink()  # taken away for another state, and killed before the files were
    page.write_text("of another state")
    assert studied.study(small, root=str(tmp_path)).page == str(page) and page.read_bytes() == first
    assert sorted(path.name for path in page.parent.iterdir()) == names
