"""The classes of one split of an image folder: which directories they are, and when that cannot be known."""

from __future__ import annotations

from collections.abc import Sequence

from bilp.data.contents import check_class_names, check_same_classes, counted, quoted
from bilp.data.names import class_name, matched
from bilp.data.sources.folder.containers import says_no_class
from bilp.data.sources.folder.tree import Tree, below, place, places
from bilp.data.split_names import by_role, named
from bilp.errors import DataError
from bilp.storage import objects
from bilp.text.escaping import shown

Classes = dict[str, list[str]]
"""Names of classes in order, and the directories of each."""
THUMBNAILS = frozenset(("thumb", "thumbs", "thumbnail", "thumbnails"))


def settle(tree: Tree, root: str) -> str:
    """The directory that holds the classes: `root`, or what lies in it if it holds one directory of directories only.

    Raises DataError if its only directory holds both images and directories: a class, or a wrapper with a stray image.
    """
    while True:
        names = tree.folders(root)
        inner = below(root, names[0]) if len(names) == 1 else ""
        if not inner or tree.wanted(names) or not tree.nested(inner):
            return root
        root = step_into(tree, root, inner)


def step_into(tree: Tree, root: str, inner: str) -> str:
    """`inner`, the only directory in `root`, with a note. Raises DataError if images lie in it beside its directories."""
    loose = tree.loose(inner)
    if loose:
        found = (
            f"{place(inner)} is the only directory and holds images ({_first(loose)}) beside directories ({_first(tree.folders(inner))})"
        )
        one = f"ingest.classes to {shown(inner.rpartition('/')[2])} if it is one class"
        raise DataError(f"{tree.where}: {found}: set ingest.train to {shown(inner)} if its directories are the classes, or {one}")
    pass_over_files(tree, root)
    other = "other " if tree.left_out else ""
    tree.note(f"looked into {place(inner)}, the only {other}directory in {place(root)}")
    return inner


def classes_in(tree: Tree, roots: Sequence[str]) -> Classes:
    """The classes asked for, or all, in order; those of several roots are united.

    Raises DataError if there are none, one is empty or missing, two look the same, or it cannot be known whether a
    directory is a class.
    """
    found: Classes = {}
    for root in roots:
        names = _checked(tree, root)
        for name in names:
            found.setdefault(class_name(name), []).append(below(root, name))
    missing = [name for name in tree.classes if name not in found]
    if missing:
        there = places("", sorted({name for root in roots for name in tree.folders(root)}))
        raise DataError(f"{tree.where}: ingest.classes: {quoted(missing)} not found in {_listed(roots)}: found {there}")
    return {name: found[name] for name in tree.classes or sorted(found)}


def pass_over_files(tree: Tree, root: str) -> None:
    """Note the files that lie beside directories of splits or classes."""
    names = [entry.path.rpartition("/")[2] for entry in tree.listing.files_in(root)]
    if names:
        tree.note(f"passed over {counted(len(names), 'file')} directly in {place(root)}: {_first(names)}")


def same_classes(tree: Tree, train: Classes, test: Classes) -> Classes:
    """The test classes under the names and in the order of the training classes; names that differ in case only are matched.

    Raises DataError if the two splits do not have the same classes.
    """
    pairs = matched(list(train), list(test))
    if pairs is None:
        check_same_classes(list(train), list(test), tree.where)
        raise AssertionError("equal sets of names match")
    differing = [f"{other} is {name}" for other, name in pairs.items() if other != name]
    if differing:
        tree.note(f"classes of the test images were matched to those of the training images without regard to case: {_first(differing)}")
    names = {name: other for other, name in pairs.items()}
    return {name: test[names[name]] for name in train}


def _checked(tree: Tree, root: str) -> list[str]:
    """Names of the class directories in `root`."""
    where = objects.join(tree.where, shown(root)) if root else tree.where
    names = tree.folders(root)
    if not names:
        loose = len(tree.listing.files_below(root))
        found = f"it holds {counted(loose, 'file')} but no directory with images" if loose else "it is empty"
        raise DataError(f"{where}: no classes: {found}; put the images of each class into a directory named after the class")
    if tree.classes:
        other = [name for name in names if class_name(name) not in tree.classes]
        names = [name for name in names if class_name(name) in tree.classes]
        if other:
            tree.note(f"passed over {places(root, other)}: not among ingest.classes")
    else:
        _refuse_doubtful(tree, root, names)
        _refuse_equal(tree, root, names)
        _refuse_containers(tree, root, names)
    check_class_names(names, where)
    for name in names:
        if tree.empty(below(root, name)):
            raise DataError(f"{where}: class {shown(name)!r} is an empty directory: add its images or remove the directory")
    _refuse_thumbnails(tree, root, names)
    _note_depth(tree, root, names)
    return names


