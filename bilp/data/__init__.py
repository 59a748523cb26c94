"""A source (digits, torchvision, folder, Parquet) -> one canonical uint8 store."""

from bilp.data.ingest import ingest
from bilp.data.store import Dataset, Split, open_dataset

__all__ = ["Dataset", "Split", "ingest", "open_dataset"]
