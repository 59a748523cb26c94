"""A shard asks its own GPU for its own classes alone: what docs/gpu.md says of several GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
from shard_costs import Cost, cost, stored_pool

from benchmarks.gpu.iterations import CLASSES, config_for


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dm", "dc"])
def test_a_shard_moves_its_share_of_the_images_and_waits_as_rarely_as_a_whole_run(method: str, tmp_path: Path) -> None:
    pool = stored_pool(64, tmp_path)
    config = config_for(method, 1, 8, 64, {"outer_loops": 1})
    whole, half, one = (cost(config, range(number), pool) for number in (CLASSES, CLASSES // 2, 1))
    assert isinstance(whole, Cost)
    assert one.launches <= half.launches == whole.launches, "classes share their launches, however many they are"
    assert one.waits <= whole.waits, "nothing is waited for between iterations, whatever the number of workers"
    assert one.copied_bytes < half.copied_bytes < whole.copied_bytes
