"""What is removed from a storage, what stays, and what is there when the removal ends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from small_store import DATASET, FINGERPRINT, Store, key

from bilp.artifacts import lease, usage
from bilp.artifacts.artifact import there_already
from bilp.artifacts.manifest_file import MANIFEST
from bilp.errors import ConfigError, DamagedArtifact, MissingArtifact, StorageRefused
from bilp.maintenance import removal
from bilp.maintenance.discard import discard
from bilp.maintenance.garbage import DAY, Options, plan
from bilp.maintenance.inventory import take_inventory
from bilp.maintenance.recognized import JOURNAL
from bilp.maintenance.references import closure, references
from bilp.maintenance.removal import collect, remove
from bilp.maintenance.sizes import sizes
from bilp.results.find import locate
from bilp.storage import objects

NOW = Options(older_than=0.0)


def collected(store: Store, options: Options = NOW) -> set[str]:
    """Places that are gone after a removal."""
    return set(collect(plan(store.root, options), options).places)


def test_what_pages_reach_stays(store: Store) -> None:
    before = store.places()
    assert collected(store) == set()
    assert store.places() == before
    assert not objects.exists(store.uri(JOURNAL))


def test_what_no_page_reaches_goes_and_what_others_share_stays(store: Store) -> None:
    before = objects.listing(store.root)
    objects.delete(store.uri(f"reports/{key('report second')}"))
    gone = collected(store)
    run = f"runs/{key('second')}"
    assert gone >= {run, f"{run}/synthetic", f"{run}/rounds/0001", f"{run}/rounds/0001/reselect", f"selections/{key('selection second')}"}
    assert {place.split("/")[0] for place in gone} == {"runs", "teachers", "selections", "evaluations", "trainings"}
    left = objects.listing(store.root)
    assert left.keys() == {
        name for name in before if not any(name.startswith(f"{place}/") for place in gone) and key("report second") not in name
    }
    assert closure(references(take_inventory(store.root)), left) <= left.keys() | store.places()


def test_evaluations_need_the_teacher_of_all_samples_and_no_run_s(local_store: Store) -> None:
    """All were trained with the same settings and seed on the same data set."""
    teacher = local_store.teacher("of all")
    page = local_store.put(f"reports/{key('taught')}", "report", [local_store.evaluation("taught", taught=True)])
    objects.delete(local_store.uri(f"reports/{key('report second')}"))
    assert {f"teachers/{key('teacher second')}", f"selections/{key('selection second')}"} <= collected(local_store)
    needed = {place for place in closure(references(take_inventory(local_store.root)), [page]) if place.startswith("teachers/")}
    assert needed == {teacher}


def test_recent_things_stay_with_all_that_they_need(store: Store) -> None:
    for name in ("first", "second"):
        objects.delete(store.uri(f"reports/{key(f'report {name}')}"))
    found = plan(store.root, Options(older_than=DAY))
    assert not found.removed
    assert DATASET in found.recent


def test_unfinished_work_stays_unless_it_is_asked_for(store: Store) -> None:
    run = store.run("third", f"selections/{key('selection first')}", finished=False)
    trial = store.put(f"scores/{FINGERPRINT}/{key('other')}/trials/0000", "score_trial", [DATASET])
    trainings = store.trainings({"synthetic": key("interrupted")})
    planned = store.put(f"datasets/flowers/plans/{key('plan')}", "ingest_plan")
    part = store.put(f"datasets/flowers/parts/{key('plan')}/00003", "ingest_part", [planned])
    assert collected(store) == set()
    assert {run, trial, trainings, planned, part} <= plan(store.root, NOW).unfinished
    assert collected(store, Options(0.0, unfinished=True)) >= {run, f"{run}/rounds/0001", trial, trainings, planned, part}


def test_a_finished_run_stays_while_nothing_was_made_from_it(store: Store) -> None:
    """The first arm of a pipeline that distills the second one, for longer than what was used counts as used of late."""
    run = store.run("arm", f"selections/{key('selection first')}")
    before = store.places()
    assert collected(store) == set()
    assert store.places() == before
    store.evaluation("arm", f"{run}/synthetic")
    assert {run, f"{run}/synthetic"} <= collected(store), "no page was made of its evaluation"


def test_keep_names_further_roots(store: Store) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    found = plan(store.root, Options(0.0, keep=(f"runs/{key('second')}",)))
    assert {item.kind for item in found.removed} == {"evaluation", "trainings"}


def test_imported_sets_and_reproductions_stay(store: Store) -> None:
    imported = store.put(f"imported/{key('import')}/synthetic", "synthetic", [DATASET])
    third = store.evaluation("third", imported)
    reproduction = store.put(f"reproductions/{key('reproduction')}", "reproduction", [third])
    assert collected(store) == set()
    objects.delete(store.uri(reproduction))
    assert collected(store) == {third, *(each for each in plan_trainings(store, third))}
    assert objects.exists(store.uri(imported))


def plan_trainings(store: Store, evaluation: str) -> set[str]:
    subject = {"synthetic": key("third")}
    place = store.trainings(subject)
    objects.delete(store.uri(place))
    return {place}


def test_what_somebody_holds_a_lease_of_stays_whatever_the_age(store: Store) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    run = f"runs/{key('second')}"
    held = lease.take(store.uri(f"leases/{run}/synthetic"), "somebody", 60.0, lambda owner: False)
    assert held is not None
    assert run not in collected(store)
    with pytest.raises(ConfigError, match=f"somebody works on {run}/synthetic: stop that run first"):
        discard([locate(run, store.root)], force=True)
    held.release()
    assert run in collected(store, Options(0.0, unfinished=True))
    assert not objects.exists(store.uri(f"leases/{run}/synthetic"))


def test_what_a_process_found_or_made_stays_while_it_works(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days after it was evaluated, while another arm still is, and before there is a page."""
    monkeypatch.setattr(usage, "_noted", {})
    run = local_store.run("arm", f"selections/{key('selection first')}")
    evaluation = local_store.evaluation("arm", f"{run}/synthetic")  # made here, so that it is known to be needed
    before = local_store.places()
    for file in Path(local_store.root).rglob("*"):
        os.utime(file, (0, 0))
    assert local_store.uri(f"{evaluation}/{MANIFEST}") in usage._noted
    for document in usage._noted:
        usage._noted[document] -= usage.KEPT_UP + 1
    held = lease.take(local_store.uri("leases/evaluations/other"), "somebody", 0.03, lambda owner: False)
    assert held is not None
    with lease.holding(held):
        while not objects.written_at(local_store.uri(f"{evaluation}/{MANIFEST}")):
            pass
    assert run in plan(local_store.root, Options()).recent
    collected(local_store, Options())
    assert local_store.places() == before


