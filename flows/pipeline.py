"""python -m flows.pipeline --dataset digits --method dm --ipc 1

The whole pipeline: ingest real images, score and prune them, distill every arm, evaluate, and write the page.
"""

from __future__ import annotations

from bilp.config import PipelineConfig
from bilp.config.arms import needs_selection
from bilp.preflight import check_fit
from flows import program
from flows.distill import distill_arms
from flows.evaluate import evaluate, robustness
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.planned import planned_steps
from flows.prune import score_and_prune
from flows.report import report
from flows.restarts import refuse_endless_restarts
from flows.workplace import workplace
from tasks import terminal
from tasks.parameters import Root

DIGITS = PipelineConfig()


@flow(name="pipeline", flow_run_name="{config.dataset} {config.method} ipc {config.ipc}")
def pipeline(config: PipelineConfig = DIGITS, root: Root = None) -> str:
    """The URI of report.html. Artifacts lie below `root`, by default $BILP_STORAGE; what is there is not computed again.

    Args:
        config: What to do; set the dials, the rest is derived from them.
    """
    refuse_endless_restarts()
    terminal.expect(planned_steps(config))
    root = workplace(root)
    dataset, record = dataset_and_record(config.ingest, root)
    check_fit(config, dataset)
    scores, selection = score_and_prune(config, dataset, root) if needs_selection(config) else (None, None)
    runs = distill_arms(config, dataset, selection, root)
    evaluations = evaluate(dataset, runs, config.ipc, config.evaluate, root)
    scored = robustness(dataset, runs, config.ipc, config.evaluate, root) if config.evaluate.robustness else None
    return report(config, dataset, scores, selection, runs, evaluations, root, scored, record)


if __name__ == "__main__":
    program.run(__doc__, pipeline, program.show_report)
