"""The flow that finds what a configuration says `search` of, by proxies that any worker may compute."""

from __future__ import annotations

from bilp.config import PipelineConfig
from bilp.config.arms import needs_scores
from bilp.search.candidates import plan
from flows.carrier import FlowCarrier
from flows.local.flow import flow
from flows.workplace import workplace
from tasks import analyses, steps
from tasks.parameters import DatasetUri, Root


@flow(name="search", flow_run_name="search on {config.dataset}")
def search(config: PipelineConfig, dataset_uri: DatasetUri, root: Root = None) -> str:
    """The URI of the search. What of it is there is not computed again.

    Args:
        config: Says search of some settings, and in the group search what is tried.
    """
    from bilp.search import halving  # which imports torch

    place = workplace(root)
    found = halving.known_search(config, dataset_uri, place)
    if found is None:
        with steps.gathered("search", "search", _steps(config)):
            held_out = analyses.hold_out(dataset_uri, config.search, place)
            found = halving.search(config, dataset_uri, held_out, place, FlowCarrier(place))
    return analyses.finish_search(found)


def _steps(config: PipelineConfig) -> int:
    """Tasks that are counted, at most: trials, proxies, evaluations."""
    found = plan(config)
    trials = config.score.trials if found.static and needs_scores(config.prune) else 0
    return trials + 2 * found.most_runs(config.search.distillations)