def test_files_that_are_none_of_ours_stay_and_are_named(store: Store) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    own = f"runs/{key('second')}/synthetic/notes.txt"
    for name in ("README.md", "data/x.csv", own, "runs/mine/rounds/0001/grid.png"):
        objects.write(store.uri(name), b"mine")
    found = plan(store.root, NOW)
    assert set(found.inventory.foreign) == {"README.md", "data/x.csv", own, "runs/mine/rounds/0001/grid.png"}
    collect(found, NOW)
    assert set(objects.listing(store.uri(f"runs/{key('second')}"))) == {"synthetic/notes.txt"}
    assert objects.read(store.uri("data/x.csv")) == b"mine"


def test_links_to_what_lies_in_the_storage_hide_nothing(local_store: Store) -> None:
    before = set(objects.listing(local_store.root))
    disk = Path(local_store.root).with_name("disk")
    (Path(local_store.root) / "reports").rename(disk)
    (Path(local_store.root) / "reports").symlink_to(disk)
    for report in disk.iterdir():
        for name in ("a-latest", "latest", "z-latest"):
            (Path(local_store.root) / f"{name}-{report.name}").symlink_to(report)
    (Path(local_store.root) / "around").symlink_to(local_store.root)
    assert collected(local_store) == set()
    assert before <= set(objects.listing(local_store.root))
    assert not any(name.startswith("around/") for name in objects.listing(local_store.root))


