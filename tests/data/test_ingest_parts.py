"""Large sources in parts: the same data set as in one go, whoever decodes them, and nothing decoded twice when one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilp.config import IngestConfig
from bilp.config.ingest import OF_CLIPS
from bilp.data import ingest_plan, ingestion, join_parts, measure
from bilp.data.contents import Contents, Skipped
from bilp.data.ingest_part import decode_part, ingest_part, ledger_of, part_uri, published_parts
from bilp.data.ingest_plan import cut_parts, open_plan
from bilp.data.ingestion import plan_source, read_source
from bilp.data.items import Items
from bilp.data.planning import AFTERWARDS, identity
from bilp.data.shards import HEADER_BYTES
from bilp.data.sources.folder.source import ImageFolder
from bilp.data.store import open_recorded
from bilp.errors import DamagedArtifact, DataError
from bilp.progress import silent

SIDE = 4
PART = 10  # images of a part


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_plan, "PART_BYTES", HEADER_BYTES + PART * 3 * SIDE * SIDE)
    monkeypatch.setattr(ingest_plan, "LEAST_ITEMS", 0)


@pytest.fixture
def photos(write_folder: Any, pixels: Any) -> Path:
    """Two classes, 36 training images of which two are damaged, 12 test images."""
    names = [
        f"{split}/{kind}/{i:02d}.png" for split, count in (("train", 18), ("test", 6)) for kind in ("cat", "dog") for i in range(count)
    ]
    files: dict[str, Any] = {name: pixels(SIDE, SIDE, 3, seed=number) for number, name in enumerate(names)}
    files["train/cat/03.png"] = b"no image"
    files["train/dog/17.png"] = b""
    root: Path = write_folder(files)
    return root


def photo_config(root: Path, **settings: Any) -> IngestConfig:
    return IngestConfig(source="folder", uri=str(root), **{"on_corrupt": "skip", **settings})


def content(record_uri: str) -> dict[str, Any]:
    """All that there is to know of a data set and its record but when they were made, how shards are cut, and of which plan."""
    dataset = open_recorded(record_uri)
    assert dataset.record is not None
    facts = {name: fact for name, fact in dataset.record.artifact.manifest.facts.items() if name != "plan"}
    tables = {name: dataset.record.artifact.read(name) for name in dataset.record.artifact.manifest.files}
    sides = {
        split: (side.images().numpy().tobytes(), side.index().to_pydict())
        for split, side in (("train", dataset.train), ("test", dataset.test))
    }
    return {"facts": facts, "tables": tables, "sides": sides, "mean": dataset.mean, "std": dataset.std}


def stored_files(root: Path) -> dict[str, bytes]:
    """Every file but manifests, which tell when they were made, and plans and parts."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "_manifest.json" and not {"plans", "parts"} & set(path.parts)
    }


