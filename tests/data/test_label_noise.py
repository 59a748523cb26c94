"""Labels that are made wrong on purpose: exact shares, which class each becomes, files of labels, CIFAR-N's files."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bilp.config.label_noise import NOISES, LabelNoiseConfig
from bilp.data.alterations.human_labels import human_labels
from bilp.data.alterations.label_file import from_file
from bilp.data.alterations.noise_kinds import Labeled, count_of, cyclic, semantic, symmetric
from bilp.data.alterations.similar_classes import CIFAR10, CIFAR100, SUPERCLASSES, similar_classes
from bilp.errors import DataError, ImpossibleUri
from bilp.registry import resolve

CLASSES = 7


def given(counts: tuple[int, ...] = (40, 3, 61, 50, 1, 99, 20), names: tuple[str, ...] | None = None) -> Labeled:
    """Shuffled labels with these counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = labels[np.random.default_rng(0).permutation(len(labels))].astype(np.int64)
    return Labeled(labels, names or tuple("abcdefghij"[: len(counts)]), np.arange(len(labels)), len(labels), "pets")


def config(kind: str, share: float, **more: Any) -> LabelNoiseConfig:
    return LabelNoiseConfig(kind=kind, share=share, **more)


@pytest.mark.parametrize("kind", ["symmetric", "cyclic"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.2, 0.405, 0.5, 1.0])
def test_exactly_the_share_of_all_labels_is_wrong(kind: str, share: float) -> None:
    labeled = given()
    noisy = resolve(NOISES[kind].apply)(labeled, config(kind, share))
    assert (noisy != labeled.labels).sum() == count_of(share, len(labeled.labels))
    assert noisy.dtype == np.int64 and noisy.min() >= 0 and noisy.max() < CLASSES


def test_exactly_the_share_of_each_class_is_wrong() -> None:
    labeled = given()
    noisy = symmetric(labeled, config("symmetric", 0.3, per_class=True))
    wrong = np.bincount(labeled.labels[noisy != labeled.labels], minlength=CLASSES)
    assert wrong.tolist() == [12, 1, 18, 15, 0, 30, 6]


def test_shares_are_those_that_were_written_and_halves_round_up() -> None:
    assert [count_of(share, 50_000) for share in (0.2, 0.4, 0.1, 1.0)] == [10_000, 20_000, 5_000, 50_000]
    assert [count_of(0.5, n) for n in (1, 2, 3)] == [1, 1, 2]
    assert count_of(0.3, 5) == 2 and count_of(0.29, 100) == 29


def test_symmetric_noise_becomes_every_other_class_with_the_same_chance_and_never_the_own() -> None:
    labeled = given((3000,) * 5)
    noisy = symmetric(labeled, config("symmetric", 1.0))
    pairs = np.zeros((5, 5), dtype=int)
    np.add.at(pairs, (labeled.labels, noisy), 1)
    assert (np.diag(pairs) == 0).all()
    off = pairs[~np.eye(5, dtype=bool)]
    assert abs(off - 750).max() < 4 * np.sqrt(3000 * 0.25 * 0.75), "four standard deviations of a binomial"


def test_cyclic_noise_becomes_the_next_class() -> None:
    labeled = given()
    noisy = cyclic(labeled, config("cyclic", 0.5))
    pairs = np.zeros((CLASSES, CLASSES), dtype=int)
    np.add.at(pairs, (labeled.labels, noisy), 1)
    assert (pairs[~np.eye(CLASSES, dtype=bool) & ~np.roll(np.eye(CLASSES, dtype=bool), 1, axis=1)] == 0).all()
    assert pairs[CLASSES - 1, 0] > 0


def test_draws_follow_the_seed_alone_and_a_larger_share_holds_a_smaller_one() -> None:
    labeled = given()
    small, again, large, other = (
        symmetric(labeled, config("symmetric", share, seed=seed)) for share, seed in ((0.2, 3), (0.2, 3), (0.6, 3), (0.2, 4))
    )
    assert np.array_equal(small, again) and not np.array_equal(small, other)
    wrong = small != labeled.labels
    assert np.array_equal(large[wrong], small[wrong])


