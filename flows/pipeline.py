"""python -m flows.pipeline --dataset digits --method dm --ipc 1

The whole pipeline: ingest real images, score and prune them, distill every arm, evaluate, and write the page.
"""

from __future__ import annotations

if __name__ == "__main__":  # before Prefect is imported, which takes longer than finding that everything is there
    import sys

    from flows.commands import run

    run.main(sys.argv[1:], __doc__)
    sys.exit(0)

from bilp.config import PipelineConfig
from bilp.config.arms import evaluation_of, needs_selection
from bilp.preflight import adaptive_reach, check_choices, check_fit
from bilp.studies.pipeline_outcome import Outcome
from flows.distill import distill_arms
from flows.evaluate import evaluate, robustness
from flows.found_reselect import with_found_reselect
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.planned import planned_steps
from flows.prune import score_and_prune
from flows.report import report
from flows.resolved import resolved
from flows.restarts import refuse_endless_restarts
from flows.started_run import show_result, shown, stages_of
from flows.suspects import suspects_of_run
from flows.workplace import workplace
from tasks import run_lines, run_progress, run_texts, terminal
from tasks.parameters import Root
from tasks.run_display import tell
from tasks.run_name import unless_given

DIGITS = PipelineConfig()


@flow(name="pipeline", flow_run_name=unless_given(lambda config, root: run_texts.run_name(config)))
def pipeline(config: PipelineConfig = DIGITS, root: Root = None) -> str:
    """The URI of report.html. Artifacts lie below `root`, by default $BILP_STORAGE; what is there is not computed again.

    Args:
        config: What to do; set the dials, the rest is derived from them.
    """
    refuse_endless_restarts()
    terminal.expect(planned_steps(config))
    root, stages = workplace(root), stages_of(config)
    with shown(stages, run_texts.plan(config, stages), run_texts.tags(config)) as mine:
        page = _through_all_stages(config, root)
        show_result(mine, page, config)
    return page


def _through_all_stages(config: PipelineConfig, root: str) -> str:
    """The stages in the order of `stages_of`; the URI of the page."""
    return page_of(config, up_to_evaluation(config, root), root)


def up_to_evaluation(config: PipelineConfig, root: str) -> Outcome:
    """All stages but the last, each with a line about its result in the log."""
    run_progress.stage()
    dataset, record = dataset_and_record(config.ingest, root)
    tell(run_lines.tell_dataset, dataset)
    config, search = resolved(config, dataset, root)
    check_fit(config, dataset)
    check_choices(config, record)
    tell(run_lines.tell_reach, adaptive_reach(config, dataset))
    scores = selection = None
    if needs_selection(config):
        run_progress.stage()
        scores, selection = score_and_prune(config, dataset, root)
        tell(run_lines.tell_selection, selection)
    config = with_found_reselect(config, dataset, scores, root)
    runs = distill_arms(config, dataset, selection, root, record)
    tell(run_lines.tell_runs, runs)
    run_progress.stage()
    evaluations = evaluate(dataset, runs, config.ipc, evaluation_of(config), root, selection)
    tell(run_lines.tell_accuracies, evaluations)
    return Outcome(dataset, record, scores, selection, runs, evaluations, search=search, config=config)


def page_of(config: PipelineConfig, done: Outcome, root: str) -> str:
    """The URI of the page about what was computed."""
    config, scored = done.config or config, None
    if config.evaluate.robustness:
        run_progress.stage()
        scored = robustness(done.dataset, dict(done.runs), config.ipc, config.evaluate, root)
    run_progress.stage()
    uris = (done.dataset, done.scores, done.selection, dict(done.runs), list(done.evaluations))
    suspicious = suspects_of_run(done.dataset, done.record, done.scores, done.selection, dict(done.runs), root)
    return report(config, *uris, root, scored, done.record, suspicious, done.search)
