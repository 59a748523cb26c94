"""Blocks of a study shared out among processes: one computes each, under a lease, and what another has computed is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_study_whole import STUDY

from bilp.api import studied
from bilp.artifacts import lease
from bilp.nets.device import usable
from bilp.studies.definition import study_of
from bilp.studies.study_part import part_uri
from bilp.studies.study_plan import Block, planned
from bilp.studies.study_progress import Progress
from flows import study_blocks, study_processes
from flows.study_blocks import Blocks
from flows.units.under_lease import owner
from tasks import terminal
from tasks.remote import lease_uri

WHOLE = {**STUDY, "grid": {}, "seeds": 3}


def progress_at(root: Path, definition: dict[str, Any] = WHOLE) -> Progress:
    progress = Progress(planned(study_of(definition, "study"), "study"), str(root))
    progress.look()
    return progress


def held_by_another(progress: Progress, block: Block, seconds: float = 600.0) -> lease.Lease:
    """The lease of a block, as another process has it that then shows no sign of life."""
    uri = lease_uri(part_uri(progress.root, progress.key, block), progress.root)
    taken = lease.take(uri, "process:another", seconds, lambda _: False)
    assert taken is not None
    return taken


def seeds(blocks: Blocks, most: int) -> Iterator[int]:
    for _ in range(most):
        with blocks.next() as (block, done):
            assert done is None
            yield block.seed


def test_what_another_process_computes_is_left_to_it_until_it_gives_it_up(tmp_path: Path) -> None:
    progress = progress_at(tmp_path)
    theirs = held_by_another(progress, progress.waiting[0])
    blocks = Blocks(progress)
    assert list(seeds(blocks, 2)) == [1, 2] and [block.seed for block in blocks.left] == [0]
    theirs.release()
    assert list(seeds(blocks, 1)) == [0] and blocks.left == []


def test_one_block_is_held_by_one_process_alone(tmp_path: Path) -> None:
    ours, theirs = Blocks(progress_at(tmp_path)), Blocks(progress_at(tmp_path))
    with ours.next() as (first, _), theirs.next() as (second, _):
        assert (first.seed, second.seed) == (0, 1)
        uri = lease_uri(part_uri(ours.progress.root, ours.progress.key, first), ours.progress.root)
        assert lease.take(uri, owner(), 60.0, lambda _: False) is None
    assert lease.take(uri, owner(), 60.0, lambda _: False) is not None, "it is given up at the end"


def test_a_block_whose_process_died_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = progress_at(tmp_path, {**WHOLE, "seeds": 1})
    held_by_another(progress, progress.waiting[0])
    now = [0.0]

    class Watch(lease.Watch):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds, clock=lambda: now[0])

    looks: list[float] = []

    def later(seconds: float) -> None:
        looks.append(seconds)
        now[0] += 30.0

    monkeypatch.setattr(study_blocks.lease, "Watch", Watch)
    monkeypatch.setattr(study_blocks.time, "sleep", later)
    assert list(seeds(Blocks(progress), 1)) == [0]
    assert len(looks) >= 2, "a minute of silence at the least"


@pytest.mark.slow
def test_what_is_there_meanwhile_is_read(tmp_path: Path) -> None:
    blocks = Blocks(progress_at(tmp_path, STUDY))
    studied.study(STUDY, root=str(tmp_path))
    while blocks.left:
        with blocks.next() as (block, done):
            assert done is not None and done.uri == part_uri(str(tmp_path), blocks.progress.key, block)
    assert blocks.progress.waiting == []


@pytest.mark.slow
def test_what_was_published_between_a_look_and_the_lease_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = {**WHOLE, "seeds": 1}
    blocks, take = Blocks(progress_at(tmp_path, definition)), lease.take

    def late(*arguments: Any) -> lease.Lease | None:
        studied.study(definition, root=str(tmp_path))
        return take(*arguments)

    monkeypatch.setattr(study_blocks.lease, "take", late)
    with blocks.next() as (_, done):
        assert done is not None
    monkeypatch.undo()
    uri = part_uri(blocks.progress.root, blocks.progress.key, blocks.progress.plan.blocks[0])
    assert take(lease_uri(uri, blocks.progress.root), "process:another", 60.0, lambda _: False) is not None, "the lease was given up"


@pytest.mark.slow
def test_several_processes_make_what_one_makes(tmp_path: Path) -> None:
    from flows.study import study

    page = study(STUDY, root=str(tmp_path / "two"), processes=2)
    alone = studied.study(STUDY, root=str(tmp_path / "one"), device=usable("auto", "device"))
    for name in ("table.csv", "rows.parquet"):
        assert Path(page).with_name(name).read_bytes() == Path(alone.page).with_name(name).read_bytes(), name
    progress = progress_at(tmp_path / "two", STUDY)
    holders = [lease.holder(lease_uri(part_uri(progress.root, progress.key, block), progress.root)) for block in progress.plan.blocks]
    assert all(holder is not None and holder.attempt == 1 for holder in holders), "each block was begun once"
    assert len({holder.owner for holder in holders if holder is not None}) == 2, "by one of two processes"


@pytest.mark.slow
def test_a_further_process_that_dies_is_told_and_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.study import study

    text = io.StringIO()
    monkeypatch.setattr(terminal, "_display", terminal.Display(Console(file=text, width=300)))
    begun = study_processes._started

    def killed(*arguments: Any) -> Any:
        process = begun(*arguments)
        process.kill()
        return process

    monkeypatch.setattr(study_processes, "_started", killed)
    page = study({**WHOLE, "seeds": 2}, root=str(tmp_path), processes=2)
    assert Path(page).exists() and progress_at(tmp_path, {**WHOLE, "seeds": 2}).waiting == []
    assert "a further process ended early (exit status -9)" in text.getvalue()


@pytest.mark.parametrize("typed", [["--processes", "0"], ["--processes=two"], ["--processes"], ["--processes", "9999"]])
def test_an_impossible_number_of_processes_is_one_line(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from flows.commands import study as command

    with pytest.raises(SystemExit) as end:
        command.main(["wrong-labels", *typed])
    assert end.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith("give a number from 1 to 256")
