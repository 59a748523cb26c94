"""A study block by block: `study({"name": "ratio", "arms": {"unpruned": {}, "bilp": {}}, "grid": {"keep": [0.3, 0.7]}})`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
from pydantic import Field

from bilp.config.arms import baselines_need_selection
from bilp.errors import BilpError, StorageError
from bilp.studies.definition import MOST_PROCESSES, study_of
from bilp.studies.pipeline_outcome import Outcome
from bilp.studies.study_plan import Block, Group, Plan, planned
from bilp.studies.study_progress import Progress
from bilp.text.unexpected import one_line
from flows.evaluate import evaluate
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.pipeline import page_of, up_to_evaluation
from flows.planned import planned_steps
from flows.prune import score_and_prune
from flows.resolved import resolved
from flows.started_run import shown, stages_of
from flows.study_blocks import Blocks
from flows.study_processes import beside
from flows.workplace import workplace
from tasks import run_progress, study_lines, terminal
from tasks.parameters import Root
from tasks.run_display import log
from tasks.run_name import unless_given
from tasks.task import PERMANENT


class StudyFailed(BilpError):
    """Some of the blocks failed; the message names each with its reason."""


def run_name(definition: Mapping[str, Any], changes: Mapping[str, Any], place: str, root: Root = None, processes: int = 1) -> str:
    """'study wrong-labels'."""
    return f"study {definition.get('name', '')}"


@flow(name="study", flow_run_name=unless_given(run_name))
def study(
    definition: dict[str, Any],
    changes: dict[str, Any] = {},  # noqa: B006
    place: str = "study",
    root: Root = None,
    processes: Annotated[int, Field(ge=1, le=MOST_PROCESSES)] = 1,
) -> str:
    """The URI of the page. What is there already is not computed again; a study that was stopped goes on.

    Blocks (a cell with a seed, all arms) follow each other, seeds outermost; one that fails leaves the others alone, and StudyFailed
    is raised at the end. Others that work on the same study with the same storage share the blocks with this one.

    Args:
        definition: What a study's file holds.
        changes: Settings that go before all of it.
        place: How errors call the file.
        root: Storage root.
        processes: How many processes of this machine compute blocks.
    """
    plan = planned(study_of(definition, place), place, changes)
    progress = Progress(plan, workplace(root), processes)
    progress.look()
    waiting = progress.waiting
    asked = {"definition": definition, "changes": changes, "place": place, "root": progress.root}
    with shown([block.title for block in waiting] or ["write the page"], study_lines.plan(progress), [f"study:{plan.study.name}"]):
        with beside(min(processes, len(waiting)), asked):
            failed = _work_off(progress)
        told = f"{len(failed)} of {len(waiting)} blocks failed ({'; '.join(failed)})"
        if failed and not progress.worked:
            raise StudyFailed(f"{told}; there is nothing to show")
        from bilp.studies.study_artifact import publish_study

        page = publish_study(progress)
    log(f"page: {page}")
    if failed:
        raise StudyFailed(f"{told}; the page shows the others: {page}")
    return page


@flow(name="study-beside", flow_run_name="beside {place}")
def study_beside(definition: dict[str, Any], changes: dict[str, Any], place: str, root: str) -> None:
    """Compute what is left of a study beside the process that was asked for it, which tries again what fails here.

    Args:
        definition: What a study's file holds.
        changes: Settings that go before all of it.
        place: How errors call the file.
        root: Storage root.
    """
    progress = Progress(planned(study_of(definition, place), place, changes), root)
    progress.look()
    _work_off(progress)


def _work_off(progress: Progress) -> list[str]:
    """Have every block that waits computed, here or by others, as far as the budget goes; what failed here, with reasons."""
    blocks, failed = Blocks(progress), []
    while blocks.left:
        with blocks.next() as (block, done):
            run_progress.stage()
            if done is not None:
                terminal.say(study_lines.block(progress, block, done))
                continue
            if progress.over(block):
                terminal.say(study_lines.stopped(progress))
                break
            reason = _computed(progress, block)
            failed += [f"{block.title}: {reason}"] if reason else []
    return failed


def _computed(progress: Progress, block: Block) -> str:
    """Compute a block; the reason if it failed, else empty. What every other one would meet as well is raised."""
    terminal.expect([step for group in block.groups for step in planned_steps(group.config, "evaluate")])
    try:
        artifact = progress.compute(block, lambda group: _pipeline(progress.plan, block, group, progress.root))
    except httpx.HTTPError:
        raise
    except Exception as error:
        if isinstance(error, StorageError) and not isinstance(error, PERMANENT):
            raise
        reason = one_line(error)
        log(f"{block.title} failed: {reason}")
        terminal.say(f"{block.title} failed: {reason}")
        return reason
    terminal.say(study_lines.block(progress, block, artifact))
    return ""


def _pipeline(plan: Plan, block: Block, group: Group, root: str) -> Outcome:
    """The stages of a group's pipeline, as a flow of their own."""
    names = [*group.arms.values(), *group.baselines.values()]

    @flow(name="study-arms", flow_run_name="{what}")
    def arms(what: str) -> Outcome:
        stages = stages_of(group.config)
        with shown(stages if plan.study.pages else stages[:-1], ""):
            return _up_to_page(plan, group, root)

    return arms(f"{block.title}: {', '.join(names)}")


def _up_to_page(plan: Plan, group: Group, root: str) -> Outcome:
    if not group.arms:  # networks are trained on real images alone
        config, scores, selection = group.config, None, None
        dataset, record = dataset_and_record(config.ingest, root)
        if baselines_need_selection(config.evaluate):
            config, _ = resolved(config, dataset, root)
            scores, selection = score_and_prune(config, dataset, root)
        evaluations = evaluate(dataset, {}, config.ipc, config.evaluate, root, selection)
        return Outcome(dataset, record, scores, selection, evaluations=evaluations)
    done = up_to_evaluation(group.config, root)
    return done.with_report(page_of(group.config, done, root)) if plan.study.pages else done
