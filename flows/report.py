"""python -m flows.report --dataset digits --method dm --ipc 1

Write the page of a pipeline run; what it shows is computed first where it is not there yet.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bilp.config import PipelineConfig
from flows import program
from flows.local.flow import flow
from flows.workplace import workplace
from tasks import stages
from tasks.parameters import DatasetUri, Root, RunsByArm


@flow(name="report", flow_run_name="report on {config.dataset} {config.method}")
def report(
    config: PipelineConfig,
    dataset_uri: DatasetUri,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: RunsByArm,
    evaluation_uris: list[str],
    root: Root = None,
    robustness_uri: str | None = None,
    record_uri: str | None = None,
    suspects_uri: str | None = None,
    search_uri: str | None = None,
) -> str:
    """The URI of report.html; `runs` holds run URIs by arm.

    Args:
        config: What was done.
        scores_uri: The summary of scores, if any were made.
        selection_uri: The selection, if samples were pruned.
        evaluation_uris: What the evaluations published.
        robustness_uri: The table of robustness scores, if there is one.
        record_uri: The record of the source, as ingest published it; without one the page does not tell where images come from.
        suspects_uri: The list of suspicious labels, if there is one.
        search_uri: The search that found some of the settings, if there was one.
    """
    place = workplace(root)
    more = {"robustness_uri": robustness_uri, "record_uri": record_uri, "suspects_uri": suspects_uri, "search_uri": search_uri}
    return stages.report(config, dataset_uri, scores_uri, selection_uri, runs, evaluation_uris, place, **more)


def main(arguments: Sequence[str]) -> None:
    from flows.pipeline import pipeline  # of which this stage is the last

    program.run(__doc__, arguments, pipeline, program.show_report)


if __name__ == "__main__":
    main(sys.argv[1:])
