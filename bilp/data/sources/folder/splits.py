"""Which directories of an image folder hold the training images and which the test images.

By rule: a directory named as training images (see `bilp.data.split_names`), with the best labeled one of test,
evaluation and validation images beside it; one directory around everything is looked into. Without names of splits the
directories are the classes. What could be read in two ways is refused with the setting that decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from bilp.data.names import class_name
from bilp.data.sources.folder.candidates import HELD_OUT, Candidates, best_test, refuse_overlap
from bilp.data.sources.folder.classes import Classes, classes_in, pass_over_files, same_classes, settle, step_into
from bilp.data.sources.folder.tree import Tree, below, place, places
from bilp.data.split_names import TEST_ROLES, Role, by_role, named
from bilp.errors import DataError
from bilp.text.escaping import shown

Found = tuple[Classes, Classes | None]


def find_splits(tree: Tree, train: str | None, test: str | None) -> Found:
    """Classes of the training images and of the test images, or None for the latter if a test split is to be made.

    `train` and `test` are the settings of these names. Raises DataError if it cannot be known, and for empty or
    unlike classes.
    """
    given = tree.match(test, "ingest.test") if test not in (None, HELD_OUT) else None
    tree.left_out.update(given or ())
    if train is None:
        found = _by_rule(tree, test)
    else:
        roots = tree.match(train, "ingest.train")
        if set(roots) & tree.left_out:
            raise DataError(f"{tree.where}: ingest.train and ingest.test both name {place(roots[0])}: set them to different directories")
        found = _class_level(tree, "", test, bare=True) if roots == [""] else _given(tree, roots, test)
    classes, candidates = found
    if given is not None:
        tree.left_out.clear()
        if candidates and not isinstance(candidates, dict):
            tree.note(f"passed over {', '.join(place(path) for group in candidates for path in group)}: ingest.test is {test}")
        chosen: Classes | None = same_classes(tree, classes, classes_in(tree, [settle(tree, root) for root in given]))
    elif isinstance(candidates, dict):
        chosen = None if test == HELD_OUT else same_classes(tree, classes, candidates)
    else:
        chosen = best_test(tree, classes, candidates, test)
    refuse_overlap(tree, classes, chosen or {})
    _say(tree, classes, chosen)
    return classes, chosen


def _by_rule(tree: Tree, test: str | None) -> tuple[Classes, Candidates | Classes]:
    """The training images, and where test images may be (or are, if each class holds its own splits)."""
    root = ""
    while True:
        names = tree.folders(root)
        wanted = tree.wanted(names)
        if not wanted and len(names) == 1 and _is_wrapper(tree, below(root, names[0]), names[0]):
            root = step_into(tree, root, below(root, names[0]))
            continue
        asked = tree.classes if wanted else ()
        roles = by_role(name for name in names if class_name(name) not in asked and not _flat_training(tree, root, name))
        if not roles:
            return _class_level(tree, root, test, bare=wanted)
        if len(roles["train"]) > 1:
            raise DataError(
                f"{tree.where}: {places(root, roles['train'])} could each hold the training images: set ingest.train to one of them, "
                "or to a pattern (*, ?, []) that all of them fit"
            )
        tests = [[below(root, name) for name in roles[role]] for role in TEST_ROLES if role in roles]
        others = [name for name in names if not any(name in members for members in roles.values())]
        classes = classes_in(tree, [settle(tree, below(root, roles["train"][0]))])
        both = [name for name in others if class_name(name) in classes]
        if both and not tests:
            raise DataError(
                f"{tree.where}: {places(root, both)} and the same in {places(root, roles['train'])} could each hold the training images: "
                f"set ingest.train to {shown(below(root, roles['train'][0]))}, or to {shown(root) or '.'} for the former"
            )
        if others:
            tree.note(f"passed over {places(root, others)}: by name neither training nor test images")
        pass_over_files(tree, root)
        return classes, tests


def _given(tree: Tree, roots: Sequence[str], test: str | None) -> tuple[Classes, Candidates]:
    """The training images where the setting says, and what may hold test images beside them."""
    classes = classes_in(tree, [settle(tree, root) for root in roots])
    parents = {root.rpartition("/")[0] for root in roots}
    if len(parents) > 1:
        return classes, []
    parent = parents.pop()
    names = [name for name in tree.folders(parent) if below(parent, name) not in roots]
    roles = by_role([*names, *(root.rpartition("/")[2] for root in roots)])
    if not roles:
        roles = {role: [name for name in names if _says(name) == role and _alone(name)] for role in TEST_ROLES}
    return classes, [[below(parent, name) for name in roles[role]] for role in TEST_ROLES if roles.get(role)]


def _class_level(tree: Tree, root: str, test: str | None, bare: bool) -> tuple[Classes, Candidates | Classes]:
    """The directories in `root` are the classes, but for such as hold test images; `bare` if a setting says that they are."""
    names = tree.folders(root)
    if names and not bare and all(map(_says, names)):
        _refuse_without_training(tree, root, names)
    own = _splits_of_classes(tree, root, [name for name in names if not tree.classes or class_name(name) in tree.classes])
    if own is not None:
        return own
    tests: dict[Role, list[str]] = {}
    for name in names:
        said, path = named(name), below(root, name)
        if said is None or class_name(name) in tree.classes:
            continue
        nested = tree.nested(path)
        others = {class_name(other) for other in names if other != name}
        copies = nested and {class_name(one) for one in tree.folders(settle(tree, path))} <= others
        decided = said.alone and (test is not None or bool(tree.classes))
        if said.role != "train" and (copies or decided):
            tests.setdefault(said.role, []).append(path)
        elif not tree.classes and (nested or (said.alone and said.role != "train")):
            holds = "directories" if nested else "images"
            raise DataError(
                f"{tree.where}: {place(path)} holds {holds} and lies beside {places(root, [one for one in names if one != name])}: is it a "
                f"split or a class? Set ingest.train and ingest.test to the directories of the splits (ingest.test to {HELD_OUT} if there "
                "are no labeled test images), or ingest.classes"
            )
        elif said.alone and not tree.classes:
            tree.note(f"{place(path)} is taken as a class: it holds images and lies beside other classes")
    found = [tests[role] for role in TEST_ROLES if role in tests]
    hidden = {path for group in found for path in group}
    tree.left_out |= hidden
    classes = classes_in(tree, [root])
    tree.left_out -= hidden
    return classes, found


def _splits_of_classes(tree: Tree, root: str, names: Sequence[str]) -> tuple[Classes, Classes] | None:
    """<class>/train and <class>/test, the splits within each class, if that is how all of them look."""
    found = {name: by_role(tree.folders(below(root, name))) for name in names}
    role = next((role for role in TEST_ROLES if all(len(roles.get(role, [])) == 1 for roles in found.values())), None)
    if not names or role is None:
        return None
    train: Classes = {}
    test: Classes = {}
    for name, roles in found.items():
        path = below(root, name)
        inner = [one for members in roles.values() for one in members]
        if len(roles["train"]) != 1 or tree.loose(path) or set(inner) != set(tree.folders(path)):
            return None
        if any(tree.nested(below(path, one)) for one in inner):
            return None
        train[class_name(name)] = [below(path, roles["train"][0])]
        test[class_name(name)] = [below(path, roles[role][0])]
    first = below(root, names[0])
    tree.note(f"each class holds its own splits: {places(first, tree.folders(first))} and so on")
    others = [below(name, one) for name, roles in found.items() for other in TEST_ROLES if other != role for one in roles.get(other, [])]
    if others:
        tree.note(
            f"passed over {places(root, others)}: the test images are taken from {place(below(first, found[names[0]][role][0]))} and so on"
        )
    return train, test


def _is_wrapper(tree: Tree, path: str, name: str) -> bool:
    """Whether the only directory is one around everything rather than a split or a class."""
    inner = tree.folders(path)
    return tree.nested(path) and (not _alone(name) or (_says(name) == "train" and len(by_role(inner)) > 1))


def _refuse_without_training(tree: Tree, root: str, names: Sequence[str]) -> None:
    """All directories are named as splits, and none holds classes of training images."""
    trains = [name for name in names if _says(name) == "train"]
    if trains:
        classes_in(tree, [below(root, trains[0])])  # says that it holds no classes
    raise DataError(
        f"{tree.where}: no training images: found {places(root, names)} without train/: add them, or set ingest.train to the directory "
        "that holds the training images"
    )


def _say(tree: Tree, train: Classes, test: Classes | None) -> None:
    """Note where both splits come from."""
    tops = [sorted({path.rpartition("/")[0] for paths in (classes or {}).values() for path in paths}) for classes in (train, test)]
    from_train, from_test = (", ".join(place(top) for top in side[:3]) + (" and so on" if len(side) > 3 else "") for side in tops)
    other = f"those of the test images are in {from_test}" if test is not None else "a test split is held out of them"
    tree.note(f"the classes of the training images are in {from_train}; {other}")


def _flat_training(tree: Tree, root: str, name: str) -> bool:
    """Whether a directory named as training images holds no classes: then it may be a class itself."""
    return _says(name) == "train" and not tree.nested(below(root, name))


def _says(name: str) -> Role | None:
    said = named(name)
    return said.role if said else None


def _alone(name: str) -> bool:
    said = named(name)
    return said is not None and said.alone
