"""What a search means for a configuration: the numbers in the place of the words."""

from __future__ import annotations

from bilp.config import PipelineConfig
from bilp.search.candidates import asks, plan, searched
from bilp.search.found import open_search


def answered(config: PipelineConfig, search_uri: str) -> PipelineConfig:
    """The configuration with what a search found; the origin of these values names the search and its day.

    low_share, if it was searched, keeps a number where the best beta is 0, which needs none.
    """
    found = open_search(search_uri)
    values = dict(found.values)
    if searched(config)[2]:
        values.setdefault("reselect.low_share", config.search.low_share[0])
    return config.with_found(values, found.origin)


def tentative(config: PipelineConfig) -> PipelineConfig:
    """The configuration as it would be if the search found that the least pruning is best: to be checked before it is carried out."""
    if not asks(config):
        return config
    found = plan(config)
    least = found.candidates[found.reference]
    values = {"prune.keep": least.keep, "reselect.beta": least.beta, "reselect.low_share": least.low_share}
    if searched(config)[2]:
        values["reselect.low_share"] = values["reselect.low_share"] or config.search.low_share[0]
    return config.with_found({path: value for path, value in values.items() if value is not None}, "search")
