"""How many samples of which shape a data set holds that was ingested: for a plan beside what a run took."""

from __future__ import annotations

import numpy as np

from bilp.artifacts.facts import DatasetFacts
from bilp.config.sources import SOURCES
from bilp.costs.data_counts import DataCounts
from bilp.data.contents import SplitName


def stored_counts(facts: DatasetFacts, source: str) -> DataCounts:
    """Of a data set that states `facts` and was read from a source of this name; how it was divided into parts is not told."""
    train, test = (np.array(counts, dtype=np.int64) for counts in (facts.images_per_class.train, facts.images_per_class.test))
    rows: dict[SplitName, tuple[int, ...]] = {"train": tuple(facts.shard_rows.train), "test": tuple(facts.shard_rows.test)}
    encoded = bool(SOURCES[source].needs_uri) if source in SOURCES else False
    return DataCounts(facts.shape, train, test, rows, (), int(train.sum() + test.sum()), encoded, facts.name)
