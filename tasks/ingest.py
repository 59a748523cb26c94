"""Task of stage ingest."""

from __future__ import annotations

from bilp.config import IngestConfig
from tasks.progress import progress
from tasks.stage import stage


@stage("ingest {config.source}")
def ingest(config: IngestConfig, root: str) -> str:
    """Turn a source into a dataset; its URI."""
    from bilp.data import ingest as ingest_source

    return ingest_source(config, root, progress())
