"""Which paths are those of Parquet files: a look at the last suffix, beside the expression by which their names are read."""

from __future__ import annotations

import random
import re

import pytest

from bilp.data.sources.parquet.file_names import is_parquet

PARTS = ("train", ".parquet", ".PARQ", ".pq", ".gz", "/", "-0001", ".parquet.", "parquet", "pq", ".snappy", ".jpg", "é")
NAME = re.compile(r"(?:\.(?:snappy|gz|gzip|zst|zstd|lz4|br|brotli))?\.(?:parquet|parq|pq)\Z", re.IGNORECASE)


@pytest.mark.parametrize("seed", range(3))
def test_a_look_at_the_suffix_says_what_the_expression_says(seed: int) -> None:
    drawn = random.Random(seed)
    paths = ["".join(drawn.choices(PARTS, k=drawn.randint(1, 6))) for _ in range(5000)]
    expected = [NAME.search(path) is not None for path in paths]
    assert any(expected) and not all(expected)
    assert [is_parquet(path) for path in paths] == expected