def _refuse_doubtful(tree: Tree, root: str, names: Sequence[str]) -> None:
    """Raise DataError for a directory that may be a split, a whole data set or a copy rather than a class."""
    siblings = {class_name(name) for name in names}
    for name in names:
        path = below(root, name)
        if not tree.nested(path):
            continue
        inner = tree.folders(path)
        said, roles = named(name), by_role(inner)
        if len(roles) > 1 and not any(tree.nested(below(path, one)) for one in inner):
            raise DataError(
                f"{tree.where}: {place(path)} holds splits of its own ({_first(inner)}), but not all classes hold the same and nothing "
                "else: give each class the same ones, or arrange the images as train/<class>/ and test/<class>/"
            )
        if len(roles) > 1:
            example = shown(below(path, roles["train"][0]))
            what = f"holds splits of its own ({_first(inner)}): set ingest.train and ingest.test to the directories of the splits"
            raise DataError(f"{tree.where}: {place(path)} {what} (ingest.train {example}), or to patterns that unite several")
        if {class_name(one) for one in inner} <= siblings or (said is not None and said.alone):
            rest = [shown(one) for one in names if one != name] or [shown(name)]
            what = f"holds directories ({_first(inner)}) as the one that it lies in ({_first(rest)}): is it a class?"
            raise DataError(
                f"{tree.where}: {place(path)} {what} Set ingest.train to {shown(path)} to take what is in it, "
                f"or ingest.classes to the classes beside it ({','.join(rest)})"
            )


def _refuse_containers(tree: Tree, root: str, names: Sequence[str]) -> None:
    """Raise DataError for directories that are named after what lies in them, images of any class, rather than after a class."""
    found = [name for name in names if says_no_class(name, names)]
    if not found:
        return
    path = below(root, found[0])
    if tree.nested(path) and not tree.loose(path):
        remedy = f"set ingest.train to {shown(path)} if the directories in it are the classes"
    else:
        remedy = "put the images of each class into a directory named after the class (labels in tables and texts are not read)"
    raise DataError(
        f"{tree.where}: {places(root, found)}: by name images of any class, not one class: {remedy}, or set ingest.classes to "
        f"{','.join(shown(name) for name in names[:5])}{',...' if len(names) > 5 else ''} if these are the classes"
    )


def _refuse_equal(tree: Tree, root: str, names: Sequence[str]) -> None:
    """Raise DataError if directories hold the same directories and nothing else: sources, domains, masks or years of the same classes."""
    seen: dict[frozenset[str], str] = {}
    for name in names:
        path = below(root, name)
        inner = frozenset(class_name(one) for one in tree.folders(path))
        if len(inner) < 2 or tree.loose(path):
            continue
        first = seen.setdefault(inner, name)
        if first != name:
            raise DataError(
                f"{tree.where}: {places(root, [first, name])} hold the same directories ({_first(sorted(inner))}): which are the classes? "
                f"Set ingest.train to the one that holds the images ({shown(below(root, first))}) or to a pattern that unites several "
                f"({shown(below(root, '*'))}), or ingest.classes ({','.join(map(shown, names[:5]))})"
            )


def _refuse_thumbnails(tree: Tree, root: str, names: Sequence[str]) -> None:
    """Raise DataError for directories within a class that hold small copies of its images by name: each would be a sample."""
    found = [
        below(root, path)
        for name in names
        for path in sorted(
            {entry.path.rpartition("/")[0].removeprefix(f"{root}/") for entry in tree.listing.files_below(below(root, name))}
        )
        if any(part.casefold().strip("_~") in THUMBNAILS for part in path.split("/")[1:])
    ]
    if found:
        raise DataError(
            f"{tree.where}: {places('', found)}: by name small copies of the images of the class, which would be samples of their own: "
            "remove the directories, or rename them if they hold other images"
        )


def _note_depth(tree: Tree, root: str, names: Sequence[str]) -> None:
    """Say what lies beside the classes and below them."""
    pass_over_files(tree, root)
    deep = [name for name in names if tree.nested(below(root, name))]
    if deep:
        example = place(below(below(root, deep[0]), tree.folders(below(root, deep[0]))[0]))
        classes = counted(len(deep), "class", "classes")
        tree.note(f"images in directories within a class belong to the class: so in {classes}, for example {example}")


def _first(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(shown(name) for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _listed(roots: Sequence[str]) -> str:
    return ", ".join(place(root) for root in roots)
