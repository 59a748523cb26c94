"""Which samples somebody has looked at and decided to keep as they are."""

from __future__ import annotations

import numpy as np

from bilp.data import Dataset


def reviewed_samples(dataset: Dataset) -> np.ndarray:
    """Whether each training sample was reviewed `[N]`, as the record of the source says; nobody knows of any without a record."""
    return np.zeros(len(dataset.train), dtype=np.bool_)
