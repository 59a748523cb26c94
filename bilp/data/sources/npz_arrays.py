"""Pixels and labels in .npz files: data.npz with x_train, y_train, x_test, y_test, or train.npz and test.npz with an array of each kind.

Which split an array belongs to is told by a word in its name, or else in that of its file. Of a split's arrays one is uint8 `[n, H, W]`,
`[n, H, W, C]` or `[n, C, H, W]` with one or three channels, and one holds as many integers: the images and the labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bilp.config import IngestConfig
from bilp.data.contents import Contents, Group, SplitName, check_same_classes, dataset_name, quoted
from bilp.data.items import Items
from bilp.data.listing import plain
from bilp.data.sources.asked_classes import Asked, asked_classes
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import View, digest, listed, viewed
from bilp.data.sources.npz import Stored, read_array, read_rows, stored_arrays
from bilp.data.split_names import TEST_ROLES, Role, named
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

GROUP = 256
SUFFIX = ".npz"
Place = tuple[str, Stored]
"""The path of a file, and an array in it."""


class NpzArrays:
    """Arrays in .npz files, which are read without pickles."""

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the directory of the files, a path or s3://...; `config.classes` chooses among the classes."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = dataset_name(self.uri, config.source)
        self._config = config

    def signature(self) -> str:
        """Digest of every file's path, size and stamp, and of the classes that a file asks for."""
        return digest(self._view, "npz", self._asked.names)

    def read(self) -> Contents:
        """Classes and labels. Raises DataError if it cannot be known which arrays are images and labels, or they do not fit."""
        view, roles = self._view, self._roles()
        if "train" not in roles:
            raise DataError(f"{view.where}: no training images: expected arrays such as x_train and y_train, or a file such as train.npz")
        found: dict[SplitName, Gathered] = {"train": self._split(roles["train"], "train")}
        tests = [role for role in TEST_ROLES if role in roles]
        for place, role in enumerate(tests):
            if place == 0:
                found["test"] = self._split(roles[role], role)
                view.note(f"test images: {', '.join(f'{shown(path)}: {array.name}' for path, array in roles[role])}")
            else:
                view.note(f"passed over the {role} arrays: the test images are taken from others")
        order = self._order(found)
        return Contents(
            order,
            {split: gathered.items(order) for split, gathered in found.items()},
            notes=tuple(view.notes),
            facts={"source_layout": "npz", **listed(found)},
        )

    def groups(self, items: Items) -> Iterator[Group]:
        """The pixels of these rows."""
        for member, part in items.by_file():
            path, _, array = member.rpartition("/")
            told, rows, start = part.told(), part.row, int(part.row[0])
            pieces = read_rows(objects.join(self.uri, path), array, start, int(rows[-1]) + 1, GROUP)
            for number, piece in enumerate(pieces):
                here = np.flatnonzero((rows - start) // GROUP == number)
                if len(here):
                    yield Group([told[place] for place in here.tolist()], _pixels(piece[rows[here] - start - number * GROUP]))

    @cached_property
    def _view(self) -> View:
        return viewed(self.uri)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self._config.classes)

    def _roles(self) -> dict[Role, list[Place]]:
        """The arrays of each split."""
        files = [entry.path for entry in self._view.listing.files if entry.path.lower().endswith(SUFFIX)]
        if not files:
            raise DataError(f"{self._view.where}: no {SUFFIX} files there")
        roles: dict[Role, list[Place]] = defaultdict(list)
        for path in files:
            of_file = named(path.rpartition("/")[2][: -len(SUFFIX)])
            for array in stored_arrays(objects.join(self.uri, path)).values():
                said = named(array.name) or of_file
                roles[said.role if said else "train"].append((path, array))
        return roles

    def _split(self, places: Sequence[Place], role: Role) -> Gathered:
        """The labels of a split, file by file."""
        found = Gathered()
        by_file: dict[str, list[Stored]] = defaultdict(list)
        for path, array in places:
            by_file[path].append(array)
        for path, arrays in by_file.items():
            images = [array for array in arrays if _is_images(array)]
            labels = [array for array in arrays if len(images) == 1 and _is_labels(array, images[0].shape[0])]
            if len(images) != 1 or len(labels) != 1:
                there = ", ".join(f"{shown(array.name)} {array.dtype} {list(array.shape)}" for array in arrays)
                raise DataError(
                    f"{self._view.where}/{shown(path)}: which arrays are the {role} images and their labels? Expected one of uint8 "
                    f"[n, H, W] or [n, H, W, 3] and one of n integers, found {there}: leave out the others"
                )
            values = np.asarray(read_array(objects.join(self.uri, path), labels[0].name)).reshape(-1)
            for row, label in enumerate(values.tolist()):
                found.add_row(str(label), f"{path}/{images[0].name}", stem="", row=row)
        return found

    def _order(self, found: dict[SplitName, Gathered]) -> tuple[str, ...]:
        names = {split: gathered.classes for split, gathered in found.items()}
        if wanted := self._asked.names:
            for split, there in names.items():
                if lacking := [name for name in wanted if name not in there]:
                    raise DataError(f"{self._view.where}: {self._asked.where}: no {split} images of {quoted(lacking)}")
            return wanted
        if negative := sorted(name for name in names["train"] if name.startswith("-")):
            raise DataError(f"{self._view.where}: label {negative[0]}: negative labels often mark images without a label: remove them")
        if "test" in names:
            check_same_classes(sorted(names["train"]), sorted(names["test"]), self._view.where)
        return tuple(sorted(names["train"], key=int))


def _is_images(array: Stored) -> bool:
    channels = len(array.shape) == 3 or (len(array.shape) == 4 and bool({array.shape[3], array.shape[1]} & {1, 3}))
    return array.dtype == np.uint8 and channels and min(array.shape) > 0


def _is_labels(array: Stored, count: int) -> bool:
    return array.dtype.kind in "iu" and array.shape in ((count,), (count, 1))


def _pixels(piece: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8 [n, H, W] or [n, H, W, 3]."""
    found = np.asarray(piece, dtype=np.uint8)
    if found.ndim == 4 and found.shape[3] not in (1, 3):
        found = found.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(found[..., 0] if found.ndim == 4 and found.shape[3] == 1 else found)
