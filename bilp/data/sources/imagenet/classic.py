"""ImageNet as the challenge and Kaggle distribute it, unpacked or not: training pictures by class, validation pictures loose.

    train/<wnid>/*.JPEG    or  train/<wnid>.tar   or  ILSVRC2012_img_train.tar, which holds <wnid>.tar
    val/<wnid>/*.JPEG      or  val/*.JPEG         or  ILSVRC2012_img_val.tar

Loose validation pictures get their classes from Kaggle's LOC_val_solution.csv, or from the ground truth of the devkit, whose numbers
are those of its meta.mat and not positions among the sorted WordNet ids.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from bilp.data import label_files
from bilp.data.contents import SplitName, counted
from bilp.data.droppings import may_be_image
from bilp.data.listing import Entry
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.imagenet.stems import WNID, stem_of
from bilp.data.sources.layouts import View
from bilp.data.tar import BLOCK, Member, TarIndex, opened_tar
from bilp.data.tar_indexes import Indexed, indexes
from bilp.errors import DataError
from bilp.storage import objects

CLS_LOC = "Data/CLS-LOC"
TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT, DEVKIT_TAR = "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12.tar.gz"
META, TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"
SOLUTION = "LOC_val_solution.csv"
VALS = ("val", "validation")
LARGEST_CLASS = 1300
"""Training pictures of 895 of the classes; the others have fewer."""
ABOVE = 3
"""How many directories above the given one Kaggle's table may lie."""


def base_of(view: View) -> str | None:
    """The directory that holds the training pictures in some form: the top, one of those in it, or CLS-LOC; None if there is none."""
    tops = ["", *view.listing.folders_in("")]
    for base in (*tops, *(f"{top}/{CLS_LOC}".lstrip("/") for top in tops)):
        if _has_train(view, base):
            return base
    return None


def _has_train(view: View, base: str) -> bool:
    train = _below(base, "train")
    return bool(_class_folders(view, train) or _class_tars(view, train) or _file(view, _below(base, TRAIN_TAR)))


def is_folders(view: View) -> bool:
    """Whether every split has a directory per class."""
    base = base_of(view)
    return base is not None and bool(_class_folders(view, _below(base, "train"))) and _val_files(view, base) is None


def is_tars(view: View) -> bool:
    """Whether a split lies in tars of the challenge."""
    base = base_of(view)
    if base is None:
        return False
    return bool(_class_tars(view, _below(base, "train")) or any(_file(view, _below(base, name)) for name in (TRAIN_TAR, VAL_TAR)))


def is_loose(view: View) -> bool:
    """Whether validation pictures lie loose beside training pictures by class."""
    base = base_of(view)
    return base is not None and not is_tars(view) and _val_files(view, base) is not None


def read_classic(view: View) -> dict[SplitName, Gathered]:
    """Both splits, in whatever of these forms each is; without validation pictures the training pictures alone.

    Raises DataError if loose validation pictures have no file of labels, or that does not fit.
    """
    base = base_of(view)
    assert base is not None
    found: dict[SplitName, Gathered] = {"train": _train(view, base)}
    test = _test(view, base)
    if test is not None:
        found["test"] = test
    for name in ("test", "ILSVRC2012_img_test.tar", "ILSVRC2012_img_test_v10102019.tar"):
        if _file(view, _below(base, name)) or view.listing.files_below(_below(base, name)):
            view.note(f"passed over {_below(base, name)}: test images have no published labels")
    return found


def _train(view: View, base: str) -> Gathered:
    found, train = Gathered(), _below(base, "train")
    outer = _file(view, _below(base, TRAIN_TAR))
    if folders := _class_folders(view, train):
        _add_folders(view, "train", found, train, folders)
    elif tars := _class_tars(view, train):
        for entry, index in zip(tars, indexes(view.uri, [entry.path for entry in tars]), strict=True):
            _add_tar(view, found, (entry, index), entry.path.rpartition("/")[2][:9])
    elif outer is not None:
        (index,) = indexes(view.uri, [outer.path], nested=True)
        _add_tar(view, found, (outer, index), None)
    return found


