"""Task of stage prune."""

from __future__ import annotations

from bilp.config import PruneConfig
from bilp.pruning import stage as static
from tasks.artifacts import show_kept
from tasks.stage import stage


@stage("prune by {config.criterion}")
def prune(dataset_uri: str, scores_uri: str | None, config: PruneConfig, root: str) -> str:
    """Decide which samples of each class stay; the selection's URI."""
    uri = static.prune(dataset_uri, scores_uri, config, root)
    show_kept(uri)
    return uri