ALTERED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "test split held out": {"test": "held_out"},
    "duplicates dropped": {"duplicates": "drop"},
    "noise": {"label_noise": {"kind": "symmetric", "share": 0.3}},
    "tail": {"long_tail": {"imbalance": 3.0}},
    "copies": {"duplicates_added": {"share": 0.2}},
    "resolution": {"resolution": SIDE, "color": "rgb"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", ALTERED)
def test_parts_give_the_data_set_of_one_go(photos: Path, tmp_path: Path, case: str, request: pytest.FixtureRequest) -> None:
    config = photo_config(photos, **ALTERED[case])
    whole = content(read_source(config, tmp_path / "whole"))
    assert not (tmp_path / "whole/datasets/pets/plans").exists(), "a small source needs no plan"
    request.getfixturevalue("small_parts")
    assert content(read_source(config, tmp_path / "parts")) == whole
    assert len(list((tmp_path / "parts/datasets/pets/parts").glob("*/*"))) == (4 if case == "test split held out" else 6)


def test_ledgers_that_name_no_classes_are_those_of_the_plan(photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any) -> None:
    """As the first version of parts wrote them."""
    for name in ("00", "01", "02", "04", "05", "06", "07", "08", "09"):  # with 03, ten of 18 cats
        (photos / f"train/cat/{name}.png").write_bytes(b"no image")
    config = photo_config(photos, most_corrupt=0.9)
    for version, kept in (("new", Skipped.kept), ("old", Skipped.entry)):
        monkeypatch.setattr(Skipped, "kept", kept)
        plan = open_plan(str(plan_source(config, tmp_path / version)))
        for part in plan.parts:
            decode_part(config, ImageFolder(config), plan, part, silent)
    plans = [open_plan(str(plan_source(photo_config(photos), tmp_path / version))) for version in ("new", "old")]
    new, old = ([ledger_of(found, plan, part) for part, found in published_parts(plan).items()] for plan in plans)
    assert new == old and {entry.label for part in old for entry in part} == {0, 1}
    assert '"label"' not in (Path(part_uri(plans[1].artifact.uri, 0)) / "ledger.json").read_text()
    with pytest.raises(DataError, match=r"most of class 'cat' \(55.6 % of 18\)"):
        read_source(config, tmp_path / "old")


def test_settings_of_what_is_done_afterwards_share_the_parts(photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any) -> None:
    read_source(photo_config(photos), tmp_path)
    monkeypatch.setattr(ingestion, "decode_part", pytest.fail)
    monkeypatch.setattr(ImageFolder, "read", pytest.fail)
    other = content(read_source(photo_config(photos, label_noise={"kind": "symmetric", "share": 0.3}), tmp_path))
    assert sum(other["facts"]["skipped"].values()) == 2
    assert len(list((tmp_path / "datasets/pets/plans").iterdir())) == 1


def test_the_key_of_a_plan_covers_what_decides_on_its_items(photos: Path) -> None:
    changed: dict[str, Any] = {
        "train": "train",
        "test": "test",
        "classes": ("cat",),
        "resolution": 3,
        "color": "gray",
        "bits": 12,
        "max_pixels": 99,
        "fit": "stretch",
        "filter": "box",
    }
    config = photo_config(photos)
    keys = {name: identity(config.model_copy(update={name: value}), ImageFolder(config))[1] for name, value in changed.items()}
    assert len({*keys.values(), identity(config, ImageFolder(config))[1]}) == len(changed) + 1
    of_tables = {"config", "image_column", "label_column"}
    assert {*IngestConfig.model_fields} == AFTERWARDS | changed.keys() | of_tables | {"source", "uri", *OF_CLIPS}
    settings, key = identity(config, ImageFolder(config))
    assert not AFTERWARDS & settings.keys()
    (photos / "train/cat/00.png").unlink()
    assert identity(config, ImageFolder(config))[1] != key


def test_joining_reads_no_pixel_and_copies_none(photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any) -> None:
    config = photo_config(photos)
    plan_uri = plan_source(config, tmp_path)
    assert plan_uri is not None
    for part in open_plan(plan_uri).parts:
        ingest_part(config, plan_uri, part.number)
    for module, name in ((join_parts, "map_shard"), (join_parts, "image_digests"), (measure, "blocks"), (ingestion, "value_counts")):
        monkeypatch.setattr(module, name, pytest.fail)
    record = read_source(config, tmp_path)
    monkeypatch.undo()
    shards = sorted(Path(open_recorded(record).uri).glob("*.arrow"))
    parts = sorted((tmp_path / "datasets/pets/parts").rglob("*.arrow"))
    assert len(shards) == len(parts) == 6
    assert {path.stat().st_ino for path in shards} == {path.stat().st_ino for path in parts}, "hard links"


def test_a_part_that_was_damaged_is_named(photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any) -> None:
    config = photo_config(photos)
    plan_uri = str(plan_source(config, tmp_path))
    for part in open_plan(plan_uri).parts:
        ingest_part(config, plan_uri, part.number)
    with Path(part_uri(plan_uri, 3), "train-00000.arrow").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DamagedArtifact, match=r"00003/train-00000\.arrow has \d+ bytes instead of \d+: delete"):
        read_source(config, tmp_path)