def _test(view: View, base: str) -> Gathered | None:
    found = Gathered()
    for name in VALS:
        folders = _class_folders(view, _below(base, name))
        if folders:
            _add_folders(view, "test", found, _below(base, name), folders)
            return found
    loose, packed = _val_files(view, base), _file(view, _below(base, VAL_TAR))
    if loose is None and packed is None:
        view.note(f"no validation images: expected {_below(base, 'val')}/ or {VAL_TAR}")
        return None
    labels, told = _val_labels(view, base)
    if loose is not None:
        named = [(stem_of(entry.path), entry.path, (0, entry.size), entry.path) for entry in loose]
    else:
        assert packed is not None
        (index,) = indexes(view.uri, [packed.path])
        named = [(stem_of(each.name), packed.path, (each.offset, each.size), f"{packed.path}/{each.name}") for each in _pictures(index)]
        for problem in index.problems:
            view.lacks("test", f"{packed.path}/{problem.name}".rstrip("/"), problem.reason)
    for stem, file, span, origin in named:
        if stem in labels:
            found.add(labels[stem], file, stem=stem, span=span, origin=origin)
        else:
            view.lacks("test", origin, f"has no label in {told}")
    there = {stem for stem, *_ in named}
    for stem in sorted(labels.keys() - there):
        view.lacks("test", f"{stem}.JPEG", f"is missing: it has a label in {told}", labels[stem])
    return found


def _add_folders(view: View, split: SplitName, found: Gathered, root: str, wnids: list[str]) -> None:
    for wnid in wnids:
        for entry in view.listing.files_below(f"{root}/{wnid}"):
            if entry.problem is not None:
                view.lacks(split, entry.path, entry.problem, wnid)
            elif may_be_image(entry.path.rpartition("/")[2]):
                found.add(wnid, entry.path, stem=stem_of(entry.path), span=(0, entry.size))


