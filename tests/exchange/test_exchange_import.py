"""Files as the reference projects save them: read without running what is pickled, and converted to a set of our own."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import bilp
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.resize import ResizeConfig
from bilp.data import Dataset
from bilp.errors import ConfigError, DataError, MissingArtifact
from bilp.evaluate import evaluate_synthetic, measurements
from bilp.exchange import ImportOptions
from bilp.exchange import import_set as import_options
from bilp.exchange.reference_files import read_published
from bilp.resizing.resize_stage import resize


@pytest.fixture
def real(digits: Dataset) -> tuple[Tensor, Tensor]:
    """Two images per class, normalized, in no particular order."""
    chosen = torch.cat([indices[:2] for indices in digits.train.by_class()])[torch.arange(20) * 7 % 20]
    return digits.train.batch(chosen), digits.train.labels[chosen]


def import_set(file: str, dataset_uri: str, root: str, **options: object) -> str:
    return import_options(dataset_uri, ImportOptions.model_validate({"file": file, **options}), root)


def by_class(images: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([images[labels == c] for c in range(10)])


def test_a_file_of_dc_with_its_numpy_numbers(real: tuple[Tensor, Tensor], digits_uri: str, tmp_path: Path) -> None:
    images, labels = real
    file = str(tmp_path / "res_DC_digits_ConvNet_2ipc.pt")
    data = [[images + k, labels] for k in range(2)]
    torch.save({"data": data, "accs_all_exps": {"ConvNet": [np.float64(0.5), np.float32(0.25), 0.1]}}, file)
    found = read_published(file, experiment=1)
    assert found.layout.name == "dc"
    assert torch.equal(found.images, images + 1)
    assert torch.equal(found.labels, labels)
    with pytest.raises(DataError, match="holds 2 experiments: there is no number 2"):
        read_published(file, experiment=2)
    uri = import_set(file, digits_uri, str(tmp_path / "store"), name="dc")
    data_set = bilp.load_distilled(uri)
    assert torch.equal(data_set.images, by_class(images, labels)), "already normalized as the dataset is"
    assert data_set.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert (data_set.facts["method"], data_set.facts["ipc"], data_set.facts["source"]) == ("dc", 2, "res_DC_digits_ConvNet_2ipc.pt")
    assert import_set(file, digits_uri, str(tmp_path / "store"), name="dc") == uri
    assert import_set(file, digits_uri, str(tmp_path / "store"), experiment=1, name="dc") != uri


def test_an_imported_set_is_evaluated_like_any_other(real: tuple[Tensor, Tensor], digits_uri: str, tmp_path: Path) -> None:
    torch.save({"data": [list(real)]}, tmp_path / "res.pt")
    uri = import_set(str(tmp_path / "res.pt"), digits_uri, str(tmp_path))
    config = EvaluateConfig(networks=(NetworkConfig(width=8),), seeds=2, epochs=40, learning_rate=0.05)
    rows = measurements([evaluate_synthetic(digits_uri, uri, "imported", 0, config, str(tmp_path))])
    assert all(row.accuracy > 0.4 for row in rows)


def test_two_files_of_mtt(real: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    images, labels = real
    torch.save(images.double(), tmp_path / "images_best.pt")
    with pytest.raises(MissingArtifact, match=r"labels_best\.pt"):
        read_published(str(tmp_path / "images_best.pt"))
    torch.save(labels.int(), tmp_path / "labels_best.pt")
    torch.save(labels.flip(0), tmp_path / "other.pt")
    found = read_published(str(tmp_path / "images_best.pt"))
    assert (found.layout.name, found.images.dtype, found.labels.dtype) == ("mtt", torch.float32, torch.int64)
    assert torch.equal(found.labels, labels)
    assert torch.equal(read_published(str(tmp_path / "images_best.pt"), str(tmp_path / "other.pt")).labels, labels.flip(0))
    torch.save(images, tmp_path / "pictures.pt")
    with pytest.raises(DataError, match="name the file of the labels"):
        read_published(str(tmp_path / "pictures.pt"))


def test_labels_that_were_learned_are_taken_along(real: tuple[Tensor, Tensor], digits_uri: str, tmp_path: Path) -> None:
    """As DATM's program saves them: images class by class, and the logits of their soft labels."""
    images, root = by_class(*real), str(tmp_path / "store")
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
    torch.save(images, tmp_path / "images_best.pt")
    torch.save(logits, tmp_path / "labels_best.pt")
    uri = import_set(str(tmp_path / "images_best.pt"), digits_uri, root, name="datm")
    found = bilp.load_distilled(uri)
    assert torch.equal(found.images, images)
    assert found.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert found.logits is not None
    assert torch.equal(found.logits, logits.detach())
    torch.save(logits + 1, tmp_path / "labels_best.pt")
    assert import_set(str(tmp_path / "images_best.pt"), digits_uri, root, name="datm") != uri
    smaller = bilp.load_distilled(resize(uri, ResizeConfig(ipc=1, rule="random"), root))
    assert smaller.logits is not None
    for image, told in zip(smaller.images, smaller.logits, strict=True):
        (place,) = [k for k, whole in enumerate(images) if torch.equal(image, whole)]
        assert torch.equal(told, logits[place].detach())
    for wrong, message in ((logits[:15], "class by class"), (logits * torch.inf, "not finite"), (logits[:, :0], "class by class")):
        torch.save(wrong.detach(), tmp_path / "labels_best.pt")
        with pytest.raises(DataError, match=message):
            read_published(str(tmp_path / "images_best.pt"))