@pytest.mark.parametrize("colors", [(1, 3), (3, 1), (1, 1)])
def test_parts_of_different_colors(write_folder: Any, pixels: Any, tmp_path: Path, colors: Sequence[int], request: Any) -> None:
    shapes = {1: (SIDE, SIDE), 3: (SIDE, SIDE, 3)}
    files = {
        f"{name}/{i:02d}.png": pixels(*shapes[color], seed=100 * color + i)
        for name, color in zip("ab", colors, strict=True)
        for i in range(12)
    }
    config = IngestConfig(source="folder", uri=str(write_folder(files | {"b/99.png": pixels(*shapes[colors[1]], seed=9)})), test="held_out")
    whole = content(read_source(config, tmp_path / "whole"))
    request.getfixturevalue("small_parts")
    assert content(read_source(config, tmp_path / "parts")) == whole
    assert open_recorded(read_source(config, tmp_path / "parts")).shape[0] == max(colors)


def test_images_of_different_parts_that_differ_in_size(write_folder: Any, pixels: Any, tmp_path: Path, small_parts: None) -> None:
    files = {f"{name}/{i:02d}.png": pixels(SIDE + (name == "b"), SIDE, 3, seed=i) for name in "ab" for i in range(PART)}
    config = IngestConfig(source="folder", uri=str(write_folder(files)))
    with pytest.raises(DataError, match=r"a/00\.png is 4 x 4, b/00\.png is 4 x 5 \(width x height\): set ingest\.resolution"):
        read_source(config, tmp_path / "store")


# What a process of its own does: small parts, a line for each file that is read, and a kill at one of them.
PROCESS = """
import os, signal, sys
from bilp.config import IngestConfig
from bilp.data import ingest_plan, ingestion
from bilp.data.sources.folder import source
ingest_plan.PART_BYTES, ingest_plan.LEAST_ITEMS = int(sys.argv[1]), 0
log, last, read = sys.argv[2], int(sys.argv[3]), source._read
count = 0
def logged(uri, path, size):
    global count
    count += 1
    with open(log, "a") as file:
        file.write(path + chr(10))
    if count == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(uri, path, size)
source._read = logged
config = IngestConfig(source="folder", uri=sys.argv[4], on_corrupt="skip")
print(getattr(ingestion, sys.argv[6])(config, sys.argv[5]))
"""


def process(log: Path, kill_at: int, photos: Path, root: Path, call: str = "read_source") -> subprocess.Popen[str]:
    size = HEADER_BYTES + PART * 3 * SIDE * SIDE
    arguments = [sys.executable, "-c", PROCESS, str(size), str(log), str(kill_at), str(photos), str(root), call]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_ingestion_goes_on_without_decoding_anything_twice(photos: Path, tmp_path: Path, small_parts: None) -> None:
    root, log = tmp_path / "killed", tmp_path / "log"
    config = photo_config(photos)
    plan = open_plan(str(plan_source(config, root)))
    for kill_at in (4, 15, 23):
        killed = process(log, kill_at, photos, root)
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
    published = {number for number in range(len(plan.parts)) if Path(part_uri(plan.artifact.uri, number), "_manifest.json").exists()}
    assert 0 < len(published) < len(plan.parts)
    done = [path for part in plan.parts if part.number in published for path in plan.items_of(part).paths()]
    before = Counter(log.read_text().splitlines())
    ended = process(log, 0, photos, root)
    output, errors = ended.communicate()
    assert ended.returncode == 0, errors
    after = Counter(log.read_text().splitlines())
    assert {path: after[path] for path in done} == {path: before[path] for path in done}
    assert all(after[path] > before[path] for path in {*plan.items["train"].paths(), *plan.items["test"].paths()} - {*done})
    read_source(config, tmp_path / "serial")
    assert stored_files(root) == stored_files(tmp_path / "serial")
    assert output.strip().endswith(open_recorded(read_source(config, root)).record.artifact.uri.rsplit("/", 1)[1])  # type: ignore[union-attr]


