"""Clips within tars: of Kinetics as it is distributed, and any webdataset of clips, on disk and in object storage."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from replicas import video_layouts as replica
from replicas.imagenet_replica import tar_of

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data import ingest, open_dataset
from bilp.data.contents import Contents, Source
from bilp.data.items import Items
from bilp.data.sources import open_source
from bilp.data.tar import read_spans
from bilp.errors import DataError
from bilp.storage import objects


def opened(root: Path | str, name: str, **settings: Any) -> Source:
    return open_source(IngestConfig(source=name, uri=str(root), **{**SOURCES[name].ingest, **settings}))


def contents_of(source: Source, items: Items) -> dict[str, bytes]:
    """The bytes of each item, by what people are told of where it lies."""
    found: dict[str, bytes] = {}
    for group in source.groups(items):
        assert len(group.draws) == len(group.images)
        for origin, read in zip(group.origins, group.images, strict=True):
            assert callable(read)
            found[origin] = read()
    return found


def by_stem(source: Source, contents: Contents) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for items in contents.items.values():
        assert items.stems is not None
        found |= dict(zip(items.stems.to_pylist(), contents_of(source, items).values(), strict=True))
    return found


@pytest.fixture
def named_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clips are made where no clip is decoded: the bytes of each are its name."""
    monkeypatch.setattr(replica, "content_of", lambda each: each.stem.encode())


def copy_of(root: Path, remote: str) -> str:
    for path in root.rglob("*"):
        if path.is_file():
            objects.write(objects.join(remote, path.relative_to(root).as_posix()), path.read_bytes())
    return remote


WRITERS = (replica.kinetics_tars, replica.kinetics_shards)


@pytest.mark.parametrize("write", WRITERS)
def test_each_clip_of_a_tar_is_its_own_bytes_in_the_order_of_the_tar(write: Any, tmp_path: Path, named_bytes: None) -> None:
    write(tmp_path)
    source = opened(tmp_path, "kinetics400")
    contents = source.read()
    assert by_stem(source, contents) == {each.stem: each.stem.encode() for each in replica.kinetics_clips()}
    for items in contents.items.values():
        places = list(zip(items.paths(), items.offset.tolist(), strict=True))
        assert places == sorted(places)
        part = items.slice(3, 5)
        assert list(contents_of(opened(tmp_path, "kinetics400"), part)) == part.told()


def test_a_tar_that_is_cut_off_keeps_its_whole_clips_and_the_others_are_missing(tmp_path: Path, named_bytes: None) -> None:
    replica.kinetics_tars(tmp_path)
    place = tmp_path / "train" / "part_1.tar.gz"  # the one that is not compressed
    place.write_bytes(place.read_bytes()[: 3 * 1024 + 515])
    (tmp_path / "val" / "part_0.tar.gz").write_bytes(b"<html>not found</html>" * 40)
    contents = opened(tmp_path, "kinetics400").read()
    assert {split: len(items) for split, items in contents.items.items()} == {"train": 9, "test": 3}
    assert [each.split for each in contents.absent] == ["train"] * 3 + ["test"] * 3
    assert "12 of 18 listed clips are there: 6 missing" in contents.notes
    assert any(note.startswith("train/part_1.tar.gz/") and "cut off: 3 of 25 bytes are there" in note for note in contents.notes)
    assert any(note.startswith("val/part_0.tar.gz: damaged or cut off at byte 0") for note in contents.notes)


def test_tars_without_annotations_or_classes_say_what_is_needed(tmp_path: Path, named_bytes: None) -> None:
    replica.kinetics_tars(tmp_path)
    (tmp_path / "annotations" / "train.csv").unlink()
    with pytest.raises(DataError, match=r"no clip of the training tars has a class: .* put annotations/\{train,val\}.csv beside them"):
        opened(tmp_path, "kinetics400").read()


def shards(root: Path, labels: Sequence[str], split: str = "train") -> None:
    files: list[tuple[str, bytes]] = []
    for number, label in enumerate(labels):
        files += [(f"{number:04}.webm", f"{split} {number}".encode()), (f"{number:04}.cls", label.encode())]
    replica.write(root / f"{split}-0.tar", gzip.compress(tar_of(files)))


def test_a_webdataset_of_clips_is_read_as_one_of_pictures(tmp_path: Path) -> None:
    shards(tmp_path, ["10", "2", "10"])
    shards(tmp_path, ["2", "10"], "test")
    source = opened(tmp_path, "video_webdataset", sampling="window", clips=2)
    contents = source.read()
    assert contents.class_names == ("2", "10")
    assert {split: items.labels.tolist() for split, items in contents.items.items()} == {"train": [1, 0, 1], "test": [0, 0, 1, 1]}
    assert contents_of(source, contents.items["train"]) == {f"train-0.tar/{n:04}.webm": f"train {n}".encode() for n in range(3)}
    draws = [draw for items in contents.items.values() for group in source.groups(items) for draw in group.draws]
    assert len(set(draws)) == 7


def test_a_webdataset_of_clips_without_clips_is_one_line(tmp_path: Path) -> None:
    replica.write(tmp_path / "train-0.tar", tar_of([("0.jpg", b"x"), ("0.cls", b"0")]))
    with pytest.raises(
        DataError, match=r"no sample of the training shards has a clip and a label: train-0.tar/0: holds an image and not a clip"
    ):
        opened(tmp_path, "video_webdataset").read()


def test_a_span_that_comes_again_is_read_once(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"0123456789")
    with place.open("rb") as file:
        reads: list[int] = []
        plain = file.read

        class Counted:
            seek, tell = file.seek, file.tell

            def read(self, size: int) -> bytes:
                reads.append(size)
                return plain(size)

        assert list(read_spans(Counted(), [(2, 3), (2, 3), (5, 1), (2, 3)])) == [b"234", b"234", b"5", b"234"]  # type: ignore[arg-type]
    assert reads == [3, 1, 3]


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_tars_of_clips_are_read_in_object_storage_as_on_disk(write: Any, tmp_path: Path, s3_root: str, named_bytes: None) -> None:
    write(tmp_path)
    sources = [opened(place, "kinetics400") for place in (tmp_path, copy_of(tmp_path, s3_root))]
    here, there = (source.read() for source in sources)
    assert here.notes == there.notes and here.class_names == there.class_names
    assert by_stem(sources[0], here) == by_stem(sources[1], there) != {}


@pytest.mark.slow
def test_layouts_of_the_same_clips_are_one_data_set(tmp_path: Path) -> None:
    writers = {
        "flat": replica.kinetics_flat,
        "folders": lambda root: replica.kinetics_class_folders(root, "_"),
        "lists": replica.kinetics_lists,
        "tars": replica.kinetics_tars,
        "shards": replica.kinetics_shards,
    }
    found = set()
    for name, write in writers.items():
        write(tmp_path / name)
        config = IngestConfig(source="kinetics400", uri=str(tmp_path / name), **{**SOURCES["kinetics400"].ingest, "resolution": 16})
        dataset = open_dataset(ingest(config, str(tmp_path / "store")))
        found.add((dataset.fingerprint, str(dataset.train.index().to_pydict())))
    assert len(found) == 1
    assert len(dataset.train) == 12
