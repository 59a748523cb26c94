"""Which samples somebody has looked at and decided on."""

from __future__ import annotations

import numpy as np

from bilp.data import Dataset


def reviewed_samples(dataset: Dataset) -> np.ndarray:
    """Whether each training sample was reviewed `[N]`, as the record of the source says; nobody knows of any without a record."""
    reviewed = np.zeros(len(dataset.train), dtype=np.bool_)
    corrections = None if dataset.record is None else dataset.record.corrections()
    if corrections is not None:
        decided = corrections["sample_id"].to_numpy()
        reviewed[decided[decided >= 0]] = True
    return reviewed