def test_semantic_noise_of_cifar10_changes_the_published_pairs_in_any_order_of_classes() -> None:
    names = tuple(sorted(CIFAR10, reverse=True))
    labeled = given((100,) * 10, names)
    noisy = semantic(labeled, config("semantic", 0.4, per_class=True))
    changed = {(names[old], names[new]) for old, new in zip(labeled.labels, noisy, strict=True) if old != new}
    pairs = {("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat")}
    assert changed == pairs
    assert (noisy != labeled.labels).sum() == 5 * 40
    assert (semantic(labeled, config("semantic", 0.4)) != labeled.labels).sum() == 200


def test_semantic_noise_of_cifar100_stays_in_the_superclass() -> None:
    assert len(CIFAR100) == 100 and all(list(group) == sorted(group) for group in SUPERCLASSES)
    names = sorted(CIFAR100)
    becomes = similar_classes(names, "cifar100")
    group = {name: number for number, members in enumerate(SUPERCLASSES) for name in members}
    assert all(group[names[old]] == group[names[new]] and old != new for old, new in enumerate(becomes.tolist()))
    assert sorted(becomes.tolist()) == list(range(100))
    assert (becomes[names.index("bed")], becomes[names.index("wardrobe")]) == (names.index("chair"), names.index("bed"))


def test_semantic_noise_is_refused_of_other_or_chosen_classes() -> None:
    for names in (tuple("abcdefg"), tuple(sorted(CIFAR10))[:7]):
        with pytest.raises(DataError, match="semantic label noise is known of CIFAR-10 and CIFAR-100 with all of their classes"):
            semantic(given(names=names), config("semantic", 0.4))


@pytest.mark.parametrize("kind", ["symmetric", "cyclic"])
def test_one_class_has_no_wrong_label(kind: str) -> None:
    with pytest.raises(DataError, match="one class has no label that could be wrong"):
        resolve(NOISES[kind].apply)(given((5,)), config(kind, 0.4))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"kind": "symmetric"}, "kind symmetric needs share"),
        ({"kind": "file", "share": 0.2}, "kind file does not read share"),
        ({"kind": "cyclic", "share": 0.2, "file": "x.csv"}, "kind cyclic does not read file"),
        ({"kind": "cifar_n"}, "kind cifar_n needs file"),
        ({"share": 0.2}, "share without kind changes no label: set kind to one of symmetric, cyclic, semantic, file, cifar_n"),
        ({"kind": "gaussian", "share": 0.2}, "'symmetric', 'cyclic', 'semantic', 'file' or 'cifar_n'"),
        ({"kind": "cyclic", "share": 0.0}, "greater than 0"),
        ({"kind": "cyclic", "share": 1.1}, "less than or equal to 1"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LabelNoiseConfig.model_validate(settings)


FEW = Labeled(np.array([2, 0, 1]), ("cat", "dog", "0"), np.array([0, 2, 3]), 4, "pets")
"""Three of four images of the source."""


@pytest.mark.parametrize(
    ("name", "content", "column"),
    [
        ("labels.csv", b"label\ncat\ncat\n0\ndog\n", None),
        ("labels.csv", b"\xef\xbb\xbfnumber,given\r\n1,cat\r\n2,dog\r\n3,0\r\n4,dog\r\n", "given"),
        ("LABELS.CSV", b"anything\n0\n0\n2\n1\n", None),
        ("labels.json", b'["cat", "dog", "0", "dog"]', None),
        ("labels.json", b"[0, 1, 2, 1]", None),
        ("labels.json", b'["0", "0", "2", "1"]', None),
        ("labels.json", b'{"label": [0, 1, 2, 1], "worse": [2, 2, 2, 2]}', None),
    ],
)
def test_labels_are_read_by_name_or_number_in_the_order_of_the_source(
    tmp_path: Path, name: str, content: bytes, column: str | None
) -> None:
    (tmp_path / name).write_bytes(content)
    found = from_file(FEW, LabelNoiseConfig(kind="file", file=str(tmp_path / name), column=column))
    assert found.tolist() == [0, 2, 1], "in the order of the images that are there, and a class may be called 0"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"cat", "is neither .csv nor .json"),
        ("a.csv", b"label\ncat\n", "holds 1 label, and pets has 4 images in its training split"),
        ("a.csv", b"label\ncat\ncow\ncat\ncat\n", "label 2 is 'cow', which is no class"),
        ("a.csv", b"label\n0\n1\n2\n3\n", "label 4 is 3, which is no class"),
        ("a.csv", b"label\n0\n1\n2\n99999999999999999999\n", "label 4 is -1, which is no class"),
        ("a.csv", b"one,two\n1,2\n", "has no column 'label' but 'one', 'two'"),
        ("a.csv", b"label,x\ncat,1\ncat\n", "line 3 has 1 cell, its head 2"),
        ("a.csv", b"label\n\xff\xfe\n", "cannot be read: .*codec can't decode"),
        ("a.csv", b'label\n"cat\n', "cannot be read: unexpected end of data"),
        ("a.csv", b"", "has no column 'label'"),
        ("a.json", b"[0, 1", "cannot be read"),
        ("a.json", b"[0, 1, 2, true]", "label 4 is True, which is no class"),
        ("a.json", b"[0, 1, 2, 1.0]", "label 4 is 1.0, which is no class"),
        ("a.json", b'[0, 1, 2, "dog"]', "label 4 is 'dog', which is no class"),
        ("a.json", b"[0, 1, 2, [1]]", r"label 4 is \[1\], which is no class"),
        ("a.json", b'{"labels": [0]}', "has no list 'label': name it in ingest.label_noise.column"),
        ("a.json", b"3", "holds neither a list of labels nor an object of lists"),
        ("a.json", b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        from_file(FEW, LabelNoiseConfig(kind="file", file=str(tmp_path / name)))
    assert "\n" not in str(caught.value) and name in str(caught.value)


def save(path: Path, content: Any, zipped: bool = True) -> str:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return str(path)


def sets_of(labeled: Labeled, kind: Any = np.int64) -> dict[str, np.ndarray]:
    """What a file of CIFAR-N would hold for images of which three are in the data set."""
    clean = np.zeros(labeled.total, dtype=kind)
    clean[labeled.places] = labeled.labels
    return {"clean_label": clean, "worse_label": (clean + 1) % 3, "aggre_label": clean}


def human(file: str, column: str | None = "worse_label") -> np.ndarray:
    return human_labels(FEW, LabelNoiseConfig(kind="cifar_n", file=file, column=column))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, ">i8"])
