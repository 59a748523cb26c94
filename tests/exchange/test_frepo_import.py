"""FRePo's sets as sets of a data set here: pixels by undoing what its program does, classes by its numbers, labels that were learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from flax_state import array, centered, checkpoint
from frepo_reference import Array, Preprocessing
from PIL import Image

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.facts import SyntheticFacts
from bilp.artifacts.run_layout import SYNTHETIC
from bilp.config import EvaluateConfig, IngestConfig, NetworkConfig
from bilp.config.import_options import PIXELS, ImportOptions
from bilp.config.methods import frepo_sets
from bilp.config.methods.frepo_sets import SETS, FrepoSet
from bilp.config.sources import SOURCES, Normalization
from bilp.data import Dataset, ingest, open_dataset
from bilp.data.class_lists import class_order
from bilp.errors import ConfigError, DataError
from bilp.evaluate import evaluate_synthetic, measurements
from bilp.exchange import export_set, import_set
from bilp.exchange.frepo_classes import class_places
from bilp.exchange.frepo_pixels import fit_whitening
from bilp.report.label_rows import label_rows, mean_labels

STORED = {"mnist": (28, 28), "cifar10": (32, 32, 3)}
DIGITS = FrepoSet((1, 8, 8), 10, Normalization((0.3,), (0.4,)))
"""Digits as if FRePo's program had whitened them: a whitening that takes no time."""


def by_frepo(images: Array, train: Array, constants: Normalization, whitens: bool = True) -> Array:
    """Images `[n, H, W, C]` as its program gets them, in float64."""
    return Preprocessing(train, np.array(constants.mean), np.array(constants.std), whitens).apply(images)


def channels_first(images: Array) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def undone(whitened: torch.Tensor, train: Array, mean: Array, std: Array) -> torch.Tensor:
    """By the code that is tested: the fit of channels-first blocks of uneven sizes, and the images that come back."""
    blocks = channels_first((train - mean) / std).split(7)
    normalized = fit_whitening(blocks, blocks).undo(whitened)
    return normalized * torch.from_numpy(std).view(-1, 1, 1) + torch.from_numpy(mean).view(-1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "count"),
    [((8, 8, 1), 300), ((6, 5, 3), 200), ((8, 8, 1), 64), pytest.param((32, 32, 3), 3100, marks=pytest.mark.slow)],
)
def test_undoing_what_its_program_does_gives_the_images_back(shape: tuple[int, int, int], count: int) -> None:
    """Of whatever images, as many training images as values or more; in float64 to 1e-6, of whitened images in float32 to 1e-4."""
    draw = np.random.default_rng(count)
    train, images = draw.random((count, *shape)) ** 2, draw.random((5, *shape))
    train[:, :2] *= 0.1  # correlated and unequal, as pixels are
    train = (train + train[:, :, :1]) / 2
    mean, std = np.linspace(0.4, 0.5, shape[2]), np.linspace(0.2, 0.3, shape[2])
    whitened = channels_first(Preprocessing(train, mean, std).apply(images))
    torch.testing.assert_close(undone(whitened, train, mean, std), channels_first(images), rtol=0, atol=1e-6)
    torch.testing.assert_close(undone(whitened.float(), train, mean, std), channels_first(images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("shape", "count"), [((8, 8, 1), 30), pytest.param((32, 32, 3), 40, marks=pytest.mark.slow)])
def test_with_fewer_training_images_than_values_their_span_comes_back(shape: tuple[int, int, int], count: int) -> None:
    """Rank control: of the directions that no training image has, all but one count as 1; which one that is, nothing tells."""
    draw = np.random.default_rng(count)
    train = draw.random((count, *shape))
    mean, std = np.full(shape[2], 0.5), np.full(shape[2], 0.25)
    center, weights = train.mean(axis=0), draw.normal(0, 0.5, (6, count))
    spanned = center + np.tensordot(weights, train - center, axes=1)
    anything = draw.random((12, *shape))
    fit = Preprocessing(train, mean, std)
    back = undone(channels_first(fit.apply(spanned)), train, mean, std)
    torch.testing.assert_close(back, channels_first(spanned), rtol=0, atol=1e-6)
    lost = (undone(channels_first(fit.apply(anything)), train, mean, std) - channels_first(anything)).flatten(1)
    assert int((torch.linalg.svdvals(lost) > 1e-6).sum()) <= 2, "their direction and ours"
    assert float((lost @ channels_first(train - center).flatten(1).T).abs().max()) < 1e-5


def published(folder: Path, images: Array, labels: Array, name: str = "checkpoint_93.17") -> str:
    file = folder / name
    file.write_bytes(checkpoint(array(images.astype(np.float32)), array(labels)))
    return str(file)


def pixels_of(dataset: Dataset) -> Array:
    """Training images `[N, H, W, C]` in [0, 1]."""
    return dataset.train.images().permute(0, 2, 3, 1).double().numpy() / 255


def drawn(dataset: Dataset, count: int) -> Array:
    channels, *side = dataset.shape
    return np.random.default_rng(count).random((count, *side, channels))


def normalized(images: Array, dataset: Dataset) -> torch.Tensor:
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (dataset.mean, dataset.std))
    return ((channels_first(images) - mean) / std).float()


