"""Keeping, checking and removing know that a record and the truth about its data set belong together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bilp.artifacts.publication import publish
from bilp.data import ingest, read_source
from bilp.errors import ConfigError
from bilp.maintenance.discard import discard
from bilp.maintenance.garbage import Options, plan
from bilp.maintenance.inventory import take_inventory
from bilp.maintenance.references import closure, references
from bilp.maintenance.removal import collect, remove
from bilp.maintenance.sizes import sizes
from bilp.maintenance.verify import verify
from bilp.results.find import candidates, locate
from bilp.storage import objects
from bilp.truth.oracle import oracle_selection
from bilp.truth.table import open_truth, truth_uri

NOISE = {"label_noise": {"kind": "cyclic", "share": 0.1}}
NOW = Options(older_than=0.0)
PAGE = "0123456789abcdef"


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = str(tmp_path_factory.mktemp("noisy") / "store")
    record, dataset = read_source(NOISE, root), ingest(NOISE, root)
    read_source({}, root)
    parents = {"dataset": dataset, "selection": oracle_selection(dataset, record, root)}
    publish(f"{root}/reports/{PAGE}", "selection", PAGE, {"report.html": b"page"}, config={}, parents=parents)
    return root, record


@pytest.fixture
def noisy(_made: tuple[str, str], tmp_path: Path) -> tuple[str, str]:
    """A storage with a page about digits with wrong labels, and the record of these; beside it the clean digits, which nothing needs."""
    root = str(tmp_path / "store")
    shutil.copytree(_made[0], root)
    return root, _made[1].replace(_made[0], root)


def test_the_truth_of_a_kept_record_is_kept(noisy: tuple[str, str]) -> None:
    root, record = noisy
    removed = set(collect(plan(root, NOW), NOW).places)
    assert len(removed) == 2 and all(place.startswith("datasets/digits/") for place in removed), "the clean digits and their record"
    truth = open_truth(record)
    assert truth is not None and truth.errors == 144
    objects.delete(f"{root}/reports/{PAGE}")
    collect(plan(root, NOW), NOW)
    assert take_inventory(root).items == {}
    assert list(objects.listing(root)) == []


def test_a_truth_without_its_record_is_garbage(noisy: tuple[str, str]) -> None:
    """As a process leaves it that was killed in between."""
    root, record = noisy
    objects.delete(record)
    objects.delete(f"{root}/reports/{PAGE}")
    assert truth_uri(record).removeprefix(f"{root}/") in plan(root, NOW).places


def test_what_is_missing_or_damaged_is_told_with_what_uses_it(noisy: tuple[str, str]) -> None:
    root, record = noisy
    place = truth_uri(record).removeprefix(f"{root}/")
    sound = {problem.place for problem in verify(root).problems}
    file = Path(truth_uri(record)) / "truth.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    (found,) = [problem for problem in verify(root).problems if problem.place not in sound]
    assert found.place == place and "is not what was published" in found.what
    objects.delete(truth_uri(record))
    told = {problem.place: problem.what for problem in verify(root).problems if problem.place not in sound}
    assert told == {record.removeprefix(f"{root}/"): f"its truth at {place} is missing"}


def test_the_record_goes_with_its_truth_and_not_the_truth_alone(noisy: tuple[str, str]) -> None:
    root, record = noisy
    place = truth_uri(record).removeprefix(f"{root}/")
    with pytest.raises(ConfigError, match="is needed by"):
        discard([locate(place, root)])
    of = references(take_inventory(root))
    assert place in closure(of, [record.removeprefix(f"{root}/")])
    for name in ("reports", "selections"):
        objects.delete(f"{root}/{name}")
    whole = discard([locate(record.removeprefix(f"{root}/"), root)], unused=True, force=True)
    remove(whole.inventory, whole.of, whole.items)
    assert place not in take_inventory(root).items


def test_the_key_of_a_record_means_the_record_and_du_counts_the_truth(noisy: tuple[str, str]) -> None:
    root, record = noisy
    key = record.rpartition("/")[2]
    assert [found.kind for found in candidates(key, root)] == ["source"]
    assert locate(key, root).uri == record
    assert sizes(root).kinds["truth"] == sum(
        size for size in objects.sizes(truth_uri(record), ["truth.parquet", "_manifest.json"]).values()
    )
