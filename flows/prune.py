"""python -m flows.prune --dataset digits --keep 0.5

Cut each class of the real samples by score; samples that have no score yet are scored first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from bilp.config import PipelineConfig, PruneConfig
from bilp.config.arms import needs_scores
from flows import program
from flows.ingest import ingest
from flows.local.flow import flow
from flows.resolved import resolved
from flows.score import score
from flows.workplace import workplace
from tasks import stages
from tasks.parameters import DatasetUri, Root


@flow(name="prune", flow_run_name="prune by {config.criterion}, keep {config.keep}")
def prune(dataset_uri: DatasetUri, scores_uri: str | None, config: PruneConfig, root: Root = None) -> str:
    """The URI of the selection; `scores_uri` is a summary of scores, for criteria that rank by them.

    Args:
        scores_uri: A summary of scores, for criteria that rank by them; random and external need none.
        config: Which samples of each class are kept.
    """
    return stages.prune(dataset_uri, scores_uri, config, workplace(root))


def score_and_prune(config: PipelineConfig, dataset_uri: str, root: Root = None) -> tuple[str | None, str]:
    """The URIs of the scores, if the criterion needs them, and of the selection."""
    scores = score(dataset_uri, config.score, root) if needs_scores(config.prune) else None
    return scores, prune(dataset_uri, scores, config.prune, root)


def ranked(config: PipelineConfig, dataset_uri: str, root: Root = None) -> str:
    """The URI of a selection that keeps every sample and ranks it by the criterion of static pruning; samples are scored if need be."""
    scores = score(dataset_uri, config.score, root) if needs_scores(config.prune) else None
    return prune(dataset_uri, scores, config.prune.ranking, root)


def command(config: PipelineConfig) -> str:
    dataset = ingest(config.ingest)
    config, _ = resolved(config, dataset)
    return score_and_prune(config, dataset)[1]


def main(arguments: Sequence[str]) -> None:
    program.run(__doc__, arguments, command, partial(program.show_uri, "selection"))


if __name__ == "__main__":
    main(sys.argv[1:])
