"""Every layout in which people have sets of clips gives the same classes, names and splits; what is missing or damaged is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicas import video_layouts as replica
from replicas.clip import clip

from bilp.config import IngestConfig
from bilp.config.clip_settings import SAMPLINGS
from bilp.config.ingest import OF_CLIPS
from bilp.config.sources import SOURCES
from bilp.data import open_dataset, read_source
from bilp.data.clips.conversion import chooser, convert_clip
from bilp.data.clips.from_settings import clip_conversion_of
from bilp.data.clips.sampling import Timeline
from bilp.data.contents import Contents, Source, check
from bilp.data.damage import Damage
from bilp.data.decode import Depth
from bilp.data.opening import DecodeError
from bilp.data.pipeline import decoded
from bilp.data.planning import identity
from bilp.data.source_record import open_record
from bilp.data.sources import open_source
from bilp.errors import ConfigError, DataError
from bilp.storage import objects


def source_of(root: Path, name: str, **settings: Any) -> tuple[Source, IngestConfig]:
    config = IngestConfig(source=name, uri=str(root), **{**SOURCES[name].ingest, **settings})
    return open_source(config), config


def listed(root: Path, name: str, **settings: Any) -> Contents:
    source, _ = source_of(root, name, **settings)
    contents = source.read()
    check(contents, str(root))
    return contents


def members(contents: Contents) -> dict[str, set[tuple[str, str]]]:
    """Class and name of each clip, by split."""
    found: dict[str, set[tuple[str, str]]] = {}
    for split, items in contents.items.items():
        assert items.stems is not None
        names = [contents.class_names[label] for label in items.labels.tolist()]
        found[split] = set(zip(names, items.stems.to_pylist(), strict=True))
        assert len(found[split]) == len(items)
    return found


EXPECTED = {
    "train": {(each.label, each.stem) for each in replica.kinetics_clips() if each.split == "train"},
    "test": {(each.label, each.stem) for each in replica.kinetics_clips() if each.split == "val"},
}


@pytest.fixture
def same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layouts look at names alone: no clips are made."""
    monkeypatch.setattr(replica, "content_of", lambda each: b"no video")


@pytest.mark.parametrize(
    ("write", "layout"),
    [
        (replica.kinetics_flat, "annotations"),
        (replica.kinetics_class_folders, "class folders"),
        (lambda root: replica.kinetics_class_folders(root, "_", ("videos_train", "videos_val")), "class folders"),
        (replica.kinetics_frames, "annotations"),
        (replica.kinetics_tars, "tars"),
        (replica.kinetics_shards, "webdataset"),
        (lambda root: replica.kinetics_shards(root, "json"), "webdataset"),
    ],
    ids=["as distributed", "class folders", "underscores", "frames", "tars", "shards", "shards, json"],
)
def test_kinetics_is_the_same_from_each_layout(write: Callable[[Path], None], layout: str, tmp_path: Path, same_bytes: None) -> None:
    write(tmp_path)
    contents = listed(tmp_path, "kinetics400")
    assert contents.class_names == replica.KINETICS
    assert members(contents) == EXPECTED
    assert contents.facts["source_layout"] == layout and contents.facts["missing"] == 0


@pytest.mark.parametrize("elsewhere", ["", "/data/k 400/"], ids=["relative", "of another machine"])
def test_kinetics_by_lists(elsewhere: str, tmp_path: Path, same_bytes: None) -> None:
    replica.kinetics_lists(tmp_path / "lists", elsewhere)
    for name in ("videos_train", "videos_val"):  # as people rearrange them, so that class folders are none of the usual ones
        (tmp_path / "lists" / name).rename(tmp_path / "lists" / f"my_{name}")
    contents = listed(tmp_path / "lists", "kinetics400")
    assert contents.class_names == replica.KINETICS and members(contents) == EXPECTED
    assert contents.facts["source_layout"] == "lists"
    assert [(skipped.split, skipped.origin) for skipped in contents.absent] == [("train", "17"), ("test", "17")]
    assert "kinetics400_train_list_videos.txt line 13: names no path and class" in contents.absent[0].reason


def test_damage_of_kinetics_is_told(tmp_path: Path, same_bytes: None) -> None:
    replica.kinetics_flat(tmp_path, damaged=True)
    contents = listed(tmp_path, "kinetics400")
    first, second, third = ([each for each in replica.kinetics_clips() if each.label == label] for label in replica.KINETICS)
    assert members(contents)["train"] == EXPECTED["train"] - {(replica.KINETICS[0], first[0].stem)}
    assert [(skipped.origin, skipped.reason) for skipped in contents.absent] == [
        (f"{first[0].stem}.mp4", "missing: listed in annotations/train.csv line 2")
    ]
    assert "17 of 18 listed clips are there: 1 missing" in contents.notes
    assert "passed over 1 clip of train that annotations/train.csv does not list" in contents.notes
    files = dict(zip(contents.items["train"].stems.to_pylist(), contents.items["train"].paths(), strict=True))  # type: ignore[union-attr]
    assert files[second[3].stem].startswith("replacement/")
    assert files[third[1].stem] == f"train/{third[1].stem[:11]}_000011_000021.mp4"