@pytest.fixture
def known_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(frepo_sets._BY_PLAIN, "digits", DIGITS)


def test_images_come_back_normalized_as_the_data_set_is(known_digits: None, digits: Dataset, digits_uri: str, tmp_path: Path) -> None:
    images, labels, root = drawn(digits, 20), centered(2, 10), str(tmp_path / "store")
    whitened = by_frepo(images, pixels_of(digits), DIGITS.constants)
    file = published(tmp_path, whitened, labels)
    uri = import_set(digits_uri, ImportOptions(file=file, name="by others"), root)
    found = bilp.load_distilled(uri)
    torch.testing.assert_close(found.images, normalized(images, digits), rtol=0, atol=1e-4)
    assert found.values is not None and found.values.numpy().tobytes() == labels.tobytes()
    assert found.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert (found.facts["source"], found.facts["ipc"], found.facts["method"]) == ("checkpoint_93.17", 2, "by others")
    manifest = open_artifact(uri, SYNTHETIC).manifest
    assert (manifest.config["pixels"], manifest.config["layout"]) == ("frepo", "frepo")
    as_they_are = bilp.load_distilled(import_set(digits_uri, ImportOptions(file=file, pixels="dataset"), root))
    assert torch.equal(as_they_are.images, channels_first(whitened.astype(np.float32)))
    in_units = bilp.load_distilled(import_set(digits_uri, ImportOptions(file=file, pixels="unit"), root))
    torch.testing.assert_close(in_units.images, normalized(whitened, digits), rtol=1e-5, atol=1e-4)


def test_a_whitened_data_set_whitens_them_its_own_way(known_digits: None, digits: Dataset, tmp_path: Path) -> None:
    uri = ingest(IngestConfig(source="digits", whitening="zca"), str(tmp_path))
    whitened = open_dataset(uri)
    assert whitened.whitening is not None
    images = drawn(digits, 10)
    file = published(tmp_path, by_frepo(images, pixels_of(digits), DIGITS.constants), centered(1, 10))
    found = bilp.load_distilled(import_set(uri, {"file": file}, str(tmp_path)))
    torch.testing.assert_close(found.images, whitened.whitening.apply(channels_first(images).float()), rtol=0, atol=1e-3)
    assert found.whitening is not None


def test_labels_are_in_the_key_and_in_the_order_of_the_images(known_digits: None, digits: Dataset, digits_uri: str, tmp_path: Path) -> None:
    images, labels, root = drawn(digits, 20), centered(2, 10), str(tmp_path / "store")
    uri = import_set(digits_uri, {"file": published(tmp_path, images, labels), "pixels": "unit"}, root)
    assert import_set(digits_uri, {"file": published(tmp_path, images, labels, "copy"), "pixels": "unit"}, root) == uri
    swapped = labels.copy()
    swapped[[0, 1]] = labels[[1, 0]]
    other = import_set(digits_uri, {"file": published(tmp_path, images, swapped), "pixels": "unit"}, root)
    assert other != uri
    found = bilp.load_distilled(other)
    assert found.values is not None and found.values.numpy().tobytes() == swapped.tobytes()
    with pytest.raises(ConfigError, match="labels that were learned with its images .* set factor to 1"):
        import_set(digits_uri, {"file": published(tmp_path, images, labels), "pixels": "unit", "factor": 2}, root)
    fewer = published(tmp_path, images[:6], centered(2, 3))
    with pytest.raises(DataError, match="labels of 3 classes, digits has 10 classes"):
        import_set(digits_uri, {"file": fewer, "pixels": "unit"}, root)