def test_a_second_name_of_what_is_needed_is_not_removed(local_store: Store) -> None:
    datasets = Path(local_store.root) / "datasets"
    (name,) = {path.name for path in datasets.iterdir()}
    (datasets / "mine").symlink_to(name)
    assert collected(local_store) == set()
    assert list((datasets / name).rglob("*.arrow")) or list((datasets / name).rglob(MANIFEST))


def test_half_written_files_of_others_stay(store: Store) -> None:
    objects.write(store.uri(".notes.1.2.tmp"), b"mine")
    objects.write(store.uri("work/.draft.1.2.tmp/chapter"), b"mine")
    objects.write(store.uri(".probe-0123.7.0.tmp"), b"ours")
    assert collected(store) == {".probe-0123.7.0.tmp"}
    assert objects.read(store.uri("work/.draft.1.2.tmp/chapter")) == b"mine"


def test_halves_go(store: Store) -> None:
    objects.write(store.uri(f"evaluations/{key('half')}/evaluation.parquet"), b"half")
    objects.write(store.uri(f"selections/.{key('removed')}.12.3.tmp/selection.parquet"), b"half")
    assert collected(store) == {f"evaluations/{key('half')}", f"selections/.{key('removed')}.12.3.tmp"}


def test_nothing_goes_while_something_does_not_tell_what_it_needs(store: Store) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    objects.write(store.uri(f"reports/{key('report first')}/{MANIFEST}"), b"{}")
    with pytest.raises(DamagedArtifact, match="does not tell what it needs .*so nothing is removed: remove it with bilp rm reports/"):
        plan(store.root, NOW)