@pytest.mark.slow
def test_damaged_clips_of_kinetics_are_found_when_they_are_decoded(tmp_path: Path) -> None:
    replica.kinetics_flat(tmp_path, damaged=True)
    source, config = source_of(tmp_path, "kinetics400")
    contents, depth = source.read(), Depth()
    conversion = clip_conversion_of(config)
    assert conversion is not None
    reasons, shapes = {}, set()
    for items in contents.items.values():
        for origins, found in decoded(source.groups(items), conversion, depth, 2):
            for origin, pixels in zip(origins, found, strict=True):
                if isinstance(pixels, DecodeError):
                    reasons[origin] = str(pixels)
                else:
                    shapes.add(pixels.shape)
    first = [each for each in replica.kinetics_clips() if each.label == replica.KINETICS[0]]
    assert reasons == {
        f"train/{first[1].stem}.mp4": "empty file",
        f"train/{first[2].stem}.mp4": "damaged or truncated (moov atom not found)",
        f"val/{first[4].stem}.mp4": "holds no video stream, only sound",
    }
    assert shapes == {(8, 3, 64, 64)} and depth.short == 1


def test_frames_are_sorted_as_numbers_and_only_those_taken_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica.kinetics_frames(tmp_path)
    source, config = source_of(tmp_path, "kinetics400", frames=4, sampling="uniform", resolution=8)
    items = source.read().items["train"]
    read: list[str] = []
    plain = objects.read

    def noted(uri: str, **how: Any) -> bytes:
        read.append(uri)
        return plain(uri, **how)

    monkeypatch.setattr(objects, "read", noted)
    (group,) = source.groups(items.slice(0, 1))
    conversion = clip_conversion_of(config)
    assert conversion is not None and callable(group.images[0])
    pixels = convert_clip(group.images[0](), conversion, group.draws[0]).pixels
    assert pixels[:, 0, 0, 0].tolist() == [10 + 20 * number for number in (1, 4, 7, 10)]
    assert [Path(uri).name for uri in read] == ["2.png", "5.png", "8.png", "11.png"]


def test_ucf101_by_its_lists_and_by_its_groups(tmp_path: Path) -> None:
    replica.ucf101(tmp_path / "lists", b"clip")
    replica.ucf101(tmp_path / "alone", b"clip", lists=False)
    by_lists, by_groups = (listed(tmp_path / name, "ucf101") for name in ("lists", "alone"))
    assert by_lists.class_names == by_groups.class_names == replica.UCF
    assert members(by_lists) == members(by_groups)
    assert {stem for _, stem in members(by_lists)["test"]} == {
        f"v_{name}_g0{group}_c01" for name in ("ApplyEyeMakeup", "HandStandPushups") for group in (1, 2)
    }
    second = listed(tmp_path / "alone", "ucf101", split=2)
    assert {stem[-7:] for _, stem in members(second)["test"]} == {"g08_c01", "g09_c01"}


def test_miniucf_is_the_classes_of_its_list(tmp_path: Path) -> None:
    replica.ucf101(tmp_path, b"clip")
    with pytest.raises(DataError, match="holds no training clips of BalanceBeam, .*, which belong to miniUCF"):
        listed(tmp_path, "miniucf")


def test_hmdb51_leaves_out_what_its_division_does_not_use(tmp_path: Path) -> None:
    replica.hmdb51(tmp_path, b"clip")
    contents = listed(tmp_path, "hmdb51")
    assert contents.class_names == replica.HMDB
    odd = replica.ODD_NAME.removesuffix(".avi")
    assert members(contents)["train"] == {(label, name) for label in replica.HMDB for name in (f"{label}_0", odd)}
    assert len(contents.items["test"]) == 4
    assert any(note.startswith("left out 2 clips that published division 1 does not use") for note in contents.notes)
    assert len(listed(tmp_path, "hmdb51", unused="train").items["train"]) == 6
    (group,) = source_of(tmp_path, "hmdb51")[0].groups(contents.items["train"].slice(1, 2))
    assert callable(group.images[0]) and group.images[0]() == b"clip"  # a name with # & ; ( ) ! is no part of an address


