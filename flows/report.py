"""python -m flows.report --dataset digits --method dm --ipc 1

Write the page of a pipeline run; what it shows is computed first where it is not there yet.
"""

from __future__ import annotations

import tasks.report
from bilp.config import PipelineConfig
from flows import program
from flows.local.flow import flow
from flows.workplace import Root, workplace


@flow(name="report", flow_run_name="report on {config.dataset} {config.method}")
def report(
    config: PipelineConfig,
    dataset_uri: str,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: dict[str, list[str]],
    evaluation_uris: list[str],
    root: Root | None = None,
    robustness_uri: str | None = None,
    record_uri: str | None = None,
) -> str:
    """The URI of report.html; `runs` holds run URIs by arm.

    Args:
        config: What was done.
        dataset_uri: The dataset, as ingest published it.
        scores_uri: The summary of scores, if any were made.
        selection_uri: The selection, if samples were pruned.
        runs: URIs of runs by arm: unpruned, static, adaptive, bilp.
        evaluation_uris: What the evaluations published.
        root: Where artifacts lie; if empty, BILP_STORAGE of the process that runs this.
        robustness_uri: The table of robustness scores, if there is one.
        record_uri: The record of the source, as ingest published it; without one the page does not tell where images come from.
    """
    place = workplace(root)
    return tasks.report.report(
        config, dataset_uri, scores_uri, selection_uri, runs, evaluation_uris, place, robustness_uri=robustness_uri, record_uri=record_uri
    )


def command(config: PipelineConfig) -> str:
    from flows.pipeline import pipeline  # which imports this module

    return pipeline(config)


if __name__ == "__main__":
    program.run(__doc__, command, program.show_report)
