"""Task of stage report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bilp.config import PipelineConfig
from tasks.task import stage
from tasks.ui_artifacts import show_accuracy, show_link


@stage("report")
def report(
    config: PipelineConfig,
    dataset_uri: str,
    scores_uri: str | None,
    selection_uri: str | None,
    runs: Mapping[str, Sequence[str]],
    evaluation_uris: Sequence[str],
    root: str,
    robustness_uri: str | None = None,
    record_uri: str | None = None,
) -> str:
    """Write the page; the URI of report.html. `runs` holds run URIs by arm, `record_uri` leads to the record of the source."""
    from bilp.evaluate import summary
    from bilp.report import report as write_page

    shown = [*evaluation_uris, *([robustness_uri] if robustness_uri else [])]
    uri = write_page(config, dataset_uri, scores_uri, selection_uri, runs, shown, root, record_uri=record_uri)
    show_accuracy(summary(evaluation_uris))
    show_link(uri)
    return uri