@pytest.mark.parametrize(
    "form",
    [{}, {"clips": "videos/{}.mp4", "prefix": ""}],
    ids=["as distributed", "short names"],
)
def test_ssv2_takes_the_template_for_the_class(form: dict[str, str], tmp_path: Path) -> None:
    replica.ssv2(tmp_path, b"clip", **form)
    contents = listed(tmp_path, "ssv2")
    assert contents.class_names == ("Moving something up", "Holding something")  # in the order of their numbers
    assert {stem for name, stem in members(contents)["test"] if name == "Holding something"} == {"103", "104"}
    assert "passed over the clips of the test split: they have no labels" in contents.notes


def test_a_folder_of_clips(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("run", "walk"):
            for number in range(2):
                replica.write(tmp_path / split / label / f"{number}.mp4", b"clip")
    replica.write(tmp_path / "train" / "run" / "notes.txt", "no clip")
    contents = listed(tmp_path, "video_folder")
    assert contents.class_names == ("run", "walk") and [len(items) for items in contents.items.values()] == [4, 4]
    assert set(listed(tmp_path, "video_folder", test="held_out").items) == {"train"}
    assert listed(tmp_path, "video_folder", classes=("walk",)).class_names == ("walk",)
    assert set(listed(tmp_path / "train", "video_folder").items) == {"train"}
    asked = tmp_path / "asked.txt"
    asked.write_text("walk\n")
    before = source_of(tmp_path, "video_folder", classes=(str(asked),))[0]
    assert before.read().class_names == ("walk",) and (signature := before.signature())
    asked.write_text("run\n")
    after = source_of(tmp_path, "video_folder", classes=(str(asked),))[0]
    assert after.read().class_names == ("run",) and after.signature() != signature
    with pytest.raises(DataError, match="ingest.test 'dev' is no directory there: found 'test', 'train'"):
        listed(tmp_path, "video_folder", test="dev")


def test_each_window_of_a_test_clip_is_drawn_by_itself(tmp_path: Path) -> None:
    replica.hmdb51(tmp_path, b"clip")
    source, _ = source_of(tmp_path, "hmdb51", clips=3)
    contents = source.read()
    assert {split: len(items) for split, items in contents.items.items()} == {"train": 4, "test": 12}
    draws = [draw for group in source.groups(contents.items["test"]) for draw in group.draws]
    assert len(set(draws)) == 12
    again = source_of(tmp_path, "hmdb51", clips=3)[0]
    assert [draw for group in again.groups(contents.items["test"].slice(3, 6)) for draw in group.draws] == draws[3:6]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_parts_depend_on_the_seed_where_it_decides_on_frames(sampling: str, tmp_path: Path) -> None:
    replica.hmdb51(tmp_path, b"clip")
    long, keys, taken = Timeline.of_count(1000, Fraction(30)), set(), []
    for seed in (0, 1):
        source, config = source_of(tmp_path, "hmdb51", sampling=sampling, split_seed=seed)
        conversion = clip_conversion_of(config)
        assert conversion is not None
        keys.add(identity(config, source)[1])
        draws = [draw for group in source.groups(source.read().items["train"]) for draw in group.draws]
        taken.append([chooser(conversion, draw)(long).tolist() for draw in draws])
    assert (len(keys) == 2) == (taken[0] != taken[1]) == (sampling == "window")


def test_parts_depend_on_every_setting_of_clips(tmp_path: Path) -> None:
    replica.hmdb51(tmp_path, b"clip")
    changed = {"frames": 3, "sampling": "uniform", "fps": 3.0, "stride": 9, "pre_crop": "99", "clips": 2, "split": 2, "unused": "train"}
    assert changed.keys() == {*OF_CLIPS}
    source, config = source_of(tmp_path, "hmdb51")
    keys = {identity(config.model_copy(update={name: value}), source)[1] for name, value in changed.items()}
    assert len(keys | {identity(config, source)[1]}) == len(changed) + 1


def test_what_fits_no_layout_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    replica.write(tmp_path / "clips" / "a.mp4", b"clip")
    with pytest.raises(DataError, match=r"no known form of Kinetics-400: found clips/ \(a.mp4\); expected one of: class folders: "):
        listed(tmp_path, "kinetics400")


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.video_files])
def test_without_the_package_one_line_says_what_to_install(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica.write(tmp_path / "train" / "run" / "a.mp4", b"clip")
    monkeypatch.setattr("bilp.data.clips.decoder_package.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"PyAV, which is not installed: pip install 'bilp\[video\]'"):
        source_of(tmp_path, name)[0].read()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "digits", "frames": 4}, "'digits' does not read frames"),
        ({"source": "folder", "uri": "x", "sampling": "window"}, "does not read sampling"),
        ({"source": "kinetics400", "uri": "x", "split": 2}, "does not read split"),
        ({"source": "ucf101", "uri": "x", "unused": "train"}, "does not read unused"),
        ({"source": "kinetics400", "uri": "x", "sampling": "none_such"}, "Input should be 'uniform', 'middle' or 'window'"),
        ({"source": "kinetics400", "uri": "x", "resolution": 64, "pre_crop": "60"}, "smaller than resolution 64"),
        ({"source": "kinetics400", "uri": "x", "pre_crop": "60x"}, "is no size"),
        ({"source": "kinetics400", "uri": "x", "pre_crop": "60"}, "set resolution"),
        ({"source": "kinetics400", "uri": "x", "clips": 3}, "does not read clips: .* set sampling to window"),
        ({"source": "kinetics400", "uri": "x", "fps": 4.0}, "does not read fps: .* set sampling to middle"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IngestConfig(**settings)


@pytest.mark.slow
def test_the_same_clips_in_other_layouts_give_the_same_pixels(tmp_path: Path) -> None:
    replica.kinetics_flat(tmp_path / "flat")
    replica.kinetics_class_folders(tmp_path / "folders", "_")
    pixels = []
    for name in ("flat", "folders"):
        source, config = source_of(tmp_path / name, "kinetics400", sampling="window", resolution=16)
        items, conversion = source.read().items["train"], clip_conversion_of(config)
        assert conversion is not None and items.stems is not None
        found = [one for _, part in decoded(source.groups(items), conversion, Depth(), 2) for one in part]
        pixels.append(dict(zip(items.stems.to_pylist(), found, strict=True)))
    assert pixels[0].keys() == pixels[1].keys()
    assert all(np.array_equal(pixels[0][stem], pixels[1][stem]) for stem in pixels[0])


def test_the_clips_of_the_replica_differ() -> None:
    assert len({clip(label, number, 0.2) for label in range(2) for number in range(2)}) == 4


def test_clips_that_are_missing_count_towards_the_limit_of_their_class(tmp_path: Path) -> None:
    replica.kinetics_flat(tmp_path)
    lost = [each for each in replica.kinetics_clips() if each.label == replica.KINETICS[1] and each.split == "train"][:3]
    for each in lost:
        (tmp_path / "train" / f"{each.stem}.mp4").unlink()
    contents = listed(tmp_path, "kinetics400")
    config = IngestConfig(source="kinetics400", uri=str(tmp_path), on_corrupt="skip", most_corrupt=0.9)
    Damage(replace(contents, absent=contents.absent[:1]), config, "here").check()
    with pytest.raises(
        DataError, match=r"most of class \"massaging person's head\" \(75 % of 4\).* or leave the class out by ingest.classes"
    ):
        Damage(contents, config, "here").check()


@pytest.mark.slow
def test_copies_of_kinetics_become_one_data_set(tmp_path: Path) -> None:
    replica.kinetics_flat(tmp_path / "flat")
    replica.kinetics_class_folders(tmp_path / "folders", "_")
    replica.kinetics_flat(tmp_path / "damaged", damaged=True)
    settings = {**SOURCES["kinetics400"].ingest, "resolution": 32}
    allowed: dict[str, dict[str, Any]] = {"flat": {}, "folders": {}, "damaged": {"most_corrupt": None}}
    records = {
        name: open_record(read_source({"source": "kinetics400", "uri": str(tmp_path / name), **settings, **more}, str(tmp_path / "store")))
        for name, more in allowed.items()
    }
    assert records["flat"].facts.fingerprint == records["folders"].facts.fingerprint != records["damaged"].facts.fingerprint
    assert open_dataset(records["flat"].dataset_uri).train.images().shape == (12, 8, 3, 32, 32)
    assert (records["damaged"].facts.skipped.train, records["damaged"].facts.skipped.test) == (3, 1)
    told = r"\(train\): 1 of 12 listed are missing or damaged \(8\.33 %\) before anything was decoded, .* allows 5 % of a split"
    with pytest.raises(DataError, match=told) as stopped:
        read_source({"source": "kinetics400", "uri": str(tmp_path / "damaged"), **settings}, str(tmp_path / "store"))
    assert "\n" not in str(stopped.value) and "set ingest.most_corrupt higher" in str(stopped.value)
    with pytest.raises(DataError, match=r"\(train\): 3 of 12 listed are missing or damaged \(25 %\), .* allows 10 % of a split"):
        read_source({"source": "kinetics400", "uri": str(tmp_path / "damaged"), **settings, "most_corrupt": 0.1}, str(tmp_path / "store"))
