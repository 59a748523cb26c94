"""TinyImageNet: 200 classes of 64 x 64 pixels, the validation pictures being the test split.

    train/<wnid>/images/<wnid>_0.JPEG    as distributed, beside <wnid>_boxes.txt; or train/<wnid>/*.JPEG
    val/images/val_0.JPEG                as distributed, classes in val/val_annotations.txt; or val/<wnid>/ with or without images/
    data/train-00000-of-00001-*.parquet  of the hub, with valid-*.parquet

Classes are the sorted WordNet ids, whatever the order of wnids.txt: copies that number them by that file, read by code that sorts
them, are what reports of an accuracy of 0.5 % come from.
"""

from __future__ import annotations

from bilp.data import label_files
from bilp.data.class_lists import class_order
from bilp.data.contents import SplitName
from bilp.data.droppings import may_be_image
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.hub_copy import is_hub_copy, read_hub_copy
from bilp.data.sources.imagenet.stems import WNID, stem_of, wnid_in
from bilp.data.sources.layouts import Found, Layout, View
from bilp.data.sources.public_set import PublicSet, Published
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

NAME = "tiny_imagenet"
ANNOTATIONS = "val_annotations.txt"
_COLUMNS = ("file", "wnid", "x0", "y0", "x1", "y1")


def _base(view: View) -> str | None:
    """The directory that holds train/<wnid>: the top, or one of those in it."""
    for base in ("", *(f"{name}/" for name in view.listing.folders_in(""))):
        if any(WNID.fullmatch(name) for name in view.listing.folders_in(f"{base}train")):
            return base
    return None


def _annotated(view: View) -> bool:
    base = _base(view)
    return base is not None and any(entry.path == f"{base}val/{ANNOTATIONS}" for entry in view.listing.files_in(f"{base}val"))


def _by_class(view: View) -> bool:
    return _base(view) is not None


def _read_tree(view: View) -> Found:
    base = _base(view)
    assert base is not None
    found: dict[SplitName, Gathered] = {"train": Gathered()}
    _add_classes(view, "train", found["train"], f"{base}train")
    wnids = {name for name in view.listing.folders_in(f"{base}val") if WNID.fullmatch(name)}
    if wnids:
        _add_classes(view, "test", found.setdefault("test", Gathered()), f"{base}val")
    elif view.listing.files_below(f"{base}val"):
        _add_annotated(view, found.setdefault("test", Gathered()), f"{base}val")
    else:
        view.note(f"no validation images: expected {base}val/")
    if view.listing.files_below(f"{base}test"):
        view.note(f"passed over {base}test/: test images have no published labels")
    return found


def _add_classes(view: View, split: SplitName, found: Gathered, root: str) -> None:
    for wnid in view.listing.folders_in(root):
        if not WNID.fullmatch(wnid):
            continue
        for entry in view.listing.files_below(f"{root}/{wnid}"):
            if entry.problem is not None:
                view.lacks(split, entry.path, entry.problem, wnid)
            elif may_be_image(entry.path.rpartition("/")[2]):
                found.add(wnid, entry.path, stem=stem_of(entry.path), span=(0, entry.size))


def _add_annotated(view: View, found: Gathered, root: str) -> None:
    table = f"{root}/{ANNOTATIONS}"
    if not any(entry.path == table for entry in view.listing.files_in(root)):
        raise DataError(f"{view.where}: {root}/ holds images without classes: put {ANNOTATIONS} beside them, or each into {root}/<wnid>/")
    uri = objects.join(view.uri, table)
    labels: dict[str, str] = {}
    for row in label_files.fields(label_files.read_text(uri), shown(uri), _COLUMNS, "\t"):
        if not WNID.fullmatch(row["wnid"]):
            raise DataError(f"{row.where}: {row['wnid']!r} is no WordNet id (n01443537): correct the line")
        labels[row["file"]] = row["wnid"]
    there = {
        entry.path.rpartition("/")[2]: entry for entry in view.listing.files_below(root) if may_be_image(entry.path.rpartition("/")[2])
    }
    for name, entry in there.items():
        if name in labels:
            found.add(labels[name], entry.path, stem=stem_of(entry.path), span=(0, entry.size))
        else:
            view.lacks("test", entry.path, f"has no class in {ANNOTATIONS}")
    for name in sorted(labels.keys() - there):
        view.lacks("test", f"{root}/{name}", f"is missing: it has a class in {ANNOTATIONS}", labels[name])


def _read_hub(view: View) -> Found:
    return read_hub_copy(view, class_order(NAME), lambda path: (wnid_in(path), stem_of(path)))


LAYOUTS = (
    Layout("Parquet of the hub", "data/train-00000-of-00001-*.parquet, valid-*.parquet", is_hub_copy, _read_hub, sizes_differ=False),
    Layout("original tree", "train/<wnid>/images/, val/images/, val/val_annotations.txt", _annotated, _read_tree, sizes_differ=False),
    Layout("folders", "train/<wnid>/ and val/<wnid>/", _by_class, _read_tree, sizes_differ=False),
)


class TinyImageNet(PublicSet):
    """TinyImageNet, or some of its classes."""

    published = Published(NAME, LAYOUTS, {"train": 100_000, "test": 10_000})