@pytest.mark.parametrize("used", ["selection", "run", "evaluation"])
def test_what_is_used_after_the_plan_stays_with_all_that_it_needs(store: Store, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    places = {
        "selection": f"selections/{key('selection second')}",
        "run": f"runs/{key('second')}",
        "evaluation": f"evaluations/{key('evaluation second')}",
    }
    found = plan(store.root, NOW)
    usage._noted.clear()
    document = store.uri(f"{places[used]}/{'_run.json' if used == 'run' else MANIFEST}")
    wait_for_the_clock(store, objects.written_at(document))
    usage.note(document)
    done = remove(found.inventory, found.of, found.removed)
    needed = closure(found.of, [places[used]])
    assert needed & store.places() == needed - {place for place in needed if place.startswith("trainings/")}
    assert not set(done.places) & needed


def test_a_stage_that_finds_something_marks_it(store: Store) -> None:
    place = f"robustness/{key('table')}"
    store.put(place, "robustness")
    before = objects.written_at(store.uri(f"{place}/{MANIFEST}"))
    usage._noted.clear()
    content = objects.read(store.uri(f"{place}/{MANIFEST}"))
    wait_for_the_clock(store, before)
    assert there_already(store.uri(place), "robustness", key("table")) is not None
    assert objects.written_at(store.uri(f"{place}/{MANIFEST}")) > before
    assert objects.read(store.uri(f"{place}/{MANIFEST}")) == content


def wait_for_the_clock(store: Store, before: float) -> None:
    """Until what is written now has another time: S3 tells whole seconds."""
    while True:
        objects.write(store.uri("clock"), b"")
        if int(objects.written_at(store.uri("clock"))) > int(before) or not store.root.startswith("s3://"):
            return


def test_who_may_not_write_can_still_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(uri: str) -> None:
        asked.append(uri)
        raise StorageRefused("not here")

    monkeypatch.setattr(objects, "touch", refuse)
    monkeypatch.setattr(usage, "_refused", set())
    store.put(f"robustness/{key('table')}", "robustness")
    assert there_already(store.uri(f"robustness/{key('table')}"), "robustness", key("table")) is not None
    there_already(store.uri(f"robustness/{key('table')}"), "robustness", key("table"))
    assert len(asked) == 1, "asked once per folder"


def test_a_manifest_that_comes_back_while_its_files_go_is_taken_away(local_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store = local_store
    objects.delete(store.uri(f"reports/{key('report second')}"))
    place = f"evaluations/{key('evaluation second')}"
    manifest = objects.read(store.uri(f"{place}/{MANIFEST}"))
    delete = objects.delete

    def publish_meanwhile(uri: str) -> None:
        delete(uri)
        if uri == store.uri(place):
            objects.write(store.uri(f"{place}/{MANIFEST}"), manifest)

    monkeypatch.setattr(objects, "delete", publish_meanwhile)
    assert place in collected(store)
    assert place not in store.places()


def test_an_interrupted_removal_is_gone_on_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.delete(store.uri(f"reports/{key('report second')}"))
    everything = {item.place for item in plan(store.root, NOW).removed}
    real = removal._remove

    def interrupted(inventory: Any, item: Any, *others: Any) -> bool:
        if item.kind == "run":
            raise KeyboardInterrupt
        return real(inventory, item, *others)

    monkeypatch.setattr(removal, "_remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collected(store)
    assert json.loads(objects.read(store.uri(JOURNAL)))["places"] == sorted(everything)
    monkeypatch.setattr(removal, "_remove", real)
    left = collected(store)
    assert f"runs/{key('second')}" in left, "a run whose synthetic set was removed is not taken for unfinished work"
    assert not everything & {item.place for item in take_inventory(store.root).items.values()}


def test_rm_refuses_what_others_need_and_names_it(store: Store) -> None:
    run = f"runs/{key('second')}"
    with pytest.raises(ConfigError, match=f"^{run} is needed by reports/{key('report second')}, evaluations/"):
        discard([locate(run, store.root)])
    assert {item.place for item in discard([locate(run, store.root)], force=True).items} == {
        place for place in store.places() if run in place
    }
    with pytest.raises(MissingArtifact):
        discard([locate(f"{store.root}/runs/{key('unknown')}", store.root)])


def test_rm_unused_takes_what_nothing_else_uses(store: Store) -> None:
    page = f"reports/{key('report second')}"
    alone = discard([locate(page, store.root)])
    assert [item.place for item in alone.items] == [page]
    with_others = discard([locate(page, store.root)], unused=True)
    remove(with_others.inventory, with_others.of, with_others.items)
    assert collected(store) == set(), "nothing is left for a collection"
    assert objects.exists(store.uri(f"runs/{key('first')}/synthetic/{MANIFEST}"))
    assert not objects.exists(store.uri(f"runs/{key('second')}"))


def test_rm_takes_what_is_damaged_with_force(store: Store) -> None:
    page = f"reports/{key('report second')}"
    objects.write(store.uri(f"{page}/{MANIFEST}"), b"{")
    found = discard([locate(page, store.root)], force=True)
    remove(found.inventory, found.of, found.items)
    assert not objects.exists(store.uri(page))


def test_sizes_tell_what_is_shared_and_what_would_be_freed(store: Store) -> None:
    found = sizes(store.root, NOW)
    assert found.total == sum(file.size for file in objects.listing(store.root).values()) == sum(found.kinds.values())
    first, second = (share for share in found.shares if share.kind == "report")
    assert first.shared == second.shared > 0
    assert found.removable == 0
    assert found.datasets == {
        "flowers": found.total - sum(item.size for item in take_inventory(store.root).items.values() if item.kind == "trainings")
    }
    objects.delete(store.uri(f"reports/{key('report second')}"))
    assert sizes(store.root, NOW).removable == plan(store.root, NOW).size > 0


def test_a_storage_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="there is no storage at .*: set BILP_STORAGE, or give --storage"):
        plan(str(tmp_path / "nowhere"), NOW)
