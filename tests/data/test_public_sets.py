"""One data set, many layouts: the same classes, labels and pixels from each, and what is wrong with a copy is said."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicas import imagenet_replica as imagenet
from replicas import tiny_imagenet_replica as tiny
from replicas.photo import photo

from bilp.config import IngestConfig
from bilp.config.command_line import configure
from bilp.data import ingest, open_dataset
from bilp.data.contents import Contents, Source
from bilp.data.decode import Conversion, Depth, decode
from bilp.data.opening import DecodeError
from bilp.data.pipeline import decoded
from bilp.data.sources import open_source
from bilp.errors import DataError
from bilp.storage import objects

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")

RULES = Conversion(color="rgb", resolution=16, orientation="ignore")
Table = dict[str, list[tuple[str, str, str]]]


def opened(root: Path | str, name: str = "imagenet1k", **settings: Any) -> Source:
    return open_source(IngestConfig(source=name, uri=str(root), **({"resolution": 16} | settings)))


def table(source: Source, contents: Contents) -> Table:
    """Of each split (class id, canonical name, digest of the pixels), sorted."""
    found: Table = {}
    for split, items in contents.items.items():
        assert contents.class_ids is not None
        assert items.stems is not None
        pixels = [each for _, part in decoded(source.groups(items), RULES, Depth(), 2) for each in part]
        assert not [each for each in pixels if isinstance(each, DecodeError)]
        digests = [hashlib.sha256(np.ascontiguousarray(each)).hexdigest() for each in pixels]  # type: ignore[arg-type]
        ids = [contents.class_ids[label] for label in items.labels.tolist()]
        found[split] = sorted(zip(ids, items.stems.to_pylist(), digests, strict=True))
    return found


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folders": imagenet.folders,
    "validation": lambda root: imagenet.folders(root, "validation"),
    "tars": imagenet.ilsvrc_tars,
    "half extracted": imagenet.half_extracted,
    "kaggle": imagenet.kaggle,
    "parquet": imagenet.hub_parquet,
    "webdataset": imagenet.webdataset,
    "webdataset, json": lambda root: imagenet.webdataset(root, ("jpg", "json")),
    "webdataset, cls": lambda root: imagenet.webdataset(root, ("jpg", "cls")),
}


@pytest.fixture(scope="module")
def of_folders(tmp_path_factory: pytest.TempPathFactory) -> Table:
    source = opened(imagenet.folders(tmp_path_factory.mktemp("reference")))
    return table(source, source.read())


FEW = ("tars", "parquet", "webdataset, cls")


@pytest.mark.parametrize("layout", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS])
def test_every_layout_of_imagenet_gives_the_same_classes_labels_and_pixels(layout: str, tmp_path: Path, of_folders: Table) -> None:
    source = opened(LAYOUTS[layout](tmp_path))
    contents = source.read()
    assert contents.class_ids == tuple(imagenet.CLASSES)
    assert contents.class_names == ("tench", "crane (n02012849)", "Shetland sheepdog", "kit fox", "crane (n03126707)", "parachute")
    assert {split: len(items) for split, items in contents.items.items()} == {"train": 24, "test": 12}
    assert table(source, contents) == of_folders
    assert contents.absent == ()
    named = {"folders": "folders", "validation": "folders", "tars": "tars of", "half extracted": "tars of", "kaggle": "Kaggle"}
    assert named.get(layout, "webdataset" if layout.startswith("web") else "Parquet") in contents.facts["source_layout"]
    assert (contents.facts["listed_train"], contents.facts["listed_test"], contents.facts["missing"]) == (24, 12, 0)
    assert f"layout: {contents.facts['source_layout']}" in contents.notes
    passed = [note for note in contents.notes if "test images have no published labels" in note or "have no label" in note]
    assert len(passed) == (layout in ("tars", "kaggle", "parquet"))


@pytest.mark.slow
def test_a_process_that_never_listed_the_source_reads_its_items(tmp_path: Path) -> None:
    for layout in ("tars", "parquet", "webdataset"):
        root = LAYOUTS[layout](tmp_path / layout)
        items = opened(root).read().items["train"].slice(5, 9)
        fresh = [each for group in opened(root).groups(items) for each in group.images]
        assert len(fresh) == 4
        whole = [each for group in opened(root).groups(opened(root).read().items["train"]) for each in group.images]
        assert [read() for read in fresh] == [read() for read in whole[5:9]]


@pytest.mark.slow
def test_kaggles_tree_may_be_given_from_any_level_and_its_table_counts(tmp_path: Path, of_folders: Table) -> None:
    imagenet.kaggle(tmp_path)
    for place in ("ILSVRC", "ILSVRC/Data/CLS-LOC"):
        source = opened(tmp_path / place)
        assert table(source, source.read()) == of_folders
    before = opened(tmp_path / "ILSVRC").signature()
    solution = tmp_path / "LOC_val_solution.csv"
    solution.write_bytes(solution.read_bytes() + b"\r\n")
    assert opened(tmp_path / "ILSVRC").signature() != before


def test_downsampled_batches_are_numbered_by_map_clsloc_and_mapped(tmp_path: Path) -> None:
    source = opened(imagenet.npz(tmp_path), resolution=None)
    contents = source.read()
    assert contents.class_ids == tuple(imagenet.CLASSES)
    for split, name in (("train", "train"), ("test", "val")):
        chosen = [one for one in imagenet.pictures() if one.split == name]
        ordered = [*chosen[::2], *chosen[1::2]] if split == "train" else chosen
        items = contents.items[split]  # type: ignore[index]
        assert [contents.class_ids[label] for label in items.labels.tolist()] == [one.wnid for one in ordered]
        pixels = np.concatenate([group.images for group in source.groups(items)])
        assert np.array_equal(pixels.transpose(0, 3, 1, 2), np.stack([imagenet.downsampled(one, 16) for one in ordered]))
        assert np.array_equal(np.concatenate([group.images for group in source.groups(items.slice(11, 13))]), pixels[11:13])


def test_pickled_batches_and_objects_are_refused_and_arrays_checked(tmp_path: Path) -> None:
    (tmp_path / "train_data_batch_1").write_bytes(b"\x80\x04}")
    with pytest.raises(DataError, match=r"train_data_batch_1 are pickles.*never read: fetch the .npz"):
        opened(tmp_path).read()
    np.savez(tmp_path / "train_data_batch_1.npz", data=np.zeros((2, 12), np.uint8), labels=np.array([1, None], dtype=object))
    with pytest.raises(DataError, match=r"array 'labels' holds Python objects \(a pickle\)"):
        opened(tmp_path).read()
    for arrays, problem in (
        ({"data": np.zeros((2, 12), np.uint8), "labels": np.array([1, 1001])}, r"label 1001 of row 1 is outside 1..1000"),
        (
            {"data": np.zeros((2, 13), np.uint8), "labels": np.array([1, 2])},
            r"data is uint8 \[2, 13\], expected uint8 \[n, 3 \* side \* side\]",
        ),
        ({"data": np.zeros((2, 12), np.uint8)}, r"no array labels: found data"),
        ({"data": np.zeros((2, 12), np.uint8), "labels": np.array([1.5, 2])}, r"labels are float64 \[2\], expected 2 integers"),
    ):
        np.savez(tmp_path / "train_data_batch_1.npz", **arrays)
        with pytest.raises(DataError, match=problem):
            opened(tmp_path).read()
    place = tmp_path / "train_data_batch_1.npz"
    place.write_bytes(place.read_bytes()[:200])
    with pytest.raises(DataError, match=r"is no readable .npz"):
        opened(tmp_path).read()


@pytest.mark.slow
def test_a_part_of_the_classes_is_named_after_a_subset_or_asked_for(tmp_path: Path) -> None:
    root = imagenet.folders(tmp_path / "imagenet")
    with pytest.raises(DataError, match=r"no training images of 'n02102040 English springer'"):
        opened(root, "imagenette").read()
    asked = tmp_path / "classes.txt"
    asked.write_text("n03126707 crane\nParachute\n")
    for classes in (("n03126707", "parachute"), ("n03126707", "n03888257"), (str(asked),)):
        contents = opened(root, classes=classes).read()
        assert contents.class_ids == ("n03126707", "n03888257")
        assert [len(items) for items in contents.items.values()] == [8, 4]
    before = opened(root, classes=(str(asked),)).signature()
    asked.write_text("n03126707\n")
    assert opened(root, classes=(str(asked),)).signature() != before
    for classes, problem in (
        (("crane",), r"'crane' is the name of n02012849 and n03126707: give the id"),
        (("zebra crossing",), r"'zebra crossing' not among the 1,000 classes of ImageNet-1K"),
        (("parachute", "n03888257"), r"'n03888257' twice"),
        ((str(tmp_path / "none.txt"),), r"nothing lies there"),
    ):
        with pytest.raises(DataError, match=problem):
            opened(root, classes=classes).read()


def test_a_resolution_is_required_where_images_differ_in_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"differ in size: set ingest.resolution .*64"):
        opened(imagenet.folders(tmp_path), resolution=None).read()


def test_what_is_no_layout_is_answered_with_what_was_found_and_all_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "beach.jpg").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"no known form of ImageNet-1K: found holidays/ \(beach.jpg\), notes.txt; expected one of: Parquet"
    ) as caught:
        opened(tmp_path).read()
    for known in ("downsampled npz", "tars of ILSVRC 2012", "Kaggle CLS-LOC", "folders", "webdataset"):
        assert known in str(caught.value)


def test_loose_validation_images_without_labels_are_refused_with_the_remedy(tmp_path: Path) -> None:
    imagenet.kaggle(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match=r"the validation images lie loose.*ILSVRC2012_devkit_t12.tar.gz or LOC_val_solution.csv"):
        opened(tmp_path / "ILSVRC").read()


@pytest.mark.slow
def test_labels_and_images_that_do_not_fit_are_told_one_by_one(tmp_path: Path) -> None:
    imagenet.kaggle(tmp_path)
    val = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    (val / "ILSVRC2012_val_00000002.JPEG").unlink()
    (val / "ILSVRC2012_val_00000077.JPEG").write_bytes(photo(0, 0))
    (val / "Thumbs.db").write_bytes(b"x")
    (val / "._ILSVRC2012_val_00000001.JPEG").write_bytes(b"x")
    absent = [(each.split, each.origin, each.reason) for each in opened(tmp_path).read().absent]
    assert absent == [
        ("test", "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000077.JPEG", "has no label in LOC_val_solution.csv"),
        ("test", "ILSVRC2012_val_00000002.JPEG", "is missing: it has a label in LOC_val_solution.csv"),
    ]
    solution = tmp_path / "LOC_val_solution.csv"
    solution.write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,tench 1 2 3 4\n")
    with pytest.raises(DataError, match=r"LOC_val_solution.csv line 2: PredictionString begins with 'tench', expected a WordNet id"):
        opened(tmp_path).read()


@pytest.mark.slow
def test_a_truncated_tar_keeps_its_whole_pictures_and_tells_of_the_rest(tmp_path: Path) -> None:
    imagenet.ilsvrc_tars(tmp_path)
    place = tmp_path / "ILSVRC2012_img_train.tar"
    place.write_bytes(place.read_bytes()[:-30000])
    contents = opened(tmp_path).read()
    assert 18 < len(contents.items["train"]) < 24
    one, rest = contents.absent
    assert "n03888257.tar/n03888257_" in one.origin
    assert "cut off" in one.reason
    assert one.label == 5
    assert rest.count == 1_281_167 - len(contents.items["train"]) - one.count
    assert rest.origin == place.name and rest.reason.startswith("cut off: only ") and f"about {rest.count:,} images" in rest.reason


def tar_of_classes(wnids: list[str], count: int) -> bytes:
    """A tar of tars of so many files each, of which nobody looks at the content."""
    rng = np.random.default_rng(0)
    inner = {
        f"{wnid}.tar": imagenet.tar_of((f"{wnid}_{number}.JPEG", rng.bytes(int(rng.integers(20_000, 40_000)))) for number in range(count))
        for wnid in wnids
    }
    return imagenet.tar_of(inner.items())


@pytest.mark.slow
def test_what_a_cut_tar_has_lost_is_counted_by_its_sizes_and_by_what_is_published(tmp_path: Path) -> None:
    imagenet.ilsvrc_tars(tmp_path)
    place = tmp_path / "ILSVRC2012_img_train.tar"
    first, second, *_ = wnids = list(imagenet.CLASSES)
    whole = tar_of_classes(wnids[:3], 60)
    place.write_bytes(whole[: len(whole) // 2])  # in the middle of the second of three classes
    contents = opened(tmp_path).read()
    there = np.bincount(contents.items["train"].labels, minlength=2).tolist()
    assert there[0] == 60 and 20 < there[1] < 40
    of_class, rest = contents.absent
    assert contents.class_ids == (first, second)
    assert of_class.label == 1 and abs(of_class.count - (60 - there[1])) <= 4
    assert of_class.reason.endswith(f"(about {of_class.count} images)") and of_class.entry["count"] == of_class.count
    assert rest.label is None and rest.count == 1_281_167 - sum(there) - of_class.count
    assert contents.facts["missing"] == of_class.count + rest.count
    part = opened(tmp_path, classes=(first, second)).read()
    assert [each.count for each in part.absent] == [of_class.count], "of classes that are asked for nobody knows what was published"


@pytest.mark.slow
def test_what_a_cut_tar_of_one_class_or_a_cut_shard_has_lost_is_what_was_published(tmp_path: Path) -> None:
    imagenet.half_extracted(tmp_path / "tars")
    place = next((tmp_path / "tars/train").glob("*.tar"))
    place.write_bytes(place.read_bytes()[:9000])
    contents = opened(tmp_path / "tars").read()
    (one,) = contents.absent
    assert one.label == list(imagenet.CLASSES).index(place.stem)
    assert one.count == 1300 - contents.items["train"].labels.tolist().count(one.label)
    imagenet.webdataset(tmp_path / "shards")
    shard = tmp_path / "shards/imagenet1k-train-0000.tar"
    shard.write_bytes(shard.read_bytes()[:-30000])
    contents = opened(tmp_path / "shards").read()
    assert contents.absent[-1].count == 1_281_167 - len(contents.items["train"]) - len(contents.absent) + 1


def test_classes_that_a_cut_tar_has_lost_are_told(tmp_path: Path) -> None:
    imagenet.ilsvrc_tars(tmp_path)
    place = tmp_path / "ILSVRC2012_img_train.tar"
    place.write_bytes(place.read_bytes()[: place.stat().st_size * 2 // 3])
    contents = opened(tmp_path).read()
    assert len(contents.class_names) == 4
    assert "left out the test images of 2 classes without training images: 'n03126707', 'n03888257'" in contents.notes
    for split in contents.items:
        assert set(contents.items[split].labels.tolist()) == set(range(4))


@pytest.mark.slow
def test_a_devkit_that_does_not_fit_is_named(tmp_path: Path) -> None:
    imagenet.half_extracted(tmp_path)
    truth = tmp_path / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("1\n7\n")
    with pytest.raises(DataError, match=r"ground_truth.txt line 2: 7 is no id of 6 synsets in meta.mat"):
        opened(tmp_path).read()
    truth.write_text("1\n")
    assert len(opened(tmp_path).read().absent) == 11
    (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"none")
    with pytest.raises(DataError, match=r"meta.mat: is no table of synsets"):
        opened(tmp_path).read()


@pytest.mark.slow
def test_samples_of_shards_without_a_label_or_with_two_images_are_told(tmp_path: Path) -> None:
    imagenet.webdataset(tmp_path)
    picture = photo(0, 1)
    files = [
        ("n01440764_9.jpg", picture),
        ("n01440764_9.cls", b"0"),
        ("000.jpg", picture),
        ("001.a.jpg", picture),
        ("001.b.jpg", picture),
        ("001.cls", b"0"),
    ]
    files += [("002.cls", b"0"), ("003.jpg", picture), ("003.json", b'{"label": 0')]
    (tmp_path / "imagenet1k-train-0002.tar").write_bytes(imagenet.tar_of(files))
    contents = opened(tmp_path).read()
    assert len(contents.items["train"]) == 25
    told = {each.origin.rpartition("/")[2]: each.reason for each in contents.absent}
    assert set(told) == {"000.jpg", "001", "002", "003.jpg"}
    assert "has no label" in told["000.jpg"]
    assert "holds 2 items under one key, which ends at the first dot: 001.a.jpg, 001.b.jpg" in told["001"]
    assert "holds none of" in told["002"]
    assert "003.json" in told["003.jpg"]
    (tmp_path / "imagenet1k-train-0003.tar").write_bytes(imagenet.tar_of([("1.jpg", picture), ("1.cls", b"1000")]))
    with pytest.raises(DataError, match=r"label 1000 is outside 0..999: these are no shards of ImageNet-1K"):
        opened(tmp_path).read()


TINY: dict[str, Callable[[Path], Path]] = {
    "original tree": tiny.original,
    "folders": lambda root: tiny.original(root, "classes"),
    "folders with images": lambda root: tiny.original(root, "classes/images"),
    "Parquet of the hub": tiny.hub_parquet,
}


@pytest.mark.slow
def test_every_layout_of_tinyimagenet_gives_the_same_in_the_order_of_sorted_ids(tmp_path: Path) -> None:
    found = {}
    for name, write in TINY.items():
        source = opened(write(tmp_path / name / "tiny-imagenet-200"), "tiny_imagenet", resolution=None)
        contents = source.read()
        assert contents.class_ids == tuple(sorted(tiny.WNIDS))
        assert contents.class_names == ("goldfish", "black widow", "Egyptian cat")
        assert contents.facts["source_layout"] == name.partition(" with")[0]
        assert {split: len(items) for split, items in contents.items.items()} == {"train": 12, "test": 6}
        found[name] = table(source, contents)
    assert all(each == found["original tree"] for each in found.values())
    source = opened(tiny.hub_parquet(tmp_path / "nameless", paths=False), "tiny_imagenet", resolution=None)
    contents = source.read()
    assert contents.items["train"].stems is None
    assert "train: the images have no canonical names, so that their order is that of the source" in contents.notes


@pytest.mark.slow
def test_annotations_that_are_missing_or_damaged_are_told(tmp_path: Path) -> None:
    root = tiny.original(tmp_path / "tiny")
    annotations = root / "val" / "val_annotations.txt"
    text = annotations.read_text()
    annotations.write_text(text.replace("val_1.JPEG", "val_11.JPEG"))
    absent = [(each.origin, each.reason) for each in opened(root, "tiny_imagenet", resolution=None).read().absent]
    assert absent == [
        ("val/images/val_1.JPEG", "has no class in val_annotations.txt"),
        ("val/val_11.JPEG", "is missing: it has a class in val_annotations.txt"),
    ]
    annotations.write_text(text + "val_9.JPEG\tn01443537\t0\n")
    with pytest.raises(DataError, match=r"val_annotations.txt line 7: has 3 fields, expected 6"):
        opened(root, "tiny_imagenet").read()
    annotations.unlink()
    with pytest.raises(DataError, match=r"val/ holds images without classes: put val_annotations.txt beside them"):
        opened(root, "tiny_imagenet").read()
    shutil.rmtree(root / "val")
    assert list(opened(root, "tiny_imagenet").read().items) == ["train"]


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folders", "tars", "half extracted", "kaggle", "parquet", "webdataset"])
def test_layouts_are_read_in_object_storage_as_on_disk(layout: str, s3_root: str, tmp_path: Path, of_folders: Table) -> None:
    for path in LAYOUTS[layout](tmp_path).rglob("*"):
        if path.is_file():
            objects.write(objects.join(s3_root, path.relative_to(tmp_path).as_posix()), path.read_bytes())
    source = opened(s3_root)
    contents = source.read()
    assert table(source, contents) == of_folders
    assert contents.notes == opened(tmp_path).read().notes


@pytest.mark.s3
@pytest.mark.slow
def test_downsampled_batches_and_tinyimagenet_are_read_in_object_storage_as_on_disk(s3_root: str, tmp_path: Path) -> None:
    for name, write in (("imagenet1k", imagenet.npz), ("tiny_imagenet", tiny.original)):
        local, remote = write(tmp_path / name), objects.join(s3_root, name)
        for path in local.rglob("*"):
            if path.is_file():
                objects.write(objects.join(remote, path.relative_to(local).as_posix()), path.read_bytes())
        sources = [opened(place, name, resolution=None) for place in (local, remote)]
        here, there = (source.read() for source in sources)
        assert here.class_ids == there.class_ids
        for split in here.items:
            pixels = [
                [
                    np.asarray(each)
                    for _, part in decoded(source.groups(contents.items[split]), Conversion("rgb"), Depth(), 2)
                    for each in part
                ]
                for source, contents in zip(sources, (here, there), strict=True)
            ]
            assert all(np.array_equal(one, other) for one, other in zip(*pixels, strict=True))


@pytest.mark.slow
def test_seven_layouts_of_the_same_pictures_are_one_data_set(tmp_path: Path) -> None:
    layouts = [*LAYOUTS.items(), *((f"tiny {name}", write) for name, write in TINY.items())]
    found: dict[str, set[tuple[str, str]]] = {"imagenet1k": set(), "tiny_imagenet": set()}
    for name, write in layouts:
        source = "tiny_imagenet" if name.startswith("tiny") else "imagenet1k"
        config = IngestConfig(source=source, uri=str(write(tmp_path / name)), resolution=16, color="rgb")
        dataset = open_dataset(ingest(config, str(tmp_path / "store")))
        assert dataset.name == source
        found[source].add((dataset.fingerprint, str(dataset.train.index().to_pydict())))
    assert {source: len(each) for source, each in found.items()} == {"imagenet1k": 1, "tiny_imagenet": 1}


def test_a_public_set_is_ingested_with_published_constants_and_upright_pixels(tmp_path: Path) -> None:
    root = imagenet.webdataset(tmp_path / "shards", ("jpg", "cls"))
    dataset = open_dataset(ingest(IngestConfig(source="imagenet1k", uri=str(root), resolution=16), str(tmp_path / "store")))
    assert (dataset.name, dataset.shape, len(dataset.train), len(dataset.test)) == ("imagenet1k", (3, 16, 16), 24, 12)
    assert dataset.mean == (0.485, 0.456, 0.406)
    (one,) = [one for one in imagenet.pictures() if one.stem == "ILSVRC2012_val_00000003"]
    upright = hashlib.sha256(decode(one.data, RULES).tobytes()).hexdigest()
    assert upright in dataset.test.index()["sha256"].to_pylist()


def test_explain_says_which_layout_lies_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(place: Path) -> str:
        with pytest.raises(SystemExit):
            configure(["--dataset=imagenet1k", f"--ingest.uri={place}", "--explain", "changed"], "program", "")
        return capsys.readouterr().out.splitlines()[-1]

    for layout, name in (("folders", "folders"), ("tars", "tars of ILSVRC 2012"), ("kaggle", "Kaggle CLS-LOC")):
        assert told(LAYOUTS[layout](tmp_path / layout)) == f"layout: {name}"
    (tmp_path / "empty").mkdir()
    assert "no known form of ImageNet-1K: found nothing" in told(tmp_path / "empty")
    assert "no directory lies there" in told(tmp_path / "none")
