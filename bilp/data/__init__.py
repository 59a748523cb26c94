"""A source (digits, torchvision, folder, Parquet) -> one canonical uint8 store, and a record of what is not its content."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bilp.data.ingestion import ingest, read_source
    from bilp.data.store import Dataset, Split, open_dataset, open_recorded

__all__ = ["Dataset", "Split", "ingest", "open_dataset", "open_recorded", "read_source"]


def __getattr__(name: str) -> Any:
    """What the room offers, imported when it is asked for: who only looks at a source or its record need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("bilp.data.ingestion" if name in ("ingest", "read_source") else "bilp.data.store"), name)
