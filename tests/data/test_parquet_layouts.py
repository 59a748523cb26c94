"""Which files of a Parquet source are training and which test images: by names, by settings, or refused with the way out."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bilp.config import IngestConfig
from bilp.data.contents import SplitName
from bilp.data.sources.parquet import HuggingFaceParquet
from bilp.errors import DataError

Write = Callable[[Sequence[str]], Path]
Files = dict[SplitName, list[str]]


@pytest.fixture
def write(tmp_path: Path, write_parquet: Callable[..., None]) -> Write:
    """Writes files of two rows each, labeled 0 and 1; after a path, ! says labels of -1, ? no label column, 0 no rows."""

    def write(paths: Sequence[str]) -> Path:
        buffer = io.BytesIO()
        Image.new("L", (4, 4)).save(buffer, "PNG")
        for path in paths:
            path, mark = (path[:-1], path[-1]) if path[-1] in "!?0" else (path, "")
            images = [] if mark == "0" else [buffer.getvalue()] * 2
            labels = [-1, -1] if mark == "!" else [0, 1][: len(images)]
            column, names = ("caption", None) if mark == "?" else ("label", ("a", "b"))
            write_parquet(tmp_path / "set" / path, images, labels, names, label_column=column)
        return tmp_path / "set"

    return write


def taken(root: Path, **settings: Any) -> tuple[Files, tuple[str, ...]]:
    """The files of each split in the order of their images, and the notes; every file must come whole and in order."""
    source = HuggingFaceParquet(IngestConfig(source="parquet", uri=str(root), **settings))
    contents = source.read()
    files: Files = {}
    for split, labels in contents.labels.items():
        origins = [origin for group in source.groups(contents.items[split]) for origin in group.origins]
        assert labels.tolist() == [0, 1] * (len(labels) // 2)
        assert [origin.rsplit("#")[1] for origin in origins] == ["0", "1"] * (len(labels) // 2)
        files[split] = [origin.removesuffix("#0") for origin in origins[::2]]
    return files, contents.notes


# files; settings; training files; test files (None: to be held out); parts of the notes, in order
CHOSEN: dict[str, tuple[list[str], dict[str, str], list[str], list[str] | None, list[str]]] = {
    "shards": (
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        {},
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["test-00000-of-00001.parquet"],
        [],
    ),
    "hashes": (
        ["data/train-00000-of-00002-0a1b.parquet", "data/train-00001-of-00002-ff00.parquet"],
        {},
        ["data/train-00000-of-00002-0a1b.parquet", "data/train-00001-of-00002-ff00.parquet"],
        None,
        [],
    ),
    "counted from 1": (["train-1-of-2.parquet", "train-2-of-2.parquet"], {}, ["train-1-of-2.parquet", "train-2-of-2.parquet"], None, []),
    "underscores": (
        ["train_00000_of_00001.parquet", "val_0.parquet", "val_1.parquet"],
        {},
        ["train_00000_of_00001.parquet"],
        ["val_0.parquet", "val_1.parquet"],
        ["val_*.parquet: test images"],
    ),
    "plain names": (["train.parquet", "Testing.parquet"], {}, ["train.parquet"], ["Testing.parquet"], []),
    "upper case": (
        ["Train-00000-of-00001.PARQUET", "TEST-00000-of-00001.PARQUET"],
        {},
        ["Train-00000-of-00001.PARQUET"],
        ["TEST-00000-of-00001.PARQUET"],
        [],
    ),
    "numbers without a separator": (["train1.parquet", "train2.parquet"], {}, ["train1.parquet", "train2.parquet"], None, []),
    "a number that counts nothing": (["train_64.parquet", "test_64.parquet"], {}, ["train_64.parquet"], ["test_64.parquet"], []),
    "the name of the set": (
        ["cifar10-train.parquet", "cifar10-test.parquet"],
        {},
        ["cifar10-train.parquet"],
        ["cifar10-test.parquet"],
        ["cifar10-train.parquet: training images"],
    ),
    "converted": (
        ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"],
        {},
        ["default/train/0000.parquet", "default/train/0001.parquet"],
        ["default/test/0000.parquet"],
        ["configuration default is taken"],
    ),
    "configuration": (
        ["plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet", "vectors/all.parquet"],
        {},
        ["plain_text/train-00000-of-00001.parquet"],
        ["plain_text/test-00000-of-00001.parquet"],
        ["configuration plain_text is taken", "passed over vectors: other configurations"],
    ),
    "one of several configurations": (
        ["de/train.parquet", "de/test.parquet", "en/train.parquet", "en/test.parquet"],
        {"config": "en"},
        ["en/train.parquet"],
        ["en/test.parquet"],
        ["passed over de"],
    ),
    "the top of several": (["train.parquet", "en/train.parquet"], {"config": "."}, ["train.parquet"], None, ["passed over en"]),
    "a deep configuration": (
        ["data/x/en/train.parquet", "data/x/de/train.parquet"],
        {"config": "en"},
        ["data/x/en/train.parquet"],
        None,
        [],
    ),
    "folders of splits": (
        ["data/training/a.parquet", "data/training/b.parquet", "data/testing/c.parquet"],
        {},
        ["data/training/a.parquet", "data/training/b.parquet"],
        ["data/testing/c.parquet"],
        [],
    ),
    "hive": (
        ["split=train/part-0.parquet", "split=test/part-0.parquet"],
        {},
        ["split=train/part-0.parquet"],
        ["split=test/part-0.parquet"],
        [],
    ),
    "spark": (
        ["part-00000-a7.c000.snappy.parquet", "part-00001-a7.c000.snappy.parquet"],
        {},
        ["part-00000-a7.c000.snappy.parquet", "part-00001-a7.c000.snappy.parquet"],
        None,
        ["training images, since no name speaks of a split"],
    ),
    "spark leaves out empty parts": (
        ["train/part-00000-a7.parquet", "train/part-00003-a7.parquet"],
        {},
        ["train/part-00000-a7.parquet", "train/part-00003-a7.parquet"],
        None,
        ["there is no train/part-00001"],
    ),
    "one table": (["flowers.parquet"], {}, ["flowers.parquet"], None, ["training images, since no name"]),
    "more than training and test": (
        ["train-0.parquet", "train-extra-0.parquet", "extra-0.parquet", "test-0.parquet", "validation-0.parquet"],
        {},
        ["train-0.parquet"],
        ["test-0.parquet"],
        ["passed over extra-*.parquet, train-extra-*.parquet", "passed over validation-*.parquet: the test images are taken from test-*"],
    ),
    "the same, united": (
        ["train-0.parquet", "train-extra-0.parquet", "test-0.parquet"],
        {"train": "{train,train-extra}-*"},
        ["train-0.parquet", "train-extra-0.parquet"],
        ["test-0.parquet"],
        [],
    ),
    "unlabeled test beside a labeled validation": (
        ["train-0.parquet", "test-0.parquet!", "validation-0.parquet"],
        {},
        ["train-0.parquet"],
        ["validation-0.parquet"],
        ["passed over test-*.parquet: its rows have no label (all are -1)", "validation-*.parquet: test images"],
    ),
    "test without a label column": (
        ["train.parquet", "test.parquet?", "dev.parquet"],
        {},
        ["train.parquet"],
        ["dev.parquet"],
        ["passed over test.parquet: it has no label column", "dev.parquet: test images"],
    ),
    "empty test": (["train.parquet", "test.parquet0", "eval.parquet"], {}, ["train.parquet"], ["eval.parquet"], ["it holds no rows", ""]),
    "unlabeled test, held out": (
        ["train.parquet", "test.parquet!"],
        {"test": "held_out"},
        ["train.parquet"],
        None,
        ["passed over test.parquet: ingest.test is held_out"],
    ),
    "validation wanted": (
        ["train.parquet", "test.parquet", "validation.parquet"],
        {"test": "validation.parquet"},
        ["train.parquet"],
        ["validation.parquet"],
        ["passed over test.parquet"],
    ),
    "settings alone": (
        ["fold/a.parquet", "fold/b.parquet", "other.parquet"],
        {"train": "fold", "test": "other.parquet"},
        ["fold/a.parquet", "fold/b.parquet"],
        ["other.parquet"],
        [],
    ),
    "one of two uploads": (
        ["data/train-0-of-1.parquet", "data/train-0-of-2.parquet", "data/train-1-of-2.parquet"],
        {"train": "data/train-*-of-2.parquet"},
        ["data/train-0-of-2.parquet", "data/train-1-of-2.parquet"],
        None,
        ["passed over data/train-*-of-1.parquet"],
    ),
    "some of the shards": (
        ["train-0-of-3.parquet", "train-2-of-3.parquet"],
        {"train": "train-*"},
        ["train-0-of-3.parquet", "train-2-of-3.parquet"],
        None,
        ["2 of 3 are there, and taken as they are (ingest.train); missing: train-1-of-3.parquet"],
    ),
    "tables of other names": (
        ["train/a-0.parquet", "train/a-1.parquet", "train/b-0.parquet"],
        {"train": "train"},
        ["train/a-0.parquet", "train/a-1.parquet", "train/b-0.parquet"],
        None,
        [],
    ),
    "a pattern of names at any depth": (["x/train-0.parquet"], {"train": "train-?.parquet"}, ["x/train-0.parquet"], None, []),
    "names with brackets": (["[a].parquet", "a.parquet"], {"train": "[a].parquet"}, ["[a].parquet"], None, []),
    "an empty shard": (
        ["train-0-of-2.parquet", "train-1-of-2.parquet0"],
        {},
        ["train-0-of-2.parquet"],
        None,
        ["train-1-of-2.parquet: holds no rows"],
    ),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_files_that_are_chosen(write: Write, case: str) -> None:
    paths, settings, train, test, told = CHOSEN[case]
    files, notes = taken(write(paths), **settings)
    assert files == {"train": train} | ({} if test is None else {"test": test})
    assert [part in note for part, note in zip(told, notes, strict=False)] == [True] * len(told), notes
    assert all("\n" not in note for note in notes)


REFUSED: dict[str, tuple[list[str], dict[str, str], str]] = {
    "missing shard": (
        ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
        {},
        r"missing train-00001-of-00003\.parquet \(2 of 3 are there\).* set ingest\.train to train-\*-of-00003\.parquet",
    ),
    "missing shards of the test images": (
        ["train.parquet", "test-1-of-9.parquet"],
        {},
        r"missing test-0-of-9.* and 3 more .* ingest\.test",
    ),
    "missing number": (["train_0.parquet", "train_2.parquet"], {}, r"missing train_1\.parquet"),
    "missing first": (["default/train/0001.parquet", "default/train/0003.parquet"], {}, r"missing default/train/0002\.parquet"),
    "one shard alone": (["train-0004.parquet"], {}, r"missing train-0001\.parquet, train-0002"),
    "a number beyond": (
        ["train-0-of-1.parquet", "train-7-of-1.parquet"],
        {},
        r"train-7-of-1\.parquet: there is no such shard of 1: they count from 0 to 0.* set ingest\.train",
    ),
    "one shard too many": (["train-0-of-1.parquet", "train-1-of-1.parquet"], {}, r"train-1-of-1\.parquet: there is no such shard of 1"),
    "one shard too many from 1": (["train-1-of-2.parquet", "train-3-of-2.parquet", "train-2-of-2.parquet"], {}, r"count from 1 to 2"),
    "one shard too many by a setting": (
        ["train-0-of-1.parquet", "train-1-of-1.parquet"],
        {"train": "train-*"},
        r"there is no such shard of 1",
    ),
    "two shardings": (
        ["data/train-0-of-1.parquet", "data/train-0-of-2.parquet", "data/train-1-of-2.parquet"],
        {},
        r"2 uploads .*data/train-\*-of-1\.parquet \(1 file\); data/train-\*-of-2\.parquet \(2 files\).* set ingest\.train",
    ),
    "two shardings of the test images": (["train.parquet", "test.parquet", "test-0-of-1.parquet"], {}, r"2 uploads .* set ingest\.test"),
    "two hashes": (
        ["train-0-of-1-0a1b.parquet", "train-0-of-1-99aa.parquet"],
        {},
        r"shard 0 of 1 is there 2 times: train-0-of-1-0a1b\.parquet, train-0-of-1-99aa\.parquet.* set ingest\.train",
    ),
    "downloaded twice": (["train-0-of-1.parquet", "train-0-of-1 (1).parquet"], {}, r"shard 0 of 1 is there 2 times"),
    "downloaded twice without a number": (["train.parquet", "train (1).parquet"], {}, r"2 uploads"),
    "two compressions": (["train.parquet", "train.snappy.parquet"], {}, r"one table is there 2 times"),
    "two spark jobs": (["part-0-a.parquet", "part-0-b.parquet"], {}, r"number 0 is there 2 times"),
    "top and data": (["train-0.parquet", "data/train-0.parquet"], {}, r"2 uploads .*data/train-\*"),
    "file and folder": (["train/0000.parquet", "train/train-0-of-1.parquet"], {}, r"2 uploads"),
    "two tables in a folder": (
        ["train/a-0.parquet", "train/a-1.parquet", "train/b-0.parquet"],
        {},
        r"2 tables side by side: train/a-\*\.parquet \(2 files\); train/b-\*.* to train to take all",
    ),
    "several trainings": (
        ["train_clean-0.parquet", "train_noisy-0.parquet"],
        {},
        r"could each be meant: set ingest\.train to one of them, or to \{train_clean-\*\.parquet,train_noisy-\*\.parquet\}",
    ),
    "spelled twice": (["train.parquet", "training.parquet"], {}, r"could each be meant"),
    "several validations": (["train.parquet", "val_a.parquet", "val_b.parquet"], {}, r"could each be meant: set ingest\.test"),
    "several configurations": (
        ["de/train.parquet", "en/train.parquet"],
        {},
        r"2 configurations: de, en: set ingest\.config to one of them",
    ),
    "configuration at the top": (["train.parquet", "en/train.parquet"], {}, r"2 configurations: \., en"),
    "unknown configuration": (["de/train.parquet"], {"config": "fr"}, r"ingest\.config 'fr' is not there: de"),
    "two of that name": (["a/x/train.parquet", "b/x/train.parquet"], {"config": "x"}, r"'x' is not unique: a/x, b/x"),
    "by a column": (["label=a/p-0.parquet", "label=b/p-0.parquet"], {}, r"divided into folders by a column \(label=a, label=b\)"),
    "the beginning alone": (
        ["default/partial-train/0000.parquet"],
        {},
        r"only the beginning .* set ingest\.train to default/partial-train",
    ),
    "no training images": (
        ["test.parquet", "extra.parquet"],
        {},
        r"no training images: .* found extra\.parquet, test\.parquet: .*ingest\.train",
    ),
    "no word": (["cats.parquet", "dogs.parquet"], {}, r"no name speaks of a split: cats\.parquet, dogs\.parquet: set ingest\.train"),
    "contradiction": (["test/train-0.parquet"], {}, r"folder and file speak of different splits: test/train-0\.parquet"),
    "unlabeled test": (
        ["train.parquet", "test.parquet!"],
        {},
        r"test images have no labels \(test\.parquet: .*all are -1.* ingest\.test to held_out",
    ),
    "unlabeled tests": (
        ["train.parquet", "test.parquet!", "val.parquet?"],
        {},
        r"test\.parquet: .*; val\.parquet: it has no label column",
    ),
    "unlabeled test wanted": (
        ["train.parquet", "test.parquet!"],
        {"test": "test*"},
        r"test\.parquet: its rows have no label .* set ingest\.test",
    ),
    "empty training": (["train.parquet0"], {}, r"no training images: train\.parquet holds no rows"),
    "a pattern without a file": (
        ["train.parquet"],
        {"train": "tarin*"},
        r"ingest\.train 'tarin\*' matches no Parquet file: there are train\.p",
    ),
    "the same for both": (["a.parquet", "b.parquet"], {"train": "*", "test": "b*"}, r"both match b\.parquet"),
    "a pattern of two uploads": (
        ["train-0-of-1.parquet", "train-0-of-2.parquet"],
        {"train": "train*"},
        r"ingest\.train matches shards of 1 and 2",
    ),
    "a pattern of doubled shards": (
        ["train-0-of-1-a.parquet", "train-0-of-1-b.parquet"],
        {"train": "train*"},
        r"shard 0 of 1 is there 2 times",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_refused(write: Write, case: str) -> None:
    paths, settings, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        taken(write(paths), **settings)
    assert "\n" not in str(caught.value)


def test_what_is_no_parquet_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"expected Parquet files such as train-\*\.parquet, found no files"):
        taken(tmp_path / "set")
    (tmp_path / "set/README.md").write_text("text")
    with pytest.raises(DataError, match=r"found README\.md"):
        taken(tmp_path / "set")
    root = write(["train-0.parquet"])
    (root / "train-1.parquet.crdownload").write_bytes(b"PAR1")
    write([".ipynb_checkpoints/train-0.parquet", "@eaDir/train-0.parquet"])
    files, notes = taken(root)
    assert files == {"train": ["train-0.parquet"]}
    assert notes[0] == "passed over train-1.parquet.crdownload: by name no whole Parquet files"
    assert "ignored 2" in notes[1]
    assert ".ipynb_checkpoints (1)" in notes[1]


def test_the_signature_covers_whatever_may_be_taken(write: Write) -> None:
    root = write(["train-0.parquet", "test-0.parquet", "val-0.parquet", "extra.parquet"])

    def signature(**settings: Any) -> str:
        return HuggingFaceParquet(IngestConfig(source="parquet", uri=str(root), **settings)).signature()

    first = signature()
    assert signature() == first
    write(["extra.parquet!"])
    assert signature() == first  # not among the files that count
    for path in ("train-0.parquet!", "test-0.parquet!", "val-0.parquet!"):
        before = signature()
        write([path])
        assert signature() != before
    assert len({signature(), signature(test="held_out"), signature(test="val-0.parquet"), signature(train="val*")}) == 4
