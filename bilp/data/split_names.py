"""Which split a name speaks of: train, Training, seg_train, train1, images_test, TestSet, dev, ...

The words are those of the Hugging Face loaders, in any case, alone or as one word of a longer name (words end at
anything that is no letter, at digits and at a capital letter). A longer name alone proves little: `train_station` may
be a class. `by_role` therefore looks at all the names that stand side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Role = Literal["train", "test", "evaluation", "validation"]
TEST_ROLES: tuple[Role, Role, Role] = ("test", "evaluation", "validation")  # best first: what the test images are taken from

WORDS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "test": "test",
    "testing": "test",
    "eval": "evaluation",
    "evaluation": "evaluation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
ENDINGS = ("set", "sets", "data", "images", "imgs")  # written together with the word: testset, TRAINDATA
ALONE = "*"


@dataclass(frozen=True)
class Named:
    """What a name says: the role of its word, and the whole name in small letters with * in place of that word."""

    role: Role
    pattern: str

    @property
    def alone(self) -> bool:
        """Whether the name is nothing but the word."""
        return self.pattern == ALONE


def named(name: str) -> Named | None:
    """The split that a name (without suffix) speaks of, or None if it has no such word or words of several splits."""
    roles: set[Role] = set()
    pattern: list[str] = []
    for piece in _pieces(name):
        role, ending = _role(piece)
        if role is None:
            pattern.append(piece)
        else:
            roles.add(role)
            pattern += [ALONE, ending] if ending else [ALONE]
    return Named(roles.pop(), " ".join(pattern)) if len(roles) == 1 else None


def by_role(names: Iterable[str]) -> dict[Role, list[str]]:
    """The names that are splits among all that stand side by side, sorted; empty if none of them holds training images.

    Training images lie where the name is the word alone; else where the same name exists for test images (seg_train,
    seg_test); else, if all names speak of splits, where any does. Test images of each role likewise lie where the
    rest of the name is the same, else where any name of that kind is. A role with several names is for the caller to
    decide.
    """
    every = sorted(set(names))
    found = {name: said for name in every if (said := named(name)) is not None}
    known = len(found) == len(every)
    trains = {name: said.pattern for name, said in found.items() if said.role == "train"}
    tests = {name: said.pattern for name, said in found.items() if said.role != "train"}
    alone = [name for name, pattern in trains.items() if pattern == ALONE]
    paired = [name for name, pattern in trains.items() if pattern in tests.values()]
    chosen = alone or paired or (list(trains) if known else [])
    if not chosen:
        return {}
    patterns = {trains[name] for name in chosen}
    roles: dict[Role, list[str]] = {"train": chosen}
    for role in TEST_ROLES:
        members = [name for name in tests if found[name].role == role]
        if members:
            roles[role] = [name for name in members if tests[name] in patterns] or members
    return roles


def _pieces(name: str) -> list[str]:
    """The name's words in small letters; everything between them that is neither letter nor digit separates."""
    pieces: list[str] = []
    for run in re.findall(r"[^\W\d_]+|\d+", name):
        small = run.casefold()
        pieces += [small] if _role(small)[0] else [part.casefold() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[^A-Z]+", run)]
    return pieces


def _role(piece: str) -> tuple[Role | None, str]:
    """The role of a word and the ending that is written together with it."""
    for ending in ("", *ENDINGS):
        word = piece.removesuffix(ending)
        if word in WORDS:
            return WORDS[word], ending
    return None, ""
