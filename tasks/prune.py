"""Task of stage prune."""

from __future__ import annotations

from bilp.config import PruneConfig
from tasks.task import stage
from tasks.ui_artifacts import show_kept


@stage("prune by {config.criterion}")
def prune(dataset_uri: str, scores_uri: str | None, config: PruneConfig, root: str) -> str:
    """Decide which samples of each class stay; the selection's URI."""
    from bilp.pruning.prune import prune as cut

    uri = cut(dataset_uri, scores_uri, config, root)
    show_kept(uri)
    return uri
