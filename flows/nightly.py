"""python -m flows.nightly --dataset folder --ingest.uri photos/

Read a source again: if images came in, score these alone by networks that were kept, and report what is suspicious among them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from bilp.config import PipelineConfig
from flows import program
from flows.ingest import dataset_and_record
from flows.local.flow import flow
from flows.score import score
from flows.workplace import workplace
from tasks import analyses, terminal
from tasks.parameters import Root
from tasks.run_display import log


@flow(name="nightly", flow_run_name="nightly {config.dataset}")
def nightly(config: PipelineConfig, root: Root = None) -> str:
    """The URI of the page about what is new; where nothing is, that of the page about the last time when something was.

    Args:
        config: Where the images come from, and how they are scored; the rest is not used.
    """
    root = workplace(root)
    scoring = config.score.model_copy(update={"keep_networks": True})
    dataset, record = dataset_and_record(config.ingest, root)
    known = analyses.known_versions(dataset, record, config.ingest, scoring, root)
    if known.page is not None:
        for tell in (log, terminal.say):
            tell(f"nothing new: {dataset} was scored before")
        return known.page
    scores = known.scores
    if scores is None:
        scores = score(dataset, scoring.model_copy(update={"extend": known.extendable}), root)
    return analyses.report_arrivals(dataset, record, known.before, scores, root)


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, nightly, partial(program.show_uri, "page"))


if __name__ == "__main__":
    main(sys.argv[1:])