@pytest.mark.slow
def test_workers_and_two_joins_at_once_leave_what_one_process_leaves(photos: Path, tmp_path: Path, small_parts: None) -> None:
    config, root = photo_config(photos), tmp_path / "workers"
    plan_uri = str(plan_source(config, root))
    numbers = [part.number for part in open_plan(plan_uri).parts]
    script = (
        "import sys; from bilp.config import IngestConfig; from bilp.data.ingest_part import ingest_part\n"
        "config = IngestConfig(source='folder', uri=sys.argv[1], on_corrupt='skip')\n"
        "[ingest_part(config, sys.argv[2], int(number)) for number in sys.argv[3:]]"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, str(photos), plan_uri, *map(str, numbers[first::3])]) for first in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    joins = [process(tmp_path / "log", 0, photos, root) for _ in range(2)]
    outputs = [join.communicate() for join in joins]
    assert [join.returncode for join in joins] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert not (tmp_path / "log").exists(), "whoever joins reads no image"
    read_source(config, tmp_path / "serial")
    assert stored_files(root) == stored_files(tmp_path / "serial")


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(1, 20))
def test_parts_are_consecutive_and_end_with_files_where_they_can(files: list[int], rows: int) -> None:
    file = np.repeat(np.arange(len(files), dtype=np.int32), files)
    items = Items.of_rows(np.zeros(len(file), dtype=np.int64), "x")
    items = Items(**{**vars(items), "files": tuple(map(str, range(len(files)))), "file": file})
    parts = cut_parts(items, rows)
    assert [place for start, stop in parts for place in range(start, stop)] == list(range(len(items)))
    ends = set(np.cumsum(files).tolist())
    for start, stop in parts:
        assert 1 <= stop - start <= rows
        if stop not in ends:
            assert stop - start == rows
            assert not {place for place in ends if start + rows // 2 < place <= stop}


def test_a_plan_keeps_names_that_are_no_text(tmp_path: Path, pixels: Any, write_folder: Any, small_parts: None) -> None:
    root = write_folder({f"{name}/{i:02d}.png": pixels(SIDE, SIDE, 3, seed=ord(name) * 100 + i) for name in "ab" for i in range(PART)})
    (root / "a/00.png").rename(root / os.fsdecode(b"a/\xff.png"))
    config = IngestConfig(source="folder", uri=str(root))
    listed = ImageFolder(config).read().items["train"]
    plan = open_plan(str(plan_source(config, tmp_path / "store")))
    assert plan.items["train"].paths() == listed.paths()
    for name in ("labels", "offset", "length", "row_group", "row"):
        assert np.array_equal(getattr(plan.items["train"], name), getattr(listed, name))
    assert open_recorded(read_source(config, tmp_path / "store")).record.origins("train")[-1] != ""  # type: ignore[union-attr]


class Copy(ImageFolder):
    """A folder whose images have names of their own, listed in any order, as the tables and archives of a set hold them."""

    def __init__(self, config: IngestConfig, seed: int | None) -> None:
        super().__init__(config)
        self._seed = seed

    def read(self) -> Contents:
        found = super().read()
        items = {}
        for split, side in found.items.items():
            named = Items(**{**vars(side), "stems": pa.array([path.rpartition("/")[2] for path in side.paths()])})
            order = np.arange(len(side)) if self._seed is None else np.random.default_rng(self._seed).permutation(len(side))
            items[split] = named.take(order)
        return Contents(found.class_names, items, ("n2", "n1"), facts={"layout": "any", "listed": 48})


@pytest.mark.slow
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("settings", [{}, {"test": "held_out"}, {"label_noise": {"kind": "symmetric", "share": 0.3}}], ids=str)
def test_copies_in_different_orders_are_one_data_set(
    photos: Path, tmp_path: Path, settings: dict[str, Any], parts: bool, monkeypatch: Any, request: Any
) -> None:
    config = photo_config(photos, **settings)
    if parts:
        request.getfixturevalue("small_parts")
    found = {}
    for seed in (None, 0, 1):
        monkeypatch.setattr(ingestion, "open_source", lambda given, seed=seed: Copy(given, seed))
        found[seed] = open_recorded(read_source(config, tmp_path / f"store {seed}"))
    assert len({dataset.fingerprint for dataset in found.values()}) == 1
    for dataset in found.values():
        assert np.array_equal(dataset.train.images().numpy(), found[None].train.images().numpy())
        assert dataset.train.labels.tolist() == found[None].train.labels.tolist()
        assert dataset.origins("train") == found[None].origins("train")
        assert dataset.class_ids == ("n2", "n1")
        assert dataset.record is not None and dataset.record.facts.listing == {"layout": "any", "listed": 48}
    monkeypatch.setattr(ingestion, "open_source", lambda given: Copy(given, 1))
    other = open_recorded(read_source(config.model_copy(update={"order": "source"}), tmp_path / "store 1"))
    assert other.fingerprint != found[1].fingerprint


class Absent(ImageFolder):
    """A folder of which some training images are listed somewhere and missing."""

    def read(self) -> Contents:
        found = super().read()
        absent = tuple(Skipped("train", f"dog/{number}.png", "is listed and missing", 1) for number in range(2))
        return Contents(found.class_names, found.items, notes=found.notes, absent=absent)


@pytest.mark.parametrize("parts", [False, True])
def test_how_much_may_be_missing_or_damaged(photos: Path, tmp_path: Path, parts: bool, monkeypatch: Any, request: Any) -> None:
    if parts:
        request.getfixturevalue("small_parts")
    monkeypatch.setattr(ingestion, "open_source", Absent)
    with pytest.raises(
        DataError,
        match=r"\(train\): 4 of 38 listed are missing or damaged \(10\.5 %\)( when 36 of 48 were decoded)?, "
        r"most of class 'dog' \(15 % of 20\)"
        r".*or set ingest.most_corrupt higher",
    ):
        read_source(photo_config(photos, most_corrupt=0.1), tmp_path / "store")
    with pytest.raises(DataError, match="dog/0.png, dog/1.png: is listed and missing"):
        read_source(photo_config(photos, on_corrupt="refuse"), tmp_path / "store")
    record = open_recorded(read_source(photo_config(photos, most_corrupt=0.11), tmp_path / "store")).record
    assert record is not None
    reasons = {entry["origin"]: entry["reason"] for entry in json.loads(record.artifact.read("ledger.json"))}
    assert reasons["dog/1.png"] == "is listed and missing" and len(reasons) == 4
    for number in range(10):
        (photos / f"test/cat/{number:02d}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"\(test\): .*most of class 'cat' \(100 % of 10\).*or leave the class out by ingest.classes"):
        read_source(photo_config(photos, most_corrupt=1.0, test="test"), tmp_path / "store")


def test_what_the_listing_lacks_is_too_much_before_anything_is_decoded(
    photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ingestion, "open_source", Absent)
    monkeypatch.setattr(ingestion, "decode_part", pytest.fail)
    config = photo_config(photos, most_corrupt=0.05)
    for begin in (plan_source, read_source):
        with pytest.raises(
            DataError, match=r"2 of 38 listed .* \(5\.26 %\) before anything was decoded, most of class 'dog' \(10 % of 20\)"
        ):
            begin(config, tmp_path / "store")
        with pytest.raises(DataError, match="2 images cannot be used .dog/0.png, dog/1.png: is listed and missing"):
            begin(photo_config(photos, on_corrupt="refuse"), tmp_path / "store")


class Cut(ImageFolder):
    """A folder to which an archive belongs that was cut off."""

    def read(self) -> Contents:
        found = super().read()
        return Contents(found.class_names, found.items, absent=(Skipped("train", "more.tar", "cut off", None, 14),))


@pytest.mark.slow
def test_an_archive_that_is_cut_off_counts_for_all_that_it_has_lost(
    photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(ingestion, "open_source", Cut)
    with pytest.raises(DataError, match=r"14 of 50 listed are missing or damaged \(28 %\) before .*; such as more.tar: cut off: fetch"):
        read_source(photo_config(photos, most_corrupt=0.27), tmp_path / "store")
    record = open_recorded(read_source(photo_config(photos, most_corrupt=0.32), tmp_path / "store")).record
    assert record is not None
    assert record.facts.skipped.train == 16
    first, *others = json.loads(record.artifact.read("ledger.json"))
    assert first == {"split": "train", "origin": "more.tar", "reason": "cut off", "count": 14}
    assert len(others) == 2


def damage_first_part(photos: Path) -> None:
    """Of ten images in the first part six are damaged: 8 of 36 with those elsewhere, and a third of a class."""
    for number in range(4, 10):
        (photos / f"train/cat/{number:02d}.png").write_bytes(b"no image")


@pytest.mark.slow
def test_an_ingestion_stops_at_the_end_of_the_part_with_which_too_much_is_damaged(
    photos: Path, tmp_path: Path, small_parts: None, monkeypatch: Any
) -> None:
    damage_first_part(photos)
    config, decoded = photo_config(photos, most_corrupt=0.17), []
    decode = ingestion.decode_part
    monkeypatch.setattr(ingestion, "decode_part", lambda *given: (decoded.append(given[3].number), decode(*given))[1])
    for parts in ([0], []):
        with pytest.raises(DataError, match=r"7 of 36 listed .* when 10 of 48 were decoded, most of class 'cat' \(38\.9 % of 18\)"):
            read_source(config, tmp_path / "store")
        assert decoded == parts, "no further part, also by the next attempt"
        decoded.clear()
    assert sum(content(read_source(photo_config(photos, most_corrupt=0.23), tmp_path / "store"))["facts"]["skipped"].values()) == 8
    assert decoded == [1, 2, 3, 4, 5], "what was decoded before counts, and is there"


@pytest.mark.slow
def test_a_class_may_not_lose_more_than_half_of_its_images_either(photos: Path, tmp_path: Path, small_parts: None) -> None:
    for number in range(4, 13):
        (photos / f"train/cat/{number:02d}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"when 20 of 48 were decoded, most of class 'cat' \(55\.6 % of 18\).*leave the class out"):
        read_source(photo_config(photos, most_corrupt=0.9), tmp_path / "store")


@pytest.mark.slow
def test_workers_stop_as_well_when_too_much_is_damaged(photos: Path, tmp_path: Path, small_parts: None) -> None:
    damage_first_part(photos)
    config = photo_config(photos, most_corrupt=0.17)
    plan = open_plan(str(plan_source(config, tmp_path)))
    uri = plan.artifact.uri
    ingest_part(config, uri, 3)
    for number in (0, 2):
        with pytest.raises(DataError, match=r"listed are missing or damaged \(22\.2 %\) when 16 of 48 were decoded"):
            ingest_part(config, uri, number)
    assert [part.number for part in published_parts(plan)] == [0, 3]
    with pytest.raises(DataError, match=r"when 16 of 48 were decoded"):
        plan_source(config, tmp_path)
    assert ingest_part(config, uri, 3) == part_uri(uri, 3), "what is published is there whatever else is damaged"
