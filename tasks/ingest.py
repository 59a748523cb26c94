"""Tasks of stage ingest."""

from __future__ import annotations

from bilp.config import IngestConfig
from tasks import terminal
from tasks.progress_bars import progress
from tasks.task import stage
from tasks.ui_artifacts import show_source


@stage("ingest {config.source}")
def read_source(config: IngestConfig, root: str) -> str:
    """Turn a source into a dataset; the URI of the record of the source. What there is to know of it is said each time."""
    from bilp.data.ingest import read_source
    from bilp.data.source_record import open_record

    uri = read_source(config, root, progress())
    for line in open_record(uri).lines():
        terminal.say(f"          {line}")
    show_source(uri)
    return uri


@stage("whiten {config.source}")
def whiten(config: IngestConfig, record_uri: str) -> str:
    """Fit the whitening of the dataset that a record leads to; the URI of the whitened one."""
    from bilp.data.ingest import dataset_of

    return dataset_of(record_uri, config, progress())


def dataset_of(config: IngestConfig, record_uri: str) -> str:
    """The URI of the dataset that a record leads to, whitened by a task of its own if the configuration says so."""
    from bilp.data.source_record import open_record

    return whiten(config, record_uri) if config.whitening != "none" else open_record(record_uri).dataset_uri