def test_pixels_of_idc_are_normalized(real: tuple[Tensor, Tensor], digits: Dataset, digits_uri: str, tmp_path: Path) -> None:
    images, labels = real
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (digits.mean, digits.std))
    torch.save([images * std + mean, labels], tmp_path / "data.pt")
    found = bilp.load_distilled(import_set(str(tmp_path / "data.pt"), digits_uri, str(tmp_path / "store")))
    torch.testing.assert_close(found.images, by_class(images, labels), rtol=1e-5, atol=1e-5)
    raw = bilp.load_distilled(import_set(str(tmp_path / "data.pt"), digits_uri, str(tmp_path / "store"), pixels="dataset"))
    torch.testing.assert_close(raw.images, by_class(images * std + mean, labels))
    with pytest.raises(ConfigError, match="color"):
        import_set(str(tmp_path / "data.pt"), digits_uri, str(tmp_path / "store"), pixels="cifar10")
    several = import_set(str(tmp_path / "data.pt"), digits_uri, str(tmp_path / "store"), factor=2)
    config = EvaluateConfig(networks=(NetworkConfig(width=8),), seeds=2, epochs=1)
    evaluation = open_artifact(evaluate_synthetic(digits_uri, several, "imported", 0, config, str(tmp_path / "store")), "evaluation")
    assert set(evaluation.table("evaluation.parquet", EVALUATION)["train_images"].to_pylist()) == {4 * len(images)}


class Evil:
    """Pickled, it would create a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = io.BytesIO()
    torch.save({"data": [[torch.rand(2, 1, 8, 8), torch.arange(2)]]}, whole, _use_new_zipfile_serialization=False)
    draw, file = random.Random(0), tmp_path / "damaged.pt"
    for length in [0, *(draw.randrange(len(whole.getvalue())) for _ in range(60))]:
        content = bytearray(whole.getvalue()[:length])
        for place in range(0, min(length, 300), 40):
            content[place] = draw.randrange(256)
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged\.pt cannot be read as saved tensors \(.+\)"):
            read_published(str(file))


def test_nothing_pickled_is_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({"data": [Evil(str(proof))]}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match="cannot be read as saved tensors"):
        read_published(str(tmp_path / "evil.pt"))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": 3}, "holds a dict: expected"),
        ({"data": [[torch.zeros(2, 1, 8, 8)]]}, "does not hold one tensor of images and one of labels"),
        ([torch.zeros(2, 1, 8, 8), torch.zeros(3, dtype=torch.int64)], r"images \[2, 1, 8, 8\] and labels \[3\]"),
        ([torch.zeros(2, 1, 8, 8), torch.zeros(2)], "labels torch.float32"),
        ([torch.zeros(10, 3, 8, 8), torch.arange(10)], r"\[3, 8, 8\], digits has \[1, 8, 8\]"),
        ([torch.zeros(10, 1, 8, 8), torch.arange(10) + 1], "labels from 1 to 10, digits has 10 classes"),
        ([torch.zeros(11, 1, 8, 8), torch.arange(11) % 10], "1 to 2 images per class"),
        ([torch.full((10, 1, 8, 8), torch.nan), torch.arange(10)], "not finite"),
    ],
)
def test_what_is_no_set_for_the_dataset_is_refused(content: object, message: str, digits_uri: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "data.pt")
    with pytest.raises(DataError, match=message):
        import_set(str(tmp_path / "data.pt"), digits_uri, str(tmp_path))
    (tmp_path / "text.pt").write_text("no tensors", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        read_published(str(tmp_path / "text.pt"))
