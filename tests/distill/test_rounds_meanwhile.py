"""Another process finishes a round while this one is about to read the state that is removed then: nothing is wrong, or done twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny_distillation import Store, small_config

from bilp.artifacts.run_layout import CHECKPOINT, LOSS_TABLE, round_uri, state_uri
from bilp.config import ReselectConfig
from bilp.distill import distill_round, finish_run, load_synthetic, merge, merge_round, reselect_round, rounds, start_run
from bilp.distill.round_files import is_complete
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.storage import objects

pytestmark = pytest.mark.slow

ON = ReselectConfig(beta=0.25, candidates_per_class=12, interval=2, threshold="quantile")


@pytest.fixture
def begin(store: Store, tmp_path: Path) -> Callable[..., str]:
    """Starts a run of four rounds that keeps the state after the last one alone, in a root of its own."""

    def start(root: str, shards: int = 1) -> str:
        return start_run(store.uri, None, small_config("dm", rounds=4, keep_rounds=1, shards=shards), ON, str(tmp_path / root))

    return start


def go_on(run_uri: str, stop: int, shard: int | None = None) -> None:
    for number in range(1, stop + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, shard=shard)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str, Callable[[], None]], None]:
    """What somebody else does just before a function of a module is called for the first time."""

    def arrange(module: ModuleType, name: str, other: Callable[[], None]) -> None:
        function = getattr(module, name)

        def called(*given: Any) -> Any:
            monkeypatch.setattr(module, name, function)
            other()
            return function(*given)

        monkeypatch.setattr(module, name, called)

    return arrange


@pytest.mark.parametrize("name", ["open_round", "open_state", "state_of"])
def test_a_round_that_another_process_merges(begin: Callable[..., str], meanwhile: Any, name: str) -> None:
    calm, run_uri = begin("calm", 2), begin("both", 2)
    for uri in (calm, run_uri):
        for shard in (0, 1):
            go_on(uri, 4, shard)
    for number in range(1, 5):
        merge_round(calm, number)
        meanwhile(merge, name, lambda number=number: merge_round(run_uri, number))
        assert merge_round(run_uri, number) == round_uri(run_uri, number)
        assert _same(calm, run_uri, number, LOSS_TABLE)
    assert is_complete(run_uri)
    assert load_synthetic(finish_run(run_uri))[0].equal(load_synthetic(finish_run(calm))[0])


@pytest.mark.parametrize("name", ["find_state", "state_of"])
@pytest.mark.parametrize("work", [distill_round, reselect_round])
def test_a_round_that_another_process_finishes(
    begin: Callable[..., str], meanwhile: Any, name: str, work: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, run_uri = begin("calm"), begin("both")
    go_on(calm, 4)
    go_on(run_uri, 2)
    if work is distill_round:
        reselect_round(run_uri, 3)
    meanwhile(rounds, name, lambda: go_on(run_uri, 3))
    for first in ("first_state", "starting_state"):  # or everything from the first round on would be computed again
        monkeypatch.setattr(rounds, first, pytest.fail)
    work(run_uri, 3)
    go_on(run_uri, 4)
    for number in range(1, 5):
        assert _same(calm, run_uri, number, LOSS_TABLE)
    assert _same(calm, run_uri, 4, CHECKPOINT)


@pytest.mark.parametrize(("name", "error"), [("open_state", MissingArtifact), ("state_of", DamagedArtifact)])
def test_a_state_that_nobody_merged_is_missed(begin: Callable[..., str], meanwhile: Any, name: str, error: type[Exception]) -> None:
    run_uri = begin("alone", 2)
    for shard in (0, 1):
        go_on(run_uri, 1, shard)
    meanwhile(merge, name, lambda: objects.delete(f"{run_uri}/shards/0000/rounds/0001/state"))
    with pytest.raises(error):
        merge_round(run_uri, 1)


def _same(one: str, other: str, number: int, name: str) -> bool:
    return objects.read(objects.join(round_uri(one, number), name)) == objects.read(objects.join(round_uri(other, number), name))


def test_a_round_that_two_processes_compute_is_stored_once(store: Store, tmp_path: Path, meanwhile: Any) -> None:
    run_uri = start_run(store.uri, None, small_config("dm", rounds=2), ReselectConfig(beta=0.0), str(tmp_path))
    meanwhile(rounds, "publish_round", lambda: distill_round(run_uri, 1))
    assert distill_round(run_uri, 1) == round_uri(run_uri, 1)
    assert not Path(state_uri(run_uri, 1)).exists(), "the round holds its state, and nobody needs another copy"
