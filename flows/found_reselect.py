"""Adaptive pruning whose settings say auto: numbers from the scores of the real samples, which are made if no arm needed them."""

from __future__ import annotations

from bilp.config import PipelineConfig
from flows.score import score
from flows.workplace import workplace
from tasks import terminal
from tasks.parameters import Root
from tasks.run_display import log


def with_found_reselect(config: PipelineConfig, dataset_uri: str, scores_uri: str | None, root: Root = None) -> PipelineConfig:
    """The configuration with numbers where reselect.beta and reselect.low_share say auto; the same if they do not.

    Args:
        config: What is done.
        dataset_uri: The real images.
        scores_uri: The summary of their scores, if there is one already.
        root: Of the storage.
    """
    if not config.reselect.asks_auto:
        return config
    from bilp.pruning.auto_reselect import found_reselect

    found = found_reselect(scores_uri or score(dataset_uri, config.score, workplace(root)), config.reselect)
    terminal.say(f"          {found.why}")
    log(found.why)
    return config.with_found(found.values, found.why)
