"""Layouts of image folders that people have: each is understood, with a word about it, or refused with the setting that decides."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data import Dataset, open_recorded, read_source
from bilp.data.contents import Contents
from bilp.data.sources.folder.source import ImageFolder
from bilp.errors import DataError

TWO = ("cat", "dog")
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def expand(pattern: str) -> list[str]:
    """The paths that a pattern with {alternatives} stands for."""
    group = re.search(r"\{([^{}]*)\}", pattern)
    if group is None:
        return [pattern]
    return [path for one in group[1].split(",") for path in expand(pattern[: group.start()] + one + pattern[group.end() :])]


def write(root: Path, layout: str) -> Path:
    """Files of a layout (patterns separated by spaces, directories with a slash at the end); *.png are images, all different."""
    for number, path in enumerate(name for pattern in layout.split(" ") for name in expand(pattern)):
        target = root / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_bytes(image(number) if path.endswith(".png") else b"x")
    return root


def image(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def read(root: Path, **settings: Any) -> Contents:
    return ImageFolder(IngestConfig(source="folder", uri=str(root), **settings)).read()


def origins(contents: Contents, split: Any) -> list[str]:
    return contents.items[split].told()


def load(root: Path, **settings: Any) -> Dataset:
    return open_recorded(read_source(IngestConfig(source="folder", uri=str(root), **settings), str(root.parent / "store")))


def counts(dataset: Dataset) -> tuple[int, int]:
    return len(dataset.train), len(dataset.test)


# layout; classes; training and test images (of six a class, one is held out); what is said
UNDERSTOOD = {
    "capital": ("{Training/{a,b}/{1,2,3}.png,Testing/{a,b}/{1,2}.png}", ("a", "b"), (6, 4), r"are in Training/; .* are in Testing/"),
    "capital short": ("{Train/{a,b}/{1,2,3}.png,Test/{a,b}/{1,2}.png}", ("a", "b"), (6, 4), r"are in Train/; .* are in Test/"),
    "dev": ("{train,dev}/{cat,dog}/{1,2}.png", TWO, (4, 4), "in dev/"),
    "eval": ("{train,eval}/{cat,dog}/{1,2}.png", TWO, (4, 4), "in eval/"),
    "kaggle1": ("{train1,test1}/{cat,dog}/{1,2}.png", TWO, (4, 4), "in train1/; .* in test1/"),
    "seg": ("{seg_train/seg_train,seg_test/seg_test,seg_pred/seg_pred}/{cat,dog}/{1,2}.png", TWO, (4, 4), r"passed over seg_pred/"),
    "wrapper": ("mydata/{cat,dog}/{1,2,3,4,5,6}.png", TWO, (10, 2), r"looked into mydata/"),
    "wrapper_split": ("mydata/{train,test}/{cat,dog}/{1,2}.png", TWO, (4, 4), r"looked into mydata/"),
    "images": ("images/{train,val}/{cat,dog}/{1,2}.png", TWO, (4, 4), r"in images/train/; .* in images/val/"),
    "macosx": ("{cat,dog}/{1,2,3,4,5,6}.png __MACOSX/{cat,dog}/._{1,2}.png", TWO, (10, 2), r"ignored 1 .*__MACOSX \(1\)"),
    "dsstore": (
        "{cat,dog}/{1,2,3,4,5,6}.png {cat,dog}/{.DS_Store,Thumbs.db} {cat,dog}/.ipynb_checkpoints/{1,2}.png",
        TWO,
        (10, 2),
        r"ignored 6 hidden .*: \.DS_Store \(2\), \.ipynb_checkpoints \(2\), Thumbs\.db \(2\)",
    ),
    "eadir": ("{cat,dog}/{1,2,3,4,5,6}.png {cat,dog}/@eaDir/1.png/SYNOPHOTO_THUMB_XL.png", TWO, (10, 2), r"@eaDir \(2\)"),
    "recycled": ("{cat,dog}/{1,2,3}.png $RECYCLE.BIN/x/1.png lost+found/ cat/1.png:Zone.Identifier", TWO, (4, 2), r"\$RECYCLE\.BIN \(1\)"),
    "emnist": ("{A,B,a,b}/{1,2,3,4,5,6}.png", ("A", "B", "a", "b"), (20, 4), "held out"),
    "meta": ("{cat,dog}/{1,2,3}.png README.md metadata.csv", TWO, (4, 2), r"passed over 2 files directly in the top directory: README\.md"),
    "case": ("train/{Cat,Dog}/{1,2}.png test/{cat,dog}/{1,2}.png", ("Cat", "Dog"), (4, 4), r"cat is Cat, dog is Dog"),
    "nfd": (f"train/{{{NFC},thé}}/{{1,2}}.png test/{{{NFD},thé}}/{{1,2}}.png", (NFC, "thé"), (4, 4), "in train/"),
    "few": ("{train,test}/{cat,dog}/1.png", TWO, (2, 2), "in train/"),
    "one_class": ("cat/{1,2,3,4,5,6}.png", ("cat",), (5, 1), "held out"),
    "odd": ("{#1,-rf,007,50%,[z],q?*,a&b}/{1,2}.png", ("#1", "-rf", "007", "50%", "[z]", "a&b", "q?*"), (7, 7), "held out"),
    "validation": ("{train,Validation}/{cat,dog}/{1,2}.png test/{1,2}.png", TWO, (4, 4), r"passed over test/: it holds 2 files"),
}


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_a_layout_is_understood_and_said(tmp_path: Path, case: str) -> None:
    layout, names, sizes, said = UNDERSTOOD[case]
    root = write(tmp_path / "photos", layout)
    dataset = load(root)
    assert (dataset.class_names, counts(dataset)) == (names, sizes)
    notes = read(root).notes
    assert re.search(said, "\n".join(notes))
    assert all("\n" not in note for note in notes)


# Layouts of the same kinds: classes, first training image, first test image ('' is none), and a note.
ALIKE = [
    ("{TRAINING_SET,TEST_SET}/{cat,dog}/1.png", {}, "TRAINING_SET/cat/1.png", "TEST_SET/cat/1.png", ""),
    ("{train2017,val2017}/{cat,dog}/1.png annotations/a.json", {}, "train2017/cat/1.png", "val2017/cat/1.png", "passed over annotations/"),
    ("{MyTrainData,MyTestData}/{cat,dog}/1.png", {}, "MyTrainData/cat/1.png", "MyTestData/cat/1.png", ""),
    ("train/{cat,dog}/1.png test_set/{cat,dog}/1.png extra/1.png", {}, "train/cat/1.png", "test_set/cat/1.png", "passed over extra/"),
    ("a/b/{Train/x,Val/y}/{cat,dog}/1.png", {}, "a/b/Train/x/cat/1.png", "a/b/Val/y/cat/1.png", "looked into a/b/Val/y/"),
    ("train_test_split/{train,test}/{cat,dog}/1.png", {}, "train_test_split/train/cat/1.png", "train_test_split/test/cat/1.png", ""),
    ("train/{train,test}/{cat,dog}/1.png", {}, "train/train/cat/1.png", "train/test/cat/1.png", "looked into train/"),
    (
        "{train,test,val}/{cat,dog}/1.png dev/1.png",
        {},
        "train/cat/1.png",
        "test/cat/1.png",
        "passed over val/, dev/|passed over dev/, val/",
    ),
    ("train/{cat,dog}/1.png test/unknown/1.png valid/{cat,dog}/1.png", {}, "train/cat/1.png", "valid/cat/1.png", "unknown, is no class"),
    ("train/{cat,dog}/1.png test/ val/{cat,dog}/1.png", {}, "train/cat/1.png", "val/cat/1.png", "passed over test/: it is empty"),
    ("{cat,dog}/1.png test/{cat,dog}/1.png", {}, "cat/1.png", "test/cat/1.png", "top directory; .* test/"),
    ("{cat,dog}/{train,test}/1.png", {}, "cat/train/1.png", "cat/test/1.png", "each class holds its own splits"),
    ("{cat,dog}/{train,val,test}/1.png", {}, "cat/train/1.png", "cat/test/1.png", "passed over cat/val/, dog/val/"),
    ("cat/{train,val,test}/1.png dog/{train,val}/1.png", {}, "cat/train/1.png", "cat/val/1.png", "passed over cat/test/: .* cat/val/"),
    ("images/{cat,dog}/1.png labels/{cat,dog}/1.txt", {}, "images/cat/1.png", "", "looked into images/"),
    ("{cat,dog}/images/1.png", {}, "cat/images/1.png", "", "within a class"),
    ("{cat,dog}/1.png {cat/_vti_cnf,found.000,RECYCLER}/1.png dog/Picasa.ini", {}, "cat/1.png", "", "ignored 4"),
    ("{cat,dog}/deep/1.png", {}, "cat/deep/1.png", "", "images in directories within a class"),
    ("my_test/{cat,dog}/1.png", {}, "my_test/cat/1.png", "", "looked into my_test/"),
    ("mydata/{cat,dog}/1.png cover.png docs/a.pdf", {}, "mydata/cat/1.png", "", "passed over 1 file .*: cover.png"),
    ("{cat,dog}/1.png annotations/{1,2}.xml", {}, "cat/1.png", "", "passed over annotations/: no file there is an image"),
    # by settings
    ("{photos,other}/{cat,dog}/1.png", {"train": "photos"}, "photos/cat/1.png", "", "in photos/; a test split is held out"),
    ("{photos,other}/{cat,dog}/1.png", {"train": "photos", "test": "other/"}, "photos/cat/1.png", "other/cat/1.png", "in other/"),
    ("{a,b}/{fit,hold}/{cat,dog}/1.png", {"train": "*/fit", "test": "*/hold"}, "a/fit/cat/1.png", "a/hold/cat/1.png", "in a/fit/, b/fit/"),
    ("{train1,train2,test}/{cat,dog}/1.png", {"train": "train?"}, "train1/cat/1.png", "test/cat/1.png", "in train1/, train2/"),
    ("{train,test}/{cat,dog}/1.png", {"test": "held_out"}, "train/cat/1.png", "", "passed over test/: ingest.test is held_out"),
    ("train/{cat,dog}/1.png test/1.png", {"test": "held_out"}, "train/cat/1.png", "", "passed over test/"),
    ("{train,test,val}/{cat,dog}/1.png", {"test": "val"}, "train/cat/1.png", "val/cat/1.png", "passed over test/: ingest.test is val"),
    ("{cat,dog,test}/1.png", {"test": "held_out"}, "cat/1.png", "", "passed over test/"),
    (
        "{cat,dog}/1.png hold/{cat,dog}/1.png",
        {"train": ".", "test": "hold"},
        "cat/1.png",
        "hold/cat/1.png",
        "in the top directory; .* hold/",
    ),
    ("train/{cat,dog}/1.png train/train/{cat,dog}/1.png", {"train": "train/train"}, "train/train/cat/1.png", "", ""),
    ("train/{cat,dog}/1.png train/train/{cat,dog}/1.png", {"classes": TWO}, "train/cat/1.png", "", "passed over train/train/: not among"),
    ("test/{cat,dog}/1.png", {"train": "test"}, "test/cat/1.png", "", ""),
    ("[1]/{cat,dog}/1.png 1/{cat,dog}/1.png", {"train": "[1]"}, "[1]/cat/1.png", "", ""),
    (f"{NFD}/{{cat,dog}}/1.png x/{{cat,dog}}/1.png", {"train": NFC}, f"{NFD}/cat/1.png", "", ""),
]


@pytest.mark.parametrize(("layout", "settings", "train", "test", "said"), ALIKE)
def test_layouts_of_the_same_kinds(tmp_path: Path, layout: str, settings: Any, train: str, test: str, said: str) -> None:
    contents = read(write(tmp_path / "photos", layout), **settings)
    assert contents.class_names == TWO
    assert origins(contents, "train")[0] == train
    assert ("test" in contents.labels) == bool(test)
    assert not test or origins(contents, "test")[0] == test
    assert re.search(said, "\n".join(contents.notes))


CLASSES = [
    ("{train,test}/{bus,train,car}/1.png", {}, ("bus", "car", "train"), ""),
    ("{bus,train,car}/1.png", {}, ("bus", "car", "train"), "train/ is taken as a class"),
    ("{bus,train_station,test_tube}/1.png", {}, ("bus", "test_tube", "train_station"), ""),
    ("{cat,dog,test}/1.png", {"classes": ("test", "dog", "cat")}, ("test", "dog", "cat"), ""),
    ("{cat,dog,cow}/1.png", {"classes": ("dog", "cat")}, ("dog", "cat"), "passed over cow/: not among ingest.classes"),
    ("train/{cat,dog}/1.png test/cat/1.png", {"classes": ("cat",)}, ("cat",), "passed over train/dog/"),
    ("mydata/{cat,dog}/1.png mydata/cover.png", {"classes": ("mydata",)}, ("mydata",), "within a class"),
    ("{art,photo}/{cat,dog}/1.png", {"classes": ("photo", "art")}, ("photo", "art"), "within a class"),
    ("{art,photo}/{cat,dog}/1.png", {"train": "*"}, ("cat", "dog"), "in art/, photo/"),
    (f"{{{NFD},x}}/1.png", {"classes": (NFC,)}, (NFC,), "passed over x/"),
    ("{train,test}/{A,a}/1.png", {}, ("A", "a"), ""),
    ("{images,masks}/1.png", {"classes": ("images", "masks")}, ("images", "masks"), ""),
    ("{part1,part2,whole}/1.png", {}, ("part1", "part2", "whole"), ""),
    ("{satellite_images,drone_images}/1.png", {}, ("drone_images", "satellite_images"), ""),
    ("{fingers,thumbs}/1.png", {}, ("fingers", "thumbs"), ""),
    ("{photos,sketches}/1.png", {}, ("photos", "sketches"), ""),
]


@pytest.mark.parametrize(("layout", "settings", "names", "said"), CLASSES)
def test_which_directories_are_classes(tmp_path: Path, layout: str, settings: Any, names: tuple[str, ...], said: str) -> None:
    contents = read(write(tmp_path / "photos", layout), **settings)
    assert contents.class_names == names
    assert sorted(set(contents.labels["train"].tolist())) == list(range(len(names)))
    assert re.search(said, "\n".join(contents.notes))


REFUSED = [
    ("train/{cat,dog}/1.png train/train/{cat,dog}/1.png", {}, r"train/train/ holds directories .* ingest\.train to train/train .*cat,dog"),
    ("train/{cat,dog}/1.png test/{1,2}.png", {}, r"no labels \(test/: it holds 2 files but no directory.*ingest\.test to held_out"),
    ("train/{cat,dog}/1.png test/unknown/1.png", {}, r"no labels \(test/: its only directory, unknown, is no class.*held_out"),
    ("train/{cat,dog}/1.png test/", {}, r"no labels \(test/: it is empty\)"),
    ("x_train/x_train/{A,B}/1.png x_test/x_test/{A,B}_test.png", {}, r"no labels \(x_test/: its only directory, x_test"),
    ("{train,Train,test}/{cat,dog}/1.png", {}, r"Train/, train/ could each hold the training images: set ingest\.train"),
    ("{train1,train2,test}/{cat,dog}/1.png", {}, r"train1/, train2/ could each hold the training images"),
    ("{trainA,trainB,testA,testB}/{cat,dog}/1.png", {}, r"trainA/, trainB/ could each"),
    ("{train,val,valid}/{cat,dog}/1.png", {}, r"val/, valid/ could each hold the test images: set ingest\.test"),
    ("{cat,dog}/1.png train/{cat,dog}/1.png", {}, r"cat/, dog/ and the same in train/ could each"),
    ("{cat,dog,test}/1.png", {}, r"test/ holds images and lies beside cat/, dog/: is it a split or a class\? .*held_out.*ingest\.classes"),
    ("{photos,photos_test}/{cat,dog}/1.png", {}, r"photos_test/ holds directories and lies beside photos/"),
    ("Training_v2/{cat,dog}/1.png extra/1.png", {}, r"Training_v2/ holds directories and lies beside extra/"),
    ("{a,b}/{train,test}/{cat,dog}/1.png", {}, r"a/ holds splits of its own .*ingest\.train a/train"),
    ("{images,masks}/{train,val}/{cat,dog}/1.png", {}, r"images/ holds splits of its own"),
    ("{art,photo}/{cat,dog}/1.png", {}, r"art/, photo/ hold the same directories \(cat, dog\).*ingest\.train"),
    ("{cat,dog}/1.png old/{cat,dog}/1.png", {}, r"old/ holds directories \(cat, dog\) as the one that it lies in .*is it a class"),
    ("mydata/{cat,dog}/1.png mydata/cover.png", {}, r"mydata/ is the only directory and holds images \(cover\.png\) beside directories"),
    ("{cat,dog}/{train,test}/1.png cat/other/1.png", {}, r"cat/ holds splits of its own .*not all classes hold the same and nothing else"),
    ("{cat,dog}/{train,test}/1.png dog/1.png", {}, r"holds splits of its own .*arrange the images as train/<class>/"),
    ("{cat,dog}/train/1.png cat/test/1.png", {}, r"cat/ holds splits of its own .*not all classes hold the same"),
    ("{cat,dog}/1.png dog/deep/{_thumbs,Thumbnails}/1.png", {}, r"dog/deep/Thumbnails/, dog/deep/_thumbs/: by name small copies"),
    ("{train,test}/{cat,dog}/1.png test/dog/thumbs/x/1.png", {}, r"test/dog/thumbs/x/: by name small copies"),
    ("images/{1,2}.png labels.csv", {}, r"images/: by name images of any class, .*labels in tables .*ingest\.classes to images"),
    ("{images,masks}/1.png", {}, r"images/: by name images of any class, .*ingest\.classes to images,masks"),
    ("{train,test}/{images/1.png,labels/1.txt}", {}, r"train/images/: by name images of any class"),
    ("VOC2012/{JPEGImages,SegmentationClass}/1.png", {}, r"VOC2012/JPEGImages/: by name images of any class"),
    ("img_align_celeba/img_align_celeba/1.png", {}, r"img_align_celeba/img_align_celeba/: by name images of any class"),
    ("HAM_images_part_{1,2}/1.png", {}, r"HAM_images_part_1/, HAM_images_part_2/: by name images of any class"),
    ("dataset/{cat,dog}/1.png docs/1.png", {}, r"dataset/: by name images of any class, .*set ingest\.train to dataset if the directories"),
    ("test/{cat,dog}/1.png", {}, r"no training images: found test/ without train/"),
    ("{val,test}/{cat,dog}/1.png", {}, r"no training images: found test/, val/ without train/"),
    ("{train,test}/{1,2}.png", {}, r"photos/train: no classes: it holds 2 files but no directory with images"),
    ("{train_images,test_images}/1.png", {}, r"photos/train_images: no classes: it holds 1 file but"),
    ("{cat,dog}/1.png bird/", {}, r"class 'bird' is an empty directory"),
    (f"{{{NFC},{NFD}}}/1.png", {}, r"duplicate class names 'caf\\xe9', 'cafe\\u0301'|duplicate class names 'cafe\\u0301', 'caf\\xe9'"),
    ("train/{A,a}/1.png test/a/1.png", {}, r"only in train: 'A'"),
    ("{cat,dog}/1.png", {"classes": ("dog", "cow")}, r"ingest\.classes: 'cow' not found in the top directory: found cat/, dog/"),
    ("{cat,dog}/1.png", {"train": "tr*"}, r"ingest\.train = 'tr\*' is no directory there: found cat/, dog/"),
    ("{train,test}/{cat,dog}/1.png", {"train": "train", "test": "train"}, r"both name train/"),
    (
        "train/{cat,dog}/1.png train/cat/x/{cat,dog}/1.png",
        {"test": "train/cat/x"},
        r"train/cat/x/cat/ would be both training and test images",
    ),
]


@pytest.mark.parametrize(("layout", "settings", "message"), REFUSED)
def test_what_cannot_be_known_is_refused_with_the_setting_that_decides(tmp_path: Path, layout: str, settings: Any, message: str) -> None:
    root = write(tmp_path / "photos", layout)
    with pytest.raises(DataError, match=message) as caught:
        read(root, **settings)
    assert str(caught.value).startswith(str(root))
    assert "\n" not in str(caught.value)


@pytest.fixture
def odd_names(tmp_path: Path) -> Path:
    """A class and files whose names are no UTF-8 or hold a line break."""
    root = write(tmp_path / "photos", "dog/{1,2,3}.png cow/{1,2,3}.png")
    (root / "dog/3.png").write_bytes(b"no image")
    for old, new in {
        "cow/1.png": b"cow/caf\xe9.png",
        "cow/2.png": b"cow/a\nb.png",
        "dog/3.png": b"dog/caf\xe9\n.png",
        "cow": b"v\xe4cka",
    }.items():
        (root / old).rename(root / os.fsdecode(new))
    return root


def test_names_that_are_no_utf8_or_have_line_breaks_are_escaped_where_shown(odd_names: Path) -> None:
    with pytest.raises(DataError, match=r"1 image cannot be used \(dog/caf\\xe9\\n\.png: not an image"):
        load(odd_names)
    dataset = load(odd_names, on_corrupt="skip")
    assert dataset.class_names == ("dog", r"v\xe4cka")
    shown = [*dataset.origins("train"), *dataset.origins("test")]
    assert {r"v\xe4cka/caf\xe9.png", r"v\xe4cka/a\nb.png"} < set(shown)
    chosen = load(odd_names, on_corrupt="skip", classes=(r"v\xe4cka", "dog"))
    assert chosen.class_names == (r"v\xe4cka", "dog")
