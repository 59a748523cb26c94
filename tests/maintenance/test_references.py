"""What the rooms of the stages know of places, names and keys is what a storage is told apart by."""

from __future__ import annotations

from small_store import Store

from bilp.artifacts.facts import FACTS
from bilp.evaluate import training_cache
from bilp.evaluate.results import MANY
from bilp.maintenance import references
from bilp.maintenance.inventory import take_inventory
from bilp.maintenance.recognized import HALF, is_ours, temporary
from bilp.maintenance.removal import ORDER
from bilp.results.places import PLACES, RUN, TRAININGS


def test_every_kind_has_its_turn_in_a_removal_before_what_it_needs(local_store: Store) -> None:
    assert set(ORDER) == {place.kind for place in PLACES} | {HALF} == {*FACTS, RUN, TRAININGS, HALF}
    inventory = take_inventory(local_store.root)
    of = references.references(inventory)
    for place, needed in of.items():
        for other in needed:
            inside = references.run_of(place) is not None and references.run_of(place) == references.run_of(other)
            source = place.startswith(f"{other.rpartition('/')[0]}/") or inventory.items[other].kind == "source"
            assert inside or source or ORDER.index(inventory.items[place].kind) < ORDER.index(inventory.items[other].kind)


def test_keys_of_trainings_follow_from_manifests(local_store: Store) -> None:
    assert set(references.NO_PART_OF_A_TRAINING) == {*MANY, "by_network"}
    assert training_cache.VERSION == references.TRAININGS_VERSION
    inventory = take_inventory(local_store.root)
    claimed = {
        f"trainings/{key}" for item in inventory.items.values() if item.kind == "evaluation" for key in references.training_keys(item)
    }
    assert claimed == {place for place, item in inventory.items.items() if item.kind == TRAININGS}


def test_manifests_that_make_no_sense_claim_nothing(local_store: Store) -> None:
    item = next(item for item in take_inventory(local_store.root).items.values() if item.kind == "evaluation")
    for facts in ({"networks": 3}, {"networks": [[]]}, {"networks": ["x"], "dataset": float("nan")}):
        assert item.content is not None
        item.content["facts"] = facts
        assert references.training_keys(item) == set()


def test_names_of_stages_are_ours_and_others_are_not() -> None:
    ours = "train.parquet train-00012.arrow epoch-0003.safetensors losses.1f3a9c02.parquet report.html grid.png ledger.json _run.json"
    assert all(is_ours("round", name) for name in ours.split())
    others = "notes.txt my.parquet train.csv losses.parquet.bak deep/losses.parquet grid.jpg .hidden report.html~"
    assert not any(is_ours("round", name) for name in others.split())
    assert is_ours(TRAININGS, "convnet-0123456789abcdef/0000-0001.json")
    assert not is_ours(TRAININGS, "0000.json")


def test_temporary_names_are_told_wherever_they_lie() -> None:
    assert temporary("runs/.aa.12.3.tmp/rounds/x") == "runs/.aa.12.3.tmp"
    assert temporary("runs/aa/.grid.png.12.3.tmp") == "runs/aa/.grid.png.12.3.tmp"
    assert temporary("runs/aa/grid.png") is None
