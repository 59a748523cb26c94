"""Task of stage ingest."""

from __future__ import annotations

from bilp import data
from bilp.config import IngestConfig
from tasks.progress import progress
from tasks.stage import stage


@stage("ingest {config.source}")
def ingest(config: IngestConfig, root: str) -> str:
    """Turn a source into a dataset; its URI."""
    return data.ingest(config, root, progress())
