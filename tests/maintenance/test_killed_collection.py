"""A collection that is killed at any point loses nothing reachable, leaves no half that looks whole, and is gone on with."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from killed_collection import NOW, collect_until_killed
from small_store import Store, contents, key, put
from tiny_world import make_world

from bilp.artifacts.artifact import is_whole
from bilp.maintenance.garbage import Options, plan
from bilp.maintenance.inventory import named_files, take_inventory
from bilp.maintenance.recognized import HALF, is_ours
from bilp.maintenance.references import references, training_keys
from bilp.maintenance.removal import collect
from bilp.maintenance.verify import verify
from bilp.results.places import TRAININGS
from bilp.storage import objects

KILLS, KILLS_ON_S3 = 20, 8
pytestmark = pytest.mark.slow


def kill_points(kills: int, most: int) -> list[int]:
    """Different changes of the storage, from 1 to `most`, at which collections are killed."""
    return sorted(np.random.Generator(np.random.PCG64(7)).choice(np.arange(1, most + 1), kills, replace=False).tolist())


def require_nothing_half(root: str, compare: bool = True) -> None:
    """Whatever looks whole is whole, and what it needs is there; checksums are compared if they shall be."""
    inventory = take_inventory(root)
    of = references(inventory)
    for place, item in inventory.items.items():
        if item.kind != HALF and item.whole and item.document is not None:
            assert named_files(item).keys() <= item.files.keys(), place
            needed = [inventory.items[each] for each in of[place] if not each.startswith(f"{place}/")]
            assert all(each.whole for each in needed if each.kind != "source"), place
    if not compare:
        return
    wrong = [problem for problem in verify(root).problems if "states what no" not in problem.what]  # small artifacts have no facts
    assert not wrong


def require_all_recognized(root: str) -> None:
    """Names of files tell what stages wrote, and manifests tell which trainings belong to an evaluation."""
    inventory = take_inventory(root)
    assert not inventory.foreign
    items = inventory.items.values()
    assert [(item.kind, name) for item in items for name in item.files if not is_ours(item.kind, name)] == []
    claimed = {f"trainings/{key}" for item in items if item.kind == "evaluation" for key in training_keys(item)}
    assert claimed == {item.place for item in items if item.kind == TRAININGS}


def test_wherever_it_is_killed_nothing_reachable_is_lost(local_store: Store, tmp_path: Path) -> None:
    objects.delete(local_store.uri(f"reports/{key('report second')}"))
    found = plan(local_store.root, NOW)
    doomed = tuple(f"{item.place}/" for item in found.removed)
    stays = {name: content for name, content in contents(local_store.root).items() if not name.startswith(doomed)}
    assert stays
    assert doomed
    for change in kill_points(KILLS, 45):
        root = str(tmp_path / f"killed {change}")
        shutil.copytree(local_store.root, root)
        assert collect_until_killed(root, change), f"it changes the storage less than {change} times"
        left = contents(root)
        assert {name: left.get(name) for name in stays} == stays
        require_nothing_half(root)
        collect(plan(root, NOW), NOW)
        assert contents(root) == stays, "the next collection takes the rest"


@pytest.mark.s3
def test_the_same_on_s3(local_store: Store, s3_root: str) -> None:
    objects.delete(local_store.uri(f"reports/{key('report second')}"))
    everything = contents(local_store.root)
    doomed = tuple(f"{item.place}/" for item in plan(local_store.root, NOW).removed)
    stays = {name: content for name, content in everything.items() if not name.startswith(doomed)}
    for change in kill_points(KILLS_ON_S3, 26):
        root = f"{s3_root}/killed-{change}"
        put(everything, root)
        assert collect_until_killed(root, change), f"it changes the storage less than {change} times"
        left = contents(root)
        assert {name: left.get(name) for name in stays} == stays
        require_nothing_half(root, compare=False)
    collect(plan(root, NOW), NOW)
    assert contents(root) == stays


def test_stages_reuse_everything_that_is_reachable_afterwards(tmp_path: Path) -> None:
    """All that the stages made, with a run of each of several methods of which a page shows one."""
    root = str(tmp_path / "store")
    world = make_world(root)
    os.environ.setdefault("BILP_CACHE", str(tmp_path / "cache"))
    require_all_recognized(root)
    every = Options(older_than=0.0, unfinished=True)  # also runs that nobody evaluated
    found = plan(root, every)
    assert {item.kind for item in found.removed} >= {"selection", "synthetic", "round", "run"}
    for change in (3, 17, 40):
        assert collect_until_killed(root, change, every)
        require_nothing_half(root)
    collect(plan(root, every), every)
    left = contents(root)
    assert {name.rpartition("/")[0] for name in left} >= {place for place in found.reached if not place.startswith("trainings/")}
    assert is_whole(world.artifacts["report"])
    again = make_world(root)
    assert again == world
    after = contents(root)
    assert {name: after[name] for name in left} == left, "nothing that stayed was computed again"
