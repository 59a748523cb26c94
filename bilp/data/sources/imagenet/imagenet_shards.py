"""ImageNet as a webdataset: tars of <key>.jpg with <key>.cls or <key>.json, or both.

The class of a picture is that in its key or in `filename` of its .json; where neither says one, the number, which is a position
among the sorted WordNet ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from bilp.data.class_lists import class_order
from bilp.data.contents import SplitName
from bilp.data.listing import Entry
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.imagenet.stems import IMAGENET1K, is_canonical, stem_of, wnid_in
from bilp.data.sources.layouts import View
from bilp.data.sources.shard_samples import IMAGES, Sample, samples, shards_by_role
from bilp.data.split_names import TEST_ROLES
from bilp.data.tar import Problem
from bilp.errors import DataError


def is_shards(view: View) -> bool:
    """Whether there are tars that could be shards."""
    return bool(shards_by_role(view))


def read_shards(view: View) -> dict[SplitName, Gathered]:
    """Both splits in the order of the shards; validation pictures are the test split."""
    roles = shards_by_role(view)
    found: dict[SplitName, Gathered] = {"train": _split(view, roles["train"], "train")}
    for role in TEST_ROLES:
        if role not in roles:
            continue
        test = _split(view, roles[role], "test")
        if len(test):
            found["test"] = test
            break
        view.note(f"passed over the {role} shards: none of their images has a label")
    return found


def _split(view: View, entries: Sequence[Entry], split: SplitName) -> Gathered:
    found, order, unlabeled = Gathered(), class_order(IMAGENET1K), list[str]()
    for entry, sample in samples(view, entries, IMAGES):
        if isinstance(sample, Problem):
            view.lacks(split, f"{entry.path}/{sample.name}".rstrip("/"), sample.reason)
            if sample.lost is None:
                view.cut_off(split, entry.path)
            continue
        origin = f"{entry.path}/{sample.member.name}"
        number = sample.number
        if number is not None and number >= len(order):
            raise DataError(f"{view.where}/{origin}: label {number} is outside 0..{len(order) - 1}: these are no shards of ImageNet-1K")
        wnid = _wnid(sample) or (None if number is None or number < 0 else order[number])
        if wnid is None:
            unlabeled.append(origin)
        else:
            found.add(wnid, entry.path, stem=_stem(sample), span=(sample.member.offset, sample.member.size), origin=origin)
    if len(found) or split == "train":
        for origin in unlabeled:
            view.lacks(split, origin, "has no label: neither .cls nor .json, and no class in its name")
    return found


def _wnid(sample: Sample) -> str | None:
    filename = sample.described.get("filename")
    return wnid_in(sample.key) or (wnid_in(filename) if isinstance(filename, str) else None)


def _stem(sample: Sample) -> str:
    """The picture's canonical name, '' if neither its key nor `filename` is one."""
    filename = sample.described.get("filename")
    names = [stem_of(sample.key), *([stem_of(filename)] if isinstance(filename, str) else [])]
    return next((name for name in names if is_canonical(name)), "")
