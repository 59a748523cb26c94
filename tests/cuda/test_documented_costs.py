"""The tables of docs/gpu.md are what the commands beside them print."""

from __future__ import annotations

from pathlib import Path

import method_costs
import pytest
import shard_costs

from bilp.config.methods import METHODS, optimizing
from bilp.data.pool import RealPool

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text(encoding="utf-8").splitlines()
WIDTH = 8


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> RealPool:
    return shard_costs.stored_pool(shard_costs.BATCH, tmp_path_factory.mktemp("pool"))


# Not those whose first images are chosen by experts, which the reference asks on the CPU.
@pytest.mark.parametrize("method", [name for name in optimizing() if "difficulty" not in METHODS[name].settings])
def test_what_an_iteration_asks(method: str) -> None:
    assert method_costs.row(method) in PAGE
    assert method_costs.HEAD.splitlines() == [line for line in PAGE if line in method_costs.HEAD.splitlines()]


@pytest.mark.parametrize("method", shard_costs.METHODS)
@pytest.mark.parametrize("number", shard_costs.DIVIDED)
def test_what_a_shard_asks(method: str, number: int, pool: RealPool) -> None:
    assert shard_costs.row(method, number, WIDTH, pool) in PAGE
    assert f"shard_costs.py {WIDTH}" in "\n".join(PAGE)
