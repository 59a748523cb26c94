"""A source (digits, torchvision, folder, Parquet) -> one canonical uint8 store, and a record of what is not its content."""

from bilp.data.ingest import ingest, read_source
from bilp.data.store import Dataset, Split, open_dataset, open_recorded

__all__ = ["Dataset", "Split", "ingest", "open_dataset", "open_recorded", "read_source"]
