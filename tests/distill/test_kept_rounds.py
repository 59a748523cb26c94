"""Which rounds keep the state after them, that nothing else differs, and that what is gone is computed again where it is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import killed
import pytest
import torch
from former_rounds import as_before
from tiny_distillation import Store, small_config

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import CHECKPOINT, GRID, LOSS_TABLE, MOMENTUM, SNAPSHOT, round_uri, state_uri
from bilp.config import DistillConfig, ReselectConfig
from bilp.distill import distill_round, finish_run, load_synthetic, merge_round, open_run, reselect_round, start_run
from bilp.distill.checkpoint import round_state
from bilp.distill.kept import find_state
from bilp.distill.part import Part
from bilp.distill.round_files import is_complete
from bilp.distill.snapshot import read_snapshot
from bilp.errors import MissingArtifact
from bilp.report.collect import collect, open_sources
from bilp.storage import objects

OFF = ReselectConfig(beta=0.0)
ON = ReselectConfig(beta=0.25, candidates_per_class=12, interval=2, threshold="quantile")
SHOWN = (LOSS_TABLE, GRID, SNAPSHOT)


@pytest.fixture
def begin(store: Store, tmp_path: Path) -> Callable[..., str]:
    """Starts a run in a root of its own."""

    def start(config: DistillConfig, reselect: ReselectConfig = OFF, root: str = "root") -> str:
        return start_run(store.uri, None, config, reselect, str(tmp_path / root))

    return start


def short(keep: int | str, **changes: object) -> DistillConfig:
    """Four rounds of one iteration."""
    return small_config("dm", rounds=4, keep_rounds=keep, **changes)


def go_on(run_uri: str, stop: int = 4, shard: int | None = None) -> None:
    for number in range(1, stop + 1):
        reselect_round(run_uri, number, shard=shard)
        distill_round(run_uri, number, shard=shard)


def file_of(run_uri: str, number: int, name: str) -> bytes:
    return objects.read(objects.join(round_uri(run_uri, number), name))


def holding(run_uri: str, folder: str = "") -> dict[int, str]:
    """The rounds whose state is there: 'kept' in the round, or 'beside' it."""
    found = {}
    for number in range(1, 5):
        place = Path(round_uri(run_uri + folder, number))
        if (place / CHECKPOINT).exists():
            found[number] = "kept"
        elif (place / "state" / CHECKPOINT).exists():
            found[number] = "beside"
    return found


@pytest.mark.parametrize(
    ("keep", "rounds"), [("all", [1, 2, 3, 4]), (1, [4]), (2, [1, 4]), (3, [1, 3, 4]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4])]
)
def test_the_last_rounds_keep_their_state_and_the_first(begin: Callable[..., str], keep: int | str, rounds: list[int]) -> None:
    run_uri = begin(short(keep))
    part = Part(run_uri, open_run(run_uri), None)
    assert [number for number in range(1, 5) if part.keeps(number)] == rounds


def test_what_is_kept_changes_nothing_else(begin: Callable[..., str]) -> None:
    everything, little = begin(short("all"), ON, "everything"), begin(short(1), ON, "little")
    assert Path(everything).name == Path(little).name, "no key counts it"
    go_on(everything)
    for stop, there in ((1, {1: "beside"}), (2, {2: "beside"}), (3, {3: "beside"}), (4, {4: "kept"})):
        go_on(little, stop)
        assert holding(little) == there
    assert is_complete(little)
    for number in range(1, 5):
        for name in SHOWN:
            one, other = (file_of(uri, number, name) for uri in (everything, little))
            assert one == other, (number, name)
        manifests = [json.loads(objects.read(objects.join(round_uri(uri, number), "_manifest.json"))) for uri in (everything, little)]
        assert manifests[0]["config"] == manifests[1]["config"]
    assert objects.read(objects.join(finish_run(everything), "synthetic.safetensors")) == objects.read(
        objects.join(finish_run(little), "synthetic.safetensors")
    )
    with objects_never_written():
        go_on(little)


@contextmanager
def objects_never_written() -> Iterator[None]:
    """Fails whoever publishes something in the block."""

    def never(*_: object) -> bool:
        raise AssertionError("published again")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("create", "create_from", "write", "upload"):
            patch.setattr(objects, name, never)
        yield


def test_a_state_that_is_gone_and_needed_is_computed_again(begin: Callable[..., str]) -> None:
    run_uri = begin(short(1), ON)
    go_on(run_uri)
    last = file_of(run_uri, 4, CHECKPOINT)
    objects.delete(round_uri(run_uri, 4))
    objects.delete(round_uri(run_uri, 3))
    assert holding(run_uri) == {}
    go_on(run_uri)
    assert holding(run_uri) == {4: "kept"}
    assert file_of(run_uri, 4, CHECKPOINT) == last


def test_who_changes_their_mind_keeps_what_is_still_to_come(begin: Callable[..., str]) -> None:
    run_uri = begin(short("all"))
    go_on(run_uri, 2)
    assert begin(short(1)) == run_uri
    assert json.loads(objects.read(objects.join(run_uri, "_run.json")))["distill"]["keep_rounds"] == 1
    go_on(run_uri, 3)
    assert holding(run_uri) == {1: "kept", 2: "kept", 3: "beside"}, "what a round holds is never taken out of it"
    assert begin(short("all")) == run_uri
    assert "keep_rounds" not in json.loads(objects.read(objects.join(run_uri, "_run.json")))["distill"]
    go_on(run_uri)
    assert holding(run_uri)[4] == "kept"
    assert len(load_synthetic(finish_run(run_uri))[0]) == 10


def test_a_run_of_an_earlier_version_goes_on_to_the_same_bytes(begin: Callable[..., str]) -> None:
    calm, former = begin(short("all"), ON, "calm"), begin(short("all"), ON, "former")
    go_on(calm)
    go_on(former, 2)
    for number in (1, 2):
        as_before(round_uri(former, number))
    go_on(former)
    for name in (CHECKPOINT, MOMENTUM, *SHOWN):
        assert file_of(former, 4, name) == file_of(calm, 4, name)
    one, other = (round_state(open_artifact(round_uri(uri, 2), "round")) for uri in (calm, former))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.momentum, other.momentum)


def test_a_snapshot_shows_the_images_of_its_classes(store: Store, begin: Callable[..., str]) -> None:
    run_uri = begin(short("all", ipc=2))
    go_on(run_uri, 1)
    artifact = open_artifact(round_uri(run_uri, 1), "round")
    found = read_snapshot(artifact, store.dataset)
    assert found is not None
    images, labels = found
    state = round_state(artifact)
    assert labels.tolist() == state.labels.tolist()
    expected = (state.images * store.dataset.std[0] + store.dataset.mean[0]).clamp(0, 1) * 255
    assert images.dtype == torch.uint8
    assert (images.float() - expected).abs().max() <= 0.51


def test_the_page_shows_the_same_from_snapshots_and_from_checkpoints(store: Store, begin: Callable[..., str]) -> None:
    run_uri = begin(short("all", ipc=2))
    go_on(run_uri)
    finish_run(run_uri)

    def shown(most: int) -> list[tuple[str, list[int], bytes]]:
        (run,) = collect(open_sources(store.uri, None, None, {"unpruned": [run_uri]}, []), most).runs
        return [(each.title, each.labels.tolist(), each.images.tobytes()) for each in (*run.snapshots, run.final)]

    from_snapshots = shown(10)
    for number in range(1, 5):
        as_before(round_uri(run_uri, number))
    assert shown(10) == from_snapshots
    titles = [title for title, _, _ in from_snapshots]
    assert titles == ["start", *(f"after {count} iteration{'s' * (count > 1)}" for count in range(1, 5)), "final"]
    assert all(set(labels) == {0, 4, 9} for _, labels, _ in shown(3))


@pytest.mark.slow
def test_shards_keep_their_states_until_they_are_merged(begin: Callable[..., str]) -> None:
    whole, run_uri = begin(short("all", shards=2), ON, "whole"), begin(short(2, shards=2), ON, "little")
    for uri in (whole, run_uri):
        for shard in (0, 1):
            go_on(uri, shard=shard)
    for shard in (0, 1):
        assert holding(run_uri, f"/shards/{shard:04d}") == dict.fromkeys(range(1, 5), "beside")
    for number in range(1, 5):
        for uri in (whole, run_uri):
            merge_round(uri, number)
        assert set(holding(run_uri, "/shards/0000")) == set(range(number + 1, 5))
    assert holding(run_uri) == {1: "kept", 4: "kept"}
    for number in range(1, 5):
        for name in SHOWN:
            assert file_of(run_uri, number, name) == file_of(whole, number, name)
    assert torch.equal(load_synthetic(finish_run(run_uri))[0], load_synthetic(finish_run(whole))[0])

    objects.delete(round_uri(run_uri, 4))
    assert not is_complete(run_uri, 0), "the merged round needs the state of each shard"
    with pytest.raises(MissingArtifact, match=r"the state after round 4 of .*shards/0000 was not kept .*run distill_round"):
        merge_round(run_uri, 4)
    for shard in (0, 1):
        go_on(run_uri, shard=shard)
    merge_round(run_uri, 4)
    for name in (CHECKPOINT, MOMENTUM):
        assert file_of(run_uri, 4, name) == file_of(whole, 4, name)
    assert all(find_state(part, number) is None for part in _shards(run_uri) for number in range(1, 5))


def _shards(run_uri: str) -> list[Part]:
    return [Part(run_uri, open_run(run_uri), shard) for shard in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", 1])
def test_a_process_that_dies_in_any_write_or_removal_leaves_nothing_half(begin: Callable[..., str], keep: int | str) -> None:
    config, calm = short(keep), begin(short(keep), OFF, "calm")
    go_on(calm)
    moments = 0
    while True:
        run_uri = begin(config, OFF, f"disturbed {moments}")
        if not killed.killed_in_round(run_uri, 2, moments):
            break
        go_on(run_uri)
        assert holding(run_uri) == holding(calm)
        for name in (CHECKPOINT, MOMENTUM, *SHOWN):
            assert file_of(run_uri, 4, name) == file_of(calm, 4, name), moments
        moments += 1
    assert moments >= (6 if keep == "all" else 8), "each file, the manifests, and what is removed"
    assert not objects.exists(state_uri(calm, 3))