def test_networks_learn_the_labels_a_page_tells_them_and_an_export_holds_them(digits: Dataset, digits_uri: str, tmp_path: Path) -> None:
    chosen = torch.cat([indices[:2] for indices in digits.train.by_class()])
    images = digits.train.images(chosen).permute(0, 2, 3, 1).numpy() / 255
    labels, root = centered(2, 10), str(tmp_path / "store")
    uri = import_set(digits_uri, {"file": published(tmp_path, images, labels), "pixels": "unit"}, root)
    found = {}
    for kind in ("hard", "learned_values"):
        config = EvaluateConfig(networks=(NetworkConfig(width=4, depth=2),), seeds=2, epochs=10, labels=kind)
        found[kind] = measurements([evaluate_synthetic(digits_uri, uri, "imported", 0, config, root)])
    assert [row.accuracy for row in found["hard"]] != [row.accuracy for row in found["learned_values"]], "they learned other labels"
    artifact = open_artifact(uri, SYNTHETIC)
    facts = artifact.stated(SyntheticFacts)
    assert facts.learned_labels is not None and facts.learned_labels.agreement == 1.0
    told = label_rows(mean_labels(artifact), digits.class_names, range(10))
    assert [row.name for row in told] == list(digits.class_names)
    assert told[3].own == f"{labels[6:8, 3].astype(np.float64).mean():.3f}"
    (file,) = export_set(uri, "safetensors", tmp_path / "out")
    assert safetensors.torch.load_file(file)["values"].numpy().tobytes() == labels.tobytes()
    again = bilp.load_distilled(import_set(digits_uri, {"file": file, "name": "again"}, root))
    assert again.values is not None and again.values.numpy().tobytes() == labels.tobytes()


def test_labels_of_an_exported_set_that_none_are_are_refused(digits_uri: str, synthetic_uri: str, tmp_path: Path) -> None:
    from safetensors import safe_open

    (file,) = export_set(synthetic_uri, "safetensors", tmp_path / "out")
    with safe_open(file, framework="pt") as opened:
        told, tensors = dict(opened.metadata()), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for wrong in (torch.zeros(30, 9), torch.zeros(30, 10).double(), torch.full((30, 10), torch.nan)):
        Path(file).write_bytes(safetensors.torch.save({**tensors, "values": wrong}, told))
        with pytest.raises(DataError, match="learned labels that none are"):
            import_set(digits_uri, {"file": file}, str(tmp_path))


def stored(folder: Path, side: tuple[int, ...], count: int) -> str:
    """A data set of ten classes, called as its folder is."""
    folder.mkdir()
    draw = np.random.default_rng(1)
    arrays = {f"x_{split}": draw.integers(0, 256, (count, *side), dtype=np.uint8) for split in ("train", "test")}
    np.savez(folder / "data.npz", **arrays, y_train=np.arange(count) % 10, y_test=np.arange(count) % 10)
    return ingest(IngestConfig(source="npz", uri=str(folder)), str(folder.parent / "store"))


def test_mnist_is_normalized_and_not_whitened(tmp_path: Path) -> None:
    uri = stored(tmp_path / "mnist", (28, 28), 20)
    dataset = open_dataset(uri)
    images, constants = drawn(dataset, 10), SETS["mnist"].constants
    file = published(tmp_path, by_frepo(images, pixels_of(dataset), constants, whitens=False), centered(1, 10))
    found = bilp.load_distilled(import_set(uri, {"file": file}, str(tmp_path / "store")))
    torch.testing.assert_close(found.images, normalized(images, dataset), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_copy_of_cifar_is_known_by_its_name_and_form(tmp_path: Path) -> None:
    """Fewer training images than values, so that images of their span come back."""
    uri = stored(tmp_path / "cifar10", (32, 32, 3), 60)
    dataset = open_dataset(uri)
    train = pixels_of(dataset)
    weights = np.random.default_rng(2).random((10, len(train)))
    images = np.tensordot(weights / weights.sum(axis=1, keepdims=True), train, axes=1)
    file = published(tmp_path, by_frepo(images, train, SETS["cifar10"].constants), centered(1, 10))
    found = bilp.load_distilled(import_set(uri, {"file": file}, str(tmp_path / "store")))
    torch.testing.assert_close(found.images, normalized(images, dataset), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "side", "message"),
    [
        (
            "birds",
            (28, 28),
            "birds, images of 1x28x28 in 10 classes, is none of the data sets whose constants .* choose pixels dataset or unit",
        ),
        ("mnist", (32, 32), "mnist, images of 1x32x32 in 10 classes, is none of the data sets"),
        ("imagenette", (128, 128, 3), "whitens imagenette in parts of 64 x 64, which is not undone here: choose pixels dataset or unit"),
    ],
)
def test_pixels_of_other_data_sets_are_refused(name: str, side: tuple[int, ...], message: str, tmp_path: Path) -> None:
    uri = stored(tmp_path / name, side, 20)
    file = published(tmp_path, drawn(open_dataset(uri), 10), centered(1, 10))
    with pytest.raises(ConfigError, match=message):
        import_set(uri, {"file": file}, str(tmp_path / "store"))
    assert len(bilp.load_distilled(import_set(uri, {"file": file, "pixels": "unit"}, str(tmp_path / "store")))) == 10


