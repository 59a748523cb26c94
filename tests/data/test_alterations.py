"""What ingestion changes on purpose: the train split alone, in the key, the same bytes each time, with the truth beside the record."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.config import IngestConfig
from bilp.config.alterations import DuplicatesAddedConfig
from bilp.data import Dataset, ingest, ingestion, open_dataset, open_recorded, read_source, shards
from bilp.data.alterations.added_copies import originals_of
from bilp.data.alterations.long_tail import kept_of_classes
from bilp.data.source_record import open_record
from bilp.data.truth_file import KnownTruth, publish_truth
from bilp.errors import DataError
from bilp.storage import objects
from bilp.truth.table import Truth, open_truth, truth_uri

Settings = Mapping[str, Any]

NOISE: Settings = {"label_noise": {"kind": "symmetric", "share": 0.3}}
TAIL: Settings = {"long_tail": {"imbalance": 10}}
COPIES: Settings = {"duplicates_added": {"share": 0.1, "times": 2}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("alterations"))


@pytest.fixture(scope="module")
def clean(root: str) -> Dataset:
    return open_recorded(read_source({}, root))


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def changed(settings: Settings, root: str) -> tuple[Dataset, Truth]:
    """The data set of these settings, and the truth about it."""
    record = read_source(settings, root)
    truth = open_truth(record)
    assert truth is not None
    return open_recorded(record), truth


@pytest.mark.parametrize("settings", [NOISE, TAIL, COPIES, {**NOISE, **TAIL, **COPIES}], ids=["noise", "tail", "copies", "all"])
def test_the_test_split_stays_and_the_name_too_and_truth_is_beside_the_record(root: str, clean: Dataset, settings: Settings) -> None:
    dataset, truth = changed(settings, root)
    assert dataset.name == clean.name and dataset.fingerprint != clean.fingerprint
    assert dataset.test.index().equals(clean.test.index()), "digests and labels"
    assert torch.equal(dataset.test.images(), clean.test.images())
    assert dataset.origins("test") == clean.origins("test")
    assert np.array_equal(truth.label, dataset.train.labels.numpy())
    assert truth.fingerprint == dataset.fingerprint
    known = dict(zip(clean.origins("train"), clean.train.labels.tolist(), strict=True))
    originals = [origin.partition(" (copy")[0] for origin in dataset.origins("train")]
    assert truth.true_label.tolist() == [known[origin] for origin in originals], "what the source says"
    assert read_source(settings, root) == dataset.record.artifact.uri if dataset.record else False


def test_label_noise_changes_labels_alone(root: str, clean: Dataset) -> None:
    dataset, truth = changed(NOISE, root)
    assert torch.equal(dataset.train.images(), clean.train.images()) and dataset.mean == clean.mean
    assert truth.errors == round(0.3 * len(clean.train)) == int((dataset.train.labels != clean.train.labels).sum())
    assert truth.copies == 0
    assert dataset.record is not None
    (line,) = open_record(dataset.record.artifact.uri).lines()
    assert line == (
        "30 % of the labels changed on purpose (431 of 1,438 training images, symmetric label noise of seed 0): "
        "each became another class, all with the same chance; test images keep theirs"
    )


def test_kinds_and_seeds_are_data_sets_of_their_own(root: str) -> None:
    settings = [{"kind": "symmetric", "share": 0.3, "seed": 1}, {"kind": "cyclic", "share": 0.3}, {"kind": "symmetric", "share": 0.2}]
    assert len({ingest({"label_noise": noise}, root) for noise in settings}) == 3


def test_a_long_tail_has_the_exponential_profile(root: str, clean: Dataset) -> None:
    assert kept_of_classes([5000] * 10, 100).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50], "published (Cui et al.)"
    assert kept_of_classes([500] * 3, 10).tolist() == [500, 158, 50]
    assert kept_of_classes([3, 3, 0], 1000).tolist() == [3, 1, 0]
    assert kept_of_classes([7], 10).tolist() == [7]
    dataset, truth = changed(TAIL, root)
    counts = torch.bincount(clean.train.labels)
    assert torch.bincount(dataset.train.labels).tolist() == kept_of_classes(counts.tolist(), 10).tolist()
    assert (truth.errors, truth.copies) == (0, 0)
    places = {origin: place for place, origin in enumerate(clean.origins("train"))}
    stay = torch.tensor([places[origin] for origin in dataset.origins("train")])
    assert (stay.diff() > 0).all(), "in the order of the source"
    assert torch.equal(dataset.train.images(), clean.train.images(stay))
    larger = set(open_recorded(read_source({"long_tail": {"imbalance": 50}}, root)).origins("train"))
    assert larger < set(dataset.origins("train"))


@pytest.mark.parametrize("jitter", [0, 3])
def test_copies_come_last_and_differ_by_no_more_than_the_jitter(root: str, clean: Dataset, jitter: int) -> None:
    dataset, truth = changed({"duplicates_added": {"share": 0.1, "times": 2, "jitter": jitter}}, root)
    n = len(clean.train)
    assert len(dataset.train) == n + 2 * 144 and truth.copies == 2 * 144
    assert torch.equal(dataset.train.images()[:n], clean.train.images())
    assert (truth.copy_of[:n] == -1).all()
    originals = truth.copy_of[n:]
    assert np.array_equal(originals[:144], originals[144:]) and len(set(originals.tolist())) == 144
    assert np.array_equal(truth.label[n:], truth.label[originals])
    copies, first = dataset.train.images()[n:].int(), clean.train.images(torch.from_numpy(originals)).int()
    difference = (copies - first).abs()
    assert int(difference.max()) == jitter
    assert jitter == 0 or (not torch.equal(copies[:144], copies[144:]) and float((difference > 0).float().mean()) > 0.4)
    assert dataset.origins("train")[n] == f"{dataset.origins('train')[originals[0]]} (copy 1)"
    assert dataset.origins("train")[-1] == f"{dataset.origins('train')[originals[-1]]} (copy 2)"


def test_a_share_that_makes_no_copy_adds_none(root: str, clean: Dataset) -> None:
    assert len(originals_of(4, DuplicatesAddedConfig(share=0.1, times=3))) == 0
    dataset, truth = changed({"duplicates_added": {"share": 0.0001}}, root)
    assert dataset.fingerprint == clean.fingerprint and truth.copies == 0


def test_copies_have_the_labels_that_noise_gave_their_originals(root: str) -> None:
    _, truth = changed({**NOISE, **COPIES, **TAIL}, root)
    copies = truth.copy_of >= 0
    assert np.array_equal(truth.wrong[copies], truth.wrong[truth.copy_of[copies]]) and truth.wrong[copies].any()
    assert truth.wrong[~copies].sum() == int(0.3 * (~copies).sum() + 0.5), "exactly, of the images that the tail left"


def test_the_same_settings_give_the_same_bytes_whatever_the_shards(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**NOISE, **TAIL, **COPIES}
    monkeypatch.setattr(shards, "BLOCK_BYTES", 1000)
    one, two = read_source(settings, root), read_source(settings, str(tmp_path))
    for former, again in ((one, two), (truth_uri(one), truth_uri(two))):
        kind = "source" if former == one else "truth"
        assert open_artifact(former, kind).manifest.files == open_artifact(again, kind).manifest.files
    monkeypatch.setattr(shards, "SHARD_BYTES", shards.HEADER_BYTES + 64 * 100)
    small = open_recorded(read_source(settings, str(tmp_path / "small")))
    assert small.fingerprint == open_recorded(one).fingerprint
    assert torch.equal(small.train.images(), open_recorded(one).train.images())


def test_noise_does_not_move_what_is_found_and_dropped_as_duplicates_and_held_out(
    tmp_path: Path, write_folder: Callable[[Any], Path], pixels: Callable[..., np.ndarray]
) -> None:
    """A folder without a test split, with a picture twice in a class, and one in two classes."""
    files = {f"{kind}/{number}.png": pixels(6, 5, 3, seed=number + 50 * (kind == "dog")) for kind in ("cat", "dog") for number in range(20)}
    files |= {"cat/30.png": files["cat/3.png"], "dog/31.png": files["cat/4.png"]}
    folder, store = write_folder(files), str(tmp_path / "store")
    for duplicates in ("keep", "drop"):
        base = {"source": "folder", "uri": str(folder), "duplicates": duplicates}
        clean = open_recorded(read_source(base, store))
        noisy, truth = changed({**base, **NOISE}, store)
        assert noisy.origins("test") == clean.origins("test") and noisy.test.index().equals(clean.test.index())
        assert noisy.origins("train") == clean.origins("train")
        assert np.array_equal(truth.true_label, clean.train.labels.numpy())
        assert truth.errors == int(0.3 * len(clean.train) + 0.5)
        assert noisy.record is not None and clean.record is not None
        assert noisy.record.lines()[1:] == clean.record.lines()


def test_labels_of_a_file_are_those_of_the_source_also_where_images_are_skipped(
    tmp_path: Path, write_folder: Callable[[Any], Path], pets: dict[str, Any]
) -> None:
    store, names = str(tmp_path / "store"), tmp_path / "given.csv"
    folder = write_folder({**pets, "train/cat/1.png": b""})
    names.write_text("label\ndog\ncat\ncat\ncat\ndog\ndog\n")
    base = {"source": "folder", "uri": str(folder), "on_corrupt": "skip"}
    settings = {**base, "label_noise": {"kind": "file", "file": str(names)}}
    dataset, truth = changed(settings, store)
    assert dataset.origins("train") == [f"train/{name}.png" for name in ("cat/0", "cat/2", "dog/0", "dog/1", "dog/2")]
    assert [dataset.class_names[label] for label in truth.label] == ["dog", "cat", "cat", "dog", "dog"]
    assert truth.wrong.tolist() == [True, False, True, False, False]
    names.rename(tmp_path / "elsewhere.csv")
    elsewhere = {**base, "label_noise": {"kind": "file", "file": str(tmp_path / "elsewhere.csv")}}
    assert read_source(elsewhere, store) == read_source(elsewhere, store) == (dataset.record and dataset.record.artifact.uri)
    (tmp_path / "elsewhere.csv").write_text("label\ndog\ncat\ncat\ncat\ndog\ncat\n")
    assert changed(elsewhere, store)[1].errors == 3, "the content of the file counts, not its place"
    (tmp_path / "elsewhere.csv").write_text("label\ncat\n" * 1)
    with pytest.raises(DataError, match="holds 1 label, and folder .* has 6 images in its training split"):
        read_source(elsewhere, store)


def test_labels_that_leave_a_class_without_images_are_refused(
    tmp_path: Path, write_folder: Callable[[Any], Path], pets: dict[str, Any]
) -> None:
    (tmp_path / "given.json").write_text('["dog", "dog", "dog", "dog", "dog", "dog"]')
    noise = {"kind": "file", "file": str(tmp_path / "given.json")}
    with pytest.raises(DataError, match="what is changed leaves no train image of class 'cat'"):
        read_source({"source": "folder", "uri": str(write_folder(pets)), "label_noise": noise}, str(tmp_path / "store"))


def test_parquet_and_arrays_are_changed_as_well(
    tmp_path: Path, write_parquet: Callable[..., None], pixels: Callable[..., np.ndarray]
) -> None:
    images = [png(pixels(5, 4, seed=number)) for number in range(40)]
    for split in ("train", "test"):
        write_parquet(tmp_path / "tables" / f"{split}.parquet", images[:20] if split == "train" else images[20:], [0, 1] * 10, ["a", "b"])
    _, truth = changed({"source": "parquet", "uri": str(tmp_path / "tables"), **NOISE}, str(tmp_path / "store"))
    assert (truth.errors, len(truth)) == (6, 20)
    given = bilp.ingest(
        images=np.stack([pixels(5, 4, seed=number) for number in range(40)]),
        labels=["a", "b"] * 20,
        root=tmp_path / "store",
        **NOISE,
    )
    assert given.record_uri is not None
    held = given.truth
    assert held is not None and (held.errors, len(held)) == (int(0.3 * 32 + 0.5), 32)
    assert given.notes[0].startswith("31.2 % of the labels changed on purpose (10 of 32 training images")


def test_people_have_labeled_the_images_of_the_source(root: str, tmp_path: Path) -> None:
    _, labels = load_digits(return_X_y=True)
    torch.save({"clean_label": labels, "worse_label": (labels + 3) % 10}, tmp_path / "human.pt")
    noise = {"kind": "cifar_n", "file": str(tmp_path / "human.pt"), "column": "worse_label"}
    _, truth = changed({"label_noise": noise}, root)
    assert np.array_equal(truth.label, (truth.true_label + 3) % 10)


def test_a_whitened_data_set_has_the_noise_and_shares_the_truth(root: str) -> None:
    dataset = open_dataset(ingest({**NOISE, "whitening": "zca"}, root))
    _, truth = changed({**NOISE, "whitening": "zca"}, root)
    assert np.array_equal(dataset.train.labels.numpy(), truth.label)
    assert dataset.whitening_facts is not None and dataset.whitening_facts["of"] == truth.fingerprint


def test_records_without_changes_keep_their_keys_and_have_no_truth(root: str) -> None:
    record = read_source(IngestConfig(), root)
    assert open_truth(record) is None
    assert "truth" not in open_artifact(record, "source").manifest.parents
    assert not objects.exists(truth_uri(record))


def test_who_is_killed_before_the_record_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "publish_record", die)
        with pytest.raises(KeyboardInterrupt):
            read_source(NOISE, store)
    assert not objects.exists(f"{store}/datasets/digits/sources")
    (key,) = objects.children(f"{store}/datasets/digits/truth")
    dataset, truth = changed(NOISE, store)
    assert dataset.record is not None and dataset.record.artifact.uri.endswith(key)
    objects.delete(truth.uri)
    assert changed(NOISE, store)[1].errors == truth.errors, "what is missing is made again"


def test_the_truth_of_a_source_that_has_changed_since_is_replaced(tmp_path: Path) -> None:
    """As the record of one whose signature did not tell."""
    record = read_source(NOISE, str(tmp_path / "one"))
    elsewhere = record.replace("/one/", "/two/")
    nothing = np.zeros(3, dtype=np.int64)
    publish_truth(elsewhere, "0" * 16, KnownTruth(nothing, nothing, nothing - 1), {})
    assert read_source(NOISE, str(tmp_path / "two")) == elsewhere
    truth, first = open_truth(elsewhere), open_truth(record)
    assert truth is not None and first is not None
    assert np.array_equal(truth.true_label, first.true_label) and truth.errors == 431


@pytest.mark.parametrize("what", ["label_noise", "corrections"])
def test_what_does_not_fit_is_refused_before_anything_is_decoded(root: str, tmp_path: Path, what: str) -> None:
    (tmp_path / "a.csv").write_text("label\n3\n")
    file = str(tmp_path / "a.csv")
    told: list[str] = []
    settings = {"label_noise": {"kind": "file", "file": file}} if what == "label_noise" else {"corrections": file}
    with pytest.raises(DataError, match=r"a\.csv"):
        read_source(settings, root, lambda done, total, note="": told.append(note))
    assert told == []
