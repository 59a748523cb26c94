"""Two versions of a data set: which samples of the later one were in the earlier one, by their pixels and their class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bilp.data import Dataset

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Growth:
    """How the train split of a data set became that of a later version of it."""

    earlier: Integers
    """For each of the later samples `[N]` its sample_id in the earlier version; -1 if it was not there."""
    before: int
    """Samples of the earlier version."""

    @property
    def added(self) -> Integers:
        """sample_ids of those that are new, ascending."""
        return np.flatnonzero(self.earlier < 0)

    @property
    def taken(self) -> Integers:
        """sample_ids of those that were there before, ascending."""
        return np.flatnonzero(self.earlier >= 0)

    @property
    def removed(self) -> int:
        """Samples of the earlier version that are not in the later one."""
        return self.before - len(np.unique(self.earlier[self.earlier >= 0]))


def growth(earlier: Dataset, later: Dataset) -> Growth:
    """Match the samples of two versions. One that lies in the later version several times has the first of its like in the earlier."""
    found = pc.index_in(_names(later), value_set=_names(earlier))
    return Growth(found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64), len(earlier.train))


def _names(dataset: Dataset) -> pa.Array:
    """Digest and class of each sample of the train split, as a text."""
    index = dataset.train.index()
    classes = pa.array(dataset.class_names, pa.string())
    labels = pc.take(classes, index["label"].combine_chunks())
    return pc.binary_join_element_wise(index["sha256"].combine_chunks().cast(pa.string()), labels, "/")