@pytest.mark.parametrize("zipped", [True, False])
def test_label_sets_of_cifar_n_are_read_in_either_form(tmp_path: Path, kind: Any, zipped: bool) -> None:
    file = save(tmp_path / "human.pt", sets_of(FEW, kind), zipped)
    assert human(file).tolist() == [0, 1, 2]
    assert human(file, "aggre_label").tolist() == FEW.labels.tolist()


def test_names_of_older_and_newer_numpy_are_known(tmp_path: Path) -> None:
    data = Path(save(tmp_path / "human.pt", sets_of(FEW), zipped=False)).read_bytes()
    older, newer = b"cnumpy.core.multiarray\n_reconstruct", b"cnumpy._core.multiarray\n_reconstruct"
    assert older in data or newer in data
    for one, other in ((older, newer), (newer, older)):
        (tmp_path / "other.pt").write_bytes(data.replace(one, other))
        assert human(str(tmp_path / "other.pt")).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "column", "problem"),
    [
        (lambda sets: sets.pop("clean_label"), "worse_label", "has no clean_label but 'aggre_label', 'worse_label'"),
        (lambda sets: None, None, "column names no label set, and .* has 'aggre_label', 'worse_label'"),
        (lambda sets: None, "clean_label", "column names 'clean_label', and .* has"),
        (lambda sets: None, "worst", "column names 'worst', and .* has"),
        (lambda sets: sets.update(clean_label=sets["worse_label"]), "worse_label", "clean_label differs from pets in 3 of 3 labels"),
        (lambda sets: sets.update(worse_label=np.zeros(3, dtype=int)), "worse_label", "worse_label has 3 labels, and pets has 4 images"),
        (lambda sets: sets.update(worse_label=np.full(4, 3)), "worse_label", "worse_label holds 3 to 3, and there are 3 classes"),
        (lambda sets: sets.update(worse_label=np.full(4, -1)), "worse_label", "worse_label holds -1 to -1"),
        (lambda sets: sets.update(worse_label=np.zeros((2, 2), dtype=int)), "worse_label", r"of shape \(2, 2\), not whole numbers"),
        (lambda sets: sets.update(worse_label=np.zeros(4)), "worse_label", "not whole numbers"),
        (lambda sets: sets.update(worse_label=np.array(["a", 3, None, {}], dtype=object)), "worse_label", "not whole numbers"),
        (lambda sets: sets.update(worse_label=[0, 1, 2, 0]), "worse_label", "worse_label is no array of labels"),
        (lambda sets: sets.update(worse_label=np.zeros(4, dtype=[("a", int)])), "worse_label", "not whole numbers"),
    ],
)
def test_label_sets_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], column: str | None, problem: str
) -> None:
    sets: dict[str, Any] = dict(sets_of(FEW))
    change(sets)
    file = save(tmp_path / "human.pt", sets)
    with pytest.raises(DataError, match=problem) as caught:
        human(file, column)
    assert "\n" not in str(caught.value)


