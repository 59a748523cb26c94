"""Words turned into numbers: what a configuration says `search` of is found before any arm is planned."""

from __future__ import annotations

from bilp.config import PipelineConfig
from bilp.preflight import check_fit
from bilp.search.candidates import asks
from flows.search import search
from flows.workplace import workplace
from tasks import run_progress
from tasks.parameters import Root


def resolved(config: PipelineConfig, dataset_uri: str, root: Root = None) -> tuple[PipelineConfig, str | None]:
    """The configuration with numbers where it said `search`, and the URI of the search that found them; None if there was none to do.

    What does not fit the images is refused before the search, as `bilp.preflight.check_fit` does. The test images are not read.
    """
    if not asks(config):
        return config, None
    from bilp.search.answer import answered, tentative  # which reads tables

    check_fit(tentative(config), dataset_uri)
    run_progress.stage()
    place = workplace(root)
    found = search(config, dataset_uri, place)
    return answered(config, found), found