def test_classes_whose_numbers_are_not_known_are_refused(tmp_path: Path) -> None:
    uri = stored(tmp_path / "imagewoof", (128, 128, 3), 20)
    file = published(tmp_path, drawn(open_dataset(uri), 10), centered(1, 10))
    with pytest.raises(ConfigError, match="does not tell which class of imagewoof has which number"):
        import_set(uri, {"file": file, "pixels": "unit"}, str(tmp_path / "store"))


def folders(place: Path, names: tuple[str, ...]) -> str:
    """A picture of 64 x 64 of each class in each split."""
    for split in ("train", "test"):
        for number, name in enumerate(names):
            (place / split / name).mkdir(parents=True)
            Image.new("RGB", (64, 64), (number, 100 * (split == "train"), 7)).save(place / split / name / "a.png")
    return ingest(IngestConfig(source="folder", uri=str(place)), str(place.parent / "store"))


def test_classes_of_tiny_imagenet_are_those_of_wnids_txt(tmp_path: Path) -> None:
    ids, order = class_order("tiny_imagenet"), class_order("tiny_imagenet_wnids")
    uri = folders(tmp_path / "tiny-imagenet-200", ids)
    images, labels = drawn(open_dataset(uri), 200), centered(1, 200)
    found = bilp.load_distilled(import_set(uri, {"file": published(tmp_path, images, labels), "pixels": "dataset"}, str(tmp_path)))
    assert found.labels.tolist() == list(range(200)) and found.class_names == ids
    assert found.values is not None
    for number in (0, 1, 137, 199):  # of its program
        here = ids.index(order[number])
        assert torch.equal(found.images[here], channels_first(images[number : number + 1].astype(np.float32))[0])
        for other in (0, 17, 199):
            assert found.values[here, ids.index(order[other])].item() == labels[number, other]


def test_a_copy_under_another_name_is_known_by_the_ids_of_its_classes(tmp_path: Path) -> None:
    ids, order = class_order("tiny_imagenet"), class_order("tiny_imagenet_wnids")
    places = class_places(open_dataset(folders(tmp_path / "mine", ids)))
    assert places is not None and [ids[number] for number in places.tolist()] == list(order)
    with pytest.raises(ConfigError, match="does not tell which class of dogs has which number"):
        class_places(open_dataset(folders(tmp_path / "dogs", class_order("imagewoof"))))
    assert class_places(open_dataset(folders(tmp_path / "others", ids[:10]))) is None


def test_a_copy_whose_classes_have_other_names_cannot_be_numbered(tmp_path: Path) -> None:
    uri = folders(tmp_path / "tiny_imagenet", tuple(f"class {number:03}" for number in range(200)))
    with pytest.raises(ConfigError, match="order of tiny_imagenet_wnids, and the classes of this copy have no WordNet ids"):
        class_places(open_dataset(uri))


def test_what_is_known_of_its_data_sets() -> None:
    """Names that sources here have, lists of as many classes, and constants of their own where they differ from those of others."""
    for name, entry in SETS.items():
        assert frepo_sets.frepo_set(name.upper(), entry.shape, entry.classes) is entry
        assert frepo_sets.frepo_set(name, entry.shape, entry.classes + 1) is None
        assert len(entry.constants.mean) == len(entry.constants.std) == entry.shape[0]
        assert not entry.order or len(class_order(entry.order)) == entry.classes
    assert {"tiny-imagenet-200", "caltech_birds2011", "CUB_200_2011"} == SETS.keys() - SOURCES.keys()
    same = {name for name in SETS.keys() & SOURCES.keys() if (known := SOURCES[name].known) and known.constants == SETS[name].constants}
    assert same == {"mnist", "fashion_mnist", "cifar100"}
    assert sorted(class_order("tiny_imagenet_wnids")) == list(class_order("tiny_imagenet"))
    assert class_order("tiny_imagenet_wnids")[:3] == ("n02124075", "n04067472", "n04540053")
    assert list(PIXELS) == ["auto", "dataset", "cifar10", "unit", "frepo"]


def test_another_scale_is_refused_with_those_that_there_are() -> None:
    given: dict[str, Any] = {"file": "x", "pixels": "other"}
    with pytest.raises(ValueError, match="'auto', 'dataset', 'cifar10', 'unit' or 'frepo'"):
        ImportOptions.model_validate(given)