class Executes:
    """Runs a command when it is unpickled by a program that lets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def zipped(pickled: bytes) -> bytes:
    """As a file of torch.save with this content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("human/data.pkl", pickled)
        archive.writestr("human/version", "3\n")
    return stream.getvalue()


class Pickled:
    """Pickled as an array that claims a shape and a type over some bytes."""

    def __init__(self, shape: Any, kind: str = "i8", content: Any = b"\0" * 32) -> None:
        self.state = (1, shape, np.dtype(kind), False, content)

    def __reduce__(self) -> tuple[Any, ...]:
        return (*np.zeros(0).__reduce__()[:2], self.state)


def array(*claims: Any) -> bytes:
    return zipped(pickle.dumps({"clean_label": Pickled(*claims)}, 2))


def nested(depth: int) -> tuple[Any, ...]:
    """A tuple whose file is a few bytes a level, and whose words double with each."""
    found: tuple[Any, ...] = ()
    for _ in range(depth):
        found = (found, found)
    return found


def test_what_would_take_forever_to_be_told_is_refused_at_once(tmp_path: Path) -> None:
    bombs = [array((1, nested(80))), array(nested(80)), zipped(b"\x80\x02}X\x01\0\0\0a" + b"cnumpy\ndtype\n" + bomb(80) + b"\x85Rs.")]
    for number, content in enumerate(bombs):
        (tmp_path / f"{number}.pt").write_bytes(content)
        with pytest.raises(DataError) as caught:
            human(str(tmp_path / f"{number}.pt"))
        assert len(str(caught.value)) < 400


def bomb(depth: int) -> bytes:
    """Pickled: `nested`, each level from the one before."""
    levels = b"".join(b"h%c\x86q%c" % (number, number + 1) for number in range(depth))
    return b")q\0" + levels


def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    good = Path(save(tmp_path / "good.pt", sets_of(FEW))).read_bytes()
    contents = [
        zipped(pickle.dumps({"clean_label": Executes(mark)}, 2)),
        pickle.dumps(Executes(mark), 2),
        array((10**12,)),
        array((4,), "i8", b"\0" * 31),
        array((-4,)),
        array((4,), "O", [Executes(mark)] * 4),
        array((4,), "O", [None] * 4),
        array("4"),
        array((2, 2)),
        array((0,), "i8", b""),
        array((4,), "V8"),
        array((4,), "u8", b"\xff" * 32),
        zipped(b"\x80\x02cnumpy\nfromfile\n."),
        zipped(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n."),
        zipped(b"\x80\x02]."),
        good[: len(good) // 2],
        b"",
        b"clean_label",
        zipped(b"(" * 1000),
    ]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.pt").write_bytes(content)
        with pytest.raises(DataError) as caught:
            human(str(tmp_path / f"{number}.pt"))
        assert "\n" not in str(caught.value) and f"{number}.pt" in str(caught.value), number
    assert not mark.exists()
    assert os.system(f"touch {mark}") == 0 and mark.exists(), "it would have"
    (tmp_path / "four.pt").write_bytes(array((4,)))
    with pytest.raises(DataError, match="column names 'worse_label'"):
        human(str(tmp_path / "four.pt"))


def test_the_address_of_a_file_holds_no_login() -> None:
    with pytest.raises(ImpossibleUri, match="holds a login"):
        LabelNoiseConfig.model_validate({"kind": "file", "file": "s3://key:secret@bucket/a.json"})
