"""Artifacts, changed by somebody who can write the storage, checksums included: an error in one line, or a result that is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from fuzz_world import World
from judging import Conclude, Tally, judge, listing, run_cases
from mutations import (
    MANIFEST,
    as_json,
    changed_file,
    damaged,
    edited,
    edited_shard,
    edited_table,
    edited_tensors,
    replace_file,
    stored_file,
)
from reading import KINDS, RUN, Kind

EDITS = {".parquet": edited_table, ".safetensors": edited_tensors, ".arrow": edited_shard}
MANIFESTS, BYTES, STRUCTURES = 18, 5, 12  # cases for each kind


@pytest.fixture(scope="module")
def undamaged(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], object]:
    found: dict[str, object] = {}

    def of(kind: Kind) -> object:
        if kind.name not in found:
            with world.copied(tmp_path_factory.mktemp("undamaged")) as copy:
                found[kind.name] = kind.use(copy)
            assert kind.sound(found[kind.name]) is None
        return found[kind.name]

    return of


class Bench:
    """Makes the cases of a kind: a copy of the world, one change, the use, and a look at what lies outside."""

    def __init__(self, world: World, folder: Path, kind: Kind, undamaged: object) -> None:
        self.world, self.folder, self.kind, self.undamaged = world, folder, kind, undamaged
        self.outside = listing(folder.parent)

    def case(self, change: Callable[[Path, Random], str]) -> Callable[[Random, Tally], None]:
        def run(random: Random, tally: Tally) -> None:
            with self.world.copied(self.folder) as copy:
                place = copy.root / random.choice(self.kind.places(copy))
                told = change(place, random)
                judge(lambda: self.kind.use(copy), self.undamaged, self.kind.sound, tally, f"{place.relative_to(copy.root)}: {told}")
                unexpected = {path for path in listing(copy.root.parent) if not path.startswith(("store", "files", "exported"))}
            assert not unexpected, told
            assert listing(self.folder.parent) == self.outside, told

        return run


@pytest.fixture
def bench(world: World, tmp_path: Path, undamaged: Callable[[Kind], object]) -> Iterator[Callable[[Kind], Bench]]:
    folder = tmp_path / "cases"
    folder.mkdir()
    yield lambda kind: Bench(world, folder, kind, undamaged(kind))


def edited_manifest(place: Path, random: Random) -> str:
    """What a manifest says, its facts more often than the rest."""
    return _edited_json(place / MANIFEST, ["facts"], random)


def edited_run(place: Path, random: Random) -> str:
    """What the record of a run says, often what is no part of its key."""
    return _edited_json(place / "_run.json", ["dataset", "selection", "experts", "parents"], random)


def _edited_json(file: Path, often: list[str], random: Random) -> str:
    before = json.loads(file.read_bytes())
    after = before | edited({name: before[name] for name in often}, random) if random.random() < 0.5 else edited(before, random)
    file.unlink()  # it is a link to the world's
    file.write_bytes(as_json(after))
    return difference(as_json(before).decode(), file.read_bytes().decode("utf-8", "backslashreplace"))


def difference(before: str, after: str) -> str:
    """Where two texts begin to differ."""
    start = next(
        (index for index, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), min(len(before), len(after))
    )
    return f"...{before[max(0, start - 60) : start + 60]!a} -> {after[max(0, start - 60) : start + 80]!a}"


def damaged_bytes(place: Path, random: Random) -> str:
    """Any file, manifest included, as a disk or a network damages it."""
    files = sorted(path for path in place.iterdir() if path.is_file())
    file = random.choice(files)
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(damaged(content, random))
    return f"damaged {file.name}"


def resealed_bytes(place: Path, random: Random) -> str:
    """A file whose damage the manifest vouches for."""
    name = random.choice(sorted(json.loads((place / MANIFEST).read_bytes())["files"]))
    changed_file(place, name, damaged, random)
    return f"damaged and vouched for {name}"


def resealed_structure(place: Path, random: Random) -> str:
    """A file of the right format that says something else, and the manifest vouches for it."""
    names = [name for name in sorted(json.loads((place / MANIFEST).read_bytes())["files"]) if Path(name).suffix in EDITS]
    if not names:
        return resealed_bytes(place, random)
    name = random.choice(names)
    content = EDITS[Path(name).suffix](stored_file(place, name).read_bytes(), random)
    replace_file(place, name, content)
    return f"another content of {name}, {len(content)} bytes"


CHANGES = {
    "manifest": (edited_manifest, MANIFESTS),
    "bytes": (damaged_bytes, BYTES),
    "bytes vouched for": (resealed_bytes, BYTES),
    "content": (resealed_structure, STRUCTURES),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))
def test_changed_artifacts(kind: Kind, change: str, bench: Callable[[Kind], Bench], conclude: Conclude) -> None:
    how, cases = CHANGES[change]
    conclude(run_cases(f"{kind.name}: {change}", cases, bench(kind).case(how)))


@pytest.mark.parametrize("change", ["record", "bytes"])
def test_changed_records_of_runs(change: str, bench: Callable[[Kind], Bench], conclude: Conclude) -> None:
    how, cases = {"record": (edited_run, 30), "bytes": (damaged_bytes, BYTES)}[change]
    conclude(run_cases(f"run record: {change}", cases, bench(RUN).case(how)))
