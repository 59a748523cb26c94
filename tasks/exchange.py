"""Tasks of exchange: sets that others published come in."""

from __future__ import annotations

from bilp.exchange.options import ImportOptions
from tasks.task import stage
from tasks.ui_artifacts import show_synthetic


@stage("import {options.file}")
def import_set(dataset_uri: str, options: ImportOptions, root: str) -> str:
    """Convert a published set for a dataset; the URI of the synthetic set."""
    from bilp import exchange

    uri = exchange.import_set(dataset_uri, options, root)
    show_synthetic(uri)
    return uri
