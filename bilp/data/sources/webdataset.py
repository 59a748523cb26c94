"""Any webdataset of pictures: tars of <key>.jpg (or .png, ...) with its class in <key>.cls or in `label` of <key>.json.

Splits are told by the words in the names of the shards, or of their folders. Classes are numbers or names, in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.contents import Contents, Group, SplitName, check_same_classes, dataset_name, quoted
from bilp.data.items import Items
from bilp.data.listing import Entry, plain
from bilp.data.names import class_name
from bilp.data.sources.asked_classes import Asked, asked_classes
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import View, digest, listed, viewed
from bilp.data.sources.shard_samples import IMAGES, samples, shards_by_role
from bilp.data.sources.stored_groups import stored_groups
from bilp.data.split_names import TEST_ROLES
from bilp.data.tar import Problem
from bilp.errors import DataError


class WebDataset:
    """Pictures in tars; a subclass is one of other samples, whose suffixes are `media` and whose name is `kind`."""

    media = IMAGES
    kind, one = "image", "an image"

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the directory that holds the shards, a path or s3://...; `config.classes` chooses among the classes."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = dataset_name(self.uri, config.source)
        self.config = config

    def signature(self) -> str:
        """Digest of every file's path, size and stamp, and of the classes that a file asks for."""
        return digest(self._view, "webdataset", self._asked.names)

    def read(self) -> Contents:
        """Classes and samples of the shards, whose headers and labels are read. Raises DataError for no shards, or none with labels."""
        view, roles = self._view, shards_by_role(self._view)
        if not roles.get("train"):
            raise DataError(f"{view.where}: no shards of training {self.kind}s: expected tars such as train-0000.tar")
        found: dict[SplitName, Gathered] = {"train": self._split("train", roles["train"])}
        if not len(found["train"]):
            first = view.absent[0][1] if view.absent else None
            told = f": {first.origin}: {first.reason}" if first else ""
            raise DataError(f"{view.where}: no sample of the training shards has {self.one} and a label{told}{self._remedy}")
        for role in TEST_ROLES:
            if role in roles and "test" not in found:
                test = self._split("test", roles[role])
                if len(test):
                    found["test"] = test
                    view.note(f"test {self.kind}s: the {role} shards")
                else:
                    view.note(f"passed over the {role} shards: no sample has a label")
            elif role in roles:
                view.note(f"passed over the {role} shards: the test {self.kind}s are taken from others")
        order = self._order(found, view)
        ignored = view.listing.note()
        return Contents(
            order,
            self.taken({split: gathered.items(order) for split, gathered in found.items()}),
            notes=(*view.notes, *([ignored] if ignored else [])),
            facts={"source_layout": "webdataset", **listed(found), "missing": len(view.absent)},
            absent=tuple(skipped for _, skipped in view.absent),
        )

    def groups(self, items: Items) -> Iterator[Group]:
        """The pictures of these items, each shard read from front to back."""
        return stored_groups(self.uri, items)

    def taken(self, found: dict[SplitName, Items]) -> dict[SplitName, Items]:
        """What is taken of these: each sample once."""
        return found

    @property
    def _remedy(self) -> str:
        """What to do about shards of samples of the other kind."""
        other = SOURCES[self.config.source].counterpart
        reasons = [skipped.reason for _, skipped in self._view.absent[:1]]
        return f": set the source to {other}" if other and any("and not" in reason for reason in reasons) else ""

    @cached_property
    def _view(self) -> View:
        return viewed(self.uri)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self.config.classes)

    def _split(self, split: SplitName, shards: Sequence[Entry]) -> Gathered:
        found, view, unlabeled = Gathered(), self._view, list[str]()
        for entry, sample in samples(view, shards, self.media):
            origin = f"{entry.path}/{sample.name if isinstance(sample, Problem) else sample.member.name}".rstrip("/")
            if isinstance(sample, Problem):
                view.lacks(split, origin, sample.reason)
            elif (label := sample.label) is None:
                unlabeled.append(origin)
            else:
                found.add(class_name(label), entry.path, stem="", span=(sample.member.offset, sample.member.size), origin=origin)
        if len(found) or split == "train":
            for origin in unlabeled:
                view.lacks(split, origin, "has no label: neither .cls nor label in .json")
        return found

    def _order(self, found: dict[SplitName, Gathered], view: View) -> tuple[str, ...]:
        names = {split: gathered.classes for split, gathered in found.items()}
        if wanted := tuple(map(class_name, self._asked.names)):
            for split, there in names.items():
                if lacking := [name for name in wanted if name not in there]:
                    where = f"{view.where}: {self._asked.where}"
                    raise DataError(f"{where}: no {split} {self.kind}s of {quoted(lacking)}; there are {quoted(sorted(there))}")
            return wanted
        if "test" in names:
            check_same_classes(sorted(names["train"]), sorted(names["test"]), view.where)
        numbers = all(name.isascii() and name.isdigit() for name in names["train"])
        return tuple(sorted(names["train"], key=int if numbers else None))
