"""Names: which split they speak of, which classes of two splits are the same, and how they are shown."""

from __future__ import annotations

import pytest

from bilp.data.droppings import is_dropping, may_be_image
from bilp.data.names import class_name, matched
from bilp.data.split_names import WORDS, Named, by_role, named
from bilp.text.escaping import shown


@pytest.mark.parametrize("word", WORDS)
def test_a_split_is_named_in_any_case_alone_or_as_a_word(word: str) -> None:
    role = WORDS[word]
    for spelled in (word, word.upper(), word.title()):
        assert named(spelled) == Named(role, "*")
        assert named(f"seg_{spelled}") == Named(role, "seg *")
        assert named(f"{spelled}2017-images") == Named(role, "* 2017 images")
        assert named(f"{spelled}set") == Named(role, "* set")
    assert named(f"my{word.title()}Data") == Named(role, "my * data")
    assert named(f"{word}ish") is None


@pytest.mark.parametrize("name", ["", "cat", "pretraining_", "train_test", "train+val", "tests", "devil", "übertest", "attesting"])
def test_other_names_speak_of_no_split(name: str) -> None:
    assert named(name) is None


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["train", "test", "val"], {"train": ["train"], "test": ["test"], "validation": ["val"]}),
        (["seg_test", "seg_pred", "seg_train"], {"train": ["seg_train"], "test": ["seg_test"]}),
        (["train", "test_images", "test1"], {"train": ["train"], "test": ["test1", "test_images"]}),
        (["train", "test", "test_tube"], {"train": ["train"], "test": ["test"]}),
        (["train1", "train2", "test"], {"train": ["train1", "train2"], "test": ["test"]}),
        (["train_images", "test"], {"train": ["train_images"], "test": ["test"]}),
        (["train", "EVAL"], {"train": ["train"], "evaluation": ["EVAL"]}),
        (["bus", "train_station"], {}),
        (["bus", "train_station", "test_tube"], {}),
        (["test", "val"], {}),
        (["cat", "dog"], {}),
        ([], {}),
    ],
)
def test_splits_among_names_that_stand_side_by_side(names: list[str], roles: dict[str, list[str]]) -> None:
    assert by_role(names) == roles
    assert by_role(iter(reversed(names))) == roles


@pytest.mark.parametrize(
    ("train", "test", "pairs"),
    [
        (["Cat", "dog"], ["dog", "cat "], {"dog": "dog", "cat ": "Cat"}),
        (["A", "a"], ["a", "A"], {"a": "a", "A": "A"}),
        (["A", "a"], ["A", " a"], None),
        (["a"], ["a", "A"], None),
        (["a", "b"], ["a"], None),
        (["a"], ["b"], None),
        (["cafe\u0301"], ["caf\u00e9"], {"caf\u00e9": "cafe\u0301"}),
    ],
)
def test_classes_of_two_splits_match_one_to_one(train: list[str], test: list[str], pairs: dict[str, str] | None) -> None:
    assert matched(train, test) == pairs


def test_names_are_shown_as_one_line_of_valid_text() -> None:
    assert shown("plain ü 猫 \U0001f9d1\u200d\U0001f680") == "plain ü 猫 \U0001f9d1\u200d\U0001f680"
    assert shown(b"caf\xe9\n".decode(errors="surrogateescape")) == r"caf\xe9\n"
    assert shown("a\u2028b\x85c\ud800") == r"a\u2028b\x85c\ud800"
    assert class_name("cafe\u0301") == "caf\u00e9"


def test_what_systems_leave_behind() -> None:
    left = [
        "@eaDir",
        "__MACOSX",
        "Thumbs.db",
        "THUMBS.DB",
        "._1.png",
        ".x",
        "Icon\r",
        "desktop.ini",
        "1.png:Zone.Identifier",
        "cat_$folder$",
    ]
    assert [name for name in left if not is_dropping(name)] == []
    assert [name for name in ("cat", "icon", "eaDir", "1.png", "thumbs") if is_dropping(name)] == []
    assert [name for name in ("a.csv", "README", "README.md", "x.TAR") if may_be_image(name)] == []
    assert [name for name in ("a.png", "a", ".csv", "n02085620", "x.dcm", "a.csv.png") if not may_be_image(name)] == []