def _add_tar(view: View, found: Gathered, tar: tuple[Entry, Indexed], wnid: str | None) -> None:
    """The training pictures of a tar of one class, or of a tar of such tars."""
    entry, index = tar
    bytes_of, count_of = Counter[str](), Counter[str]()
    for each in _pictures(index):
        of = wnid or each.name[:9]
        if not WNID.fullmatch(of):
            view.lacks("train", f"{entry.path}/{each.name}", "lies in no tar of a class (<wnid>.tar)")
            continue
        found.add(of, entry.path, stem=stem_of(each.name), span=(each.offset, each.size), origin=f"{entry.path}/{each.name}")
        bytes_of[of] += BLOCK + -(-each.size // BLOCK) * BLOCK
        count_of[of] += 1
    for problem in index.problems:
        of = wnid or problem.name[:9]
        known = of if WNID.fullmatch(of) else ""
        most = max(1, LARGEST_CLASS - count_of[of])
        each_one = bytes_of[of] / count_of[of] if count_of[of] else bytes_of.total() / max(1, count_of.total())
        lost = most if problem.lost is None and wnid else round((problem.lost or 0) / each_one) if each_one else 1
        view.lacks("train", f"{entry.path}/{problem.name}".rstrip("/"), problem.reason, known, min(most, max(1, lost)))
    if wnid is None and index.cut:
        view.cut_off("train", entry.path)


def _pictures(index: Indexed) -> Iterator[Member]:
    return (member for member in index.members if may_be_image(member.name.rpartition("/")[2]))


def _val_labels(view: View, base: str) -> tuple[dict[str, str], str]:
    """The WordNet id of each validation picture by its stem, and the file that says so."""
    if (table := solution(view, base)) is not None:
        return _of_kaggle(label_files.read_text(table), table), SOLUTION
    for home in dict.fromkeys((base, "")):
        packed, folder = _file(view, _below(home, DEVKIT_TAR)), _below(home, DEVKIT)
        if packed is not None:
            where = f"{view.where}/{packed.path}"
            return _of_devkit(*_from_devkit(objects.join(view.uri, packed.path), where), where), DEVKIT_TAR
        if _file(view, f"{folder}/{META}") is not None:
            meta, truth = (objects.read(objects.join(view.uri, f"{folder}/{name}"), most=label_files.LARGEST) for name in (META, TRUTH))
            return _of_devkit(meta, truth, f"{view.where}/{folder}"), DEVKIT
    raise DataError(
        f"{view.where}: the validation images lie loose, and nothing says their classes: put {DEVKIT_TAR} or {SOLUTION} beside them, "
        "or each image into val/<wnid>/"
    )


def solution(view: View, base: str) -> str | None:
    """The address of Kaggle's table, in the listing or up to ABOVE directories above the one that was given; None without one."""
    homes = [base.rsplit("/", depth)[0] if depth else base for depth in range(base.count("/") + 1)]
    for home in dict.fromkeys((*homes, "")):
        if _file(view, _below(home, SOLUTION)) is not None:
            return objects.join(view.uri, _below(home, SOLUTION))
    above = view.uri
    for _ in range(ABOVE):
        above = above.rpartition("/")[0]
        if not above or above.endswith(("/", ":")):
            return None
        if objects.exists(objects.join(above, SOLUTION)):
            return objects.join(above, SOLUTION)
    return None


def _of_kaggle(text: str, where: str) -> dict[str, str]:
    """ImageId and PredictionString, of which the first word is the class of all its boxes."""
    found: dict[str, str] = {}
    for row in label_files.table(text, where, ("ImageId", "PredictionString")):
        wnid = row["PredictionString"].split(" ", 1)[0]
        if not WNID.fullmatch(wnid):
            raise DataError(f"{row.where}: PredictionString begins with {wnid!r}, expected a WordNet id (n01440764): correct the line")
        found[row["ImageId"].strip()] = wnid
    return found


def _from_devkit(uri: str, where: str) -> tuple[bytes, bytes]:
    """The contents of meta.mat and of the ground truth."""
    wanted = {f"{DEVKIT}/{name}": name for name in (META, TRUTH)}
    with opened_tar(uri) as file:
        found = {each.name: each.content for each in TarIndex(file, content_of=wanted.__contains__) if each.content is not None}
    if lacking := [name for name in wanted if name not in found]:
        raise DataError(f"{where}: lacks {' and '.join(lacking)}: fetch the devkit again")
    return found[f"{DEVKIT}/{META}"], found[f"{DEVKIT}/{TRUTH}"]


def _of_devkit(meta: bytes, truth: bytes, where: str) -> dict[str, str]:
    ids = label_files.ilsvrc_ids(meta, f"{where}/{META}")
    numbers = label_files.numbers(label_files.text_of(truth, f"{where}/{TRUTH}"), f"{where}/{TRUTH}")
    found: dict[str, str] = {}
    for number, label in enumerate(numbers, 1):
        if label not in ids:
            raise DataError(f"{where}/{TRUTH} line {number}: {label} is no id of {counted(len(ids), 'synset')} in meta.mat: fetch it again")
        found[f"ILSVRC2012_val_{number:08d}"] = ids[label]
    return found


def _class_folders(view: View, root: str) -> list[str]:
    return [name for name in view.listing.folders_in(root) if WNID.fullmatch(name)]


def _class_tars(view: View, root: str) -> list[Entry]:
    return [entry for entry in view.listing.files_in(root) if re.fullmatch(r"n\d{8}\.tar", entry.path.rpartition("/")[2])]


def _val_files(view: View, base: str) -> list[Entry] | None:
    """Loose validation pictures, None if there are none."""
    for name in VALS:
        found = [each for each in view.listing.files_in(_below(base, name)) if may_be_image(each.path) and each.problem is None]
        if found and not _class_folders(view, _below(base, name)):
            return found
    return None


def _file(view: View, path: str) -> Entry | None:
    return next((entry for entry in view.listing.files_in(path.rpartition("/")[0]) if entry.path == path), None)


def _below(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name
