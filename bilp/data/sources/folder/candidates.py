"""Which of several directories the test images of an image folder are taken from."""

from __future__ import annotations

from bilp.data.contents import counted
from bilp.data.names import class_name
from bilp.data.sources.folder.classes import Classes, classes_in, same_classes, settle
from bilp.data.sources.folder.tree import Tree, place
from bilp.errors import DataError
from bilp.text.escaping import shown

HELD_OUT = "held_out"  # the value of ingest.test that makes a test split out of the training images
Candidates = list[list[str]]
"""Directories that may hold the test images: best first, equally good ones together."""


def best_test(tree: Tree, train: Classes, candidates: Candidates, test: str | None) -> Classes | None:
    """The best labeled candidate; None if there is none at all, or a test split is to be held out."""
    if test == HELD_OUT:
        if candidates:
            tree.note(f"passed over {', '.join(place(path) for group in candidates for path in group)}: ingest.test is {HELD_OUT}")
        return None
    unlabeled: dict[str, str] = {}
    for position, group in enumerate(candidates):
        labeled = []
        for path in group:
            problem = _unlabeled(tree, path, train)
            if problem:
                unlabeled[path] = problem
            else:
                labeled.append(path)
        if len(labeled) > 1:
            found = ", ".join(place(path) for path in labeled)
            raise DataError(f"{tree.where}: {found} could each hold the test images: set ingest.test to one of them")
        if labeled:
            for path, problem in unlabeled.items():
                tree.note(f"passed over {place(path)}: {problem}")
            if rest := [place(path) for later in candidates[position + 1 :] for path in later]:
                tree.note(f"passed over {', '.join(rest)}: the test images are taken from {place(labeled[0])}")
            return same_classes(tree, train, classes_in(tree, [settle(tree, labeled[0])]))
    if unlabeled:
        found = "; ".join(f"{place(path)}: {problem}" for path, problem in unlabeled.items())
        raise DataError(
            f"{tree.where}: the test images have no labels ({found}): set ingest.test to {HELD_OUT} to make a test split out of the "
            "training images, or to the directory of labeled ones"
        )
    return None


def _unlabeled(tree: Tree, path: str, train: Classes) -> str:
    """Why the directory holds no labeled images, or ''."""
    names = tree.folders(settle(tree, path))
    if not names:
        count = len(tree.listing.files_below(path))
        return f"it holds {counted(count, 'file')} but no directory with images" if count else "it is empty"
    known = {name.casefold() for name in train}
    if len(names) == 1 and class_name(names[0]).casefold() not in known:
        return f"its only directory, {shown(names[0])}, is no class of the training images"
    return ""


def refuse_overlap(tree: Tree, train: Classes, test: Classes) -> None:
    """No image may be in both splits."""
    sides = [{path for paths in classes.values() for path in paths} for classes in (train, test)]
    for ours, theirs in (sides, sides[::-1]):
        for path in sorted(ours):
            above = path
            while above:
                if above in theirs:
                    raise DataError(
                        f"{tree.where}: {place(path)} would be both training and test images: set ingest.train and ingest.test apart"
                    )
                above = above.rpartition("/")[0]
