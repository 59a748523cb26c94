"""ZCA whitening against its definition in numpy, its artifact, and a distillation that goes through it from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bilp
from bilp import settings
from bilp.artifacts.artifact import open_artifact
from bilp.config import DistillConfig, EvaluateConfig, ExpertsConfig, IngestConfig, NetworkConfig, PipelineConfig, ReselectConfig
from bilp.data import Dataset, ingest, open_dataset, whitened
from bilp.data.pool import RealPool
from bilp.data.store import Split
from bilp.data.whitening import Whitening, decode, encode, fit
from bilp.distill import distill_round, finish_run, start_run
from bilp.distill.pictures import displayable
from bilp.distill.step.initial import initial_state
from bilp.errors import ConfigError, DamagedArtifact, DataError, IncompatibleArtifact
from bilp.evaluate import evaluate_synthetic
from bilp.exchange import ImportOptions, export_set, import_set
from bilp.experts.train_experts import collect_experts, train_expert
from bilp.storage import objects

ZCA = IngestConfig(whitening="zca")
NARROW = NetworkConfig(width=8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("whitened"))


@pytest.fixture(scope="module")
def plain(root: str) -> Dataset:
    return open_dataset(ingest(IngestConfig(), root))


@pytest.fixture(scope="module")
def white(root: str) -> Dataset:
    return open_dataset(ingest(ZCA, root))


def pixels(split: Split) -> torch.Tensor:
    """What is whitened: pixels in [0, 1]."""
    return split.images().float() / 255


def by_definition(flat: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and matrix for rows of flat images, one outer product after the other."""
    center = flat.mean(axis=0)
    covariance = sum(np.outer(row - center, row - center) for row in flat) / (len(flat) - 1)
    values, vectors = np.linalg.eig(covariance)
    return center, np.real(vectors @ np.diag(1 / np.sqrt(values + epsilon)) @ np.linalg.inv(vectors))


def test_batches_equal_the_definition_in_numpy(plain: Dataset, white: Dataset) -> None:
    flat, test = (pixels(split).flatten(1).double().numpy() for split in (plain.train, plain.test))
    center, matrix = by_definition(flat, 0.1)
    for split, rows in ((white.train, flat), (white.test, test)):
        wanted = torch.from_numpy((rows - center) @ matrix).float()
        torch.testing.assert_close(split.batch().flatten(1), wanted, rtol=1e-4, atol=1e-5)
        chosen = torch.tensor([5, 0, 5])
        torch.testing.assert_close(split.batch(chosen).flatten(1), wanted[chosen], rtol=1e-4, atol=1e-5)
    assert white.train.batch(torch.arange(0)).shape == (0, 1, 8, 8)


def test_directions_become_as_wide_as_epsilon_lets_them(plain: Dataset, white: Dataset) -> None:
    before, after = (torch.cov(x.flatten(1).double().T) for x in (pixels(plain.train), white.train.batch()))
    values = torch.linalg.eigvalsh(before)
    torch.testing.assert_close(torch.linalg.eigvalsh(after), (values / (values + 0.1)).sort().values, rtol=1e-4, atol=1e-5)
    assert float(after.diagonal().max()) < 1.0


def test_undone_it_is_the_picture_again(plain: Dataset, white: Dataset) -> None:
    fitted = white.whitening
    assert fitted is not None
    torch.testing.assert_close(fitted.undo(white.train.batch()), pixels(plain.train), rtol=1e-3, atol=1e-4)
    shown = displayable(white.train.batch(), white.mean, white.std, fitted)
    assert (shown.int() - plain.train.images().int()).abs().max() <= 1, "rounding of a pixel"


def test_a_fit_does_not_depend_on_how_the_images_are_cut() -> None:
    images = torch.randn(50, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    whole, cut = (fit(images.split(size), images.split(size), 0.1) for size in (50, 7))
    torch.testing.assert_close(cut.matrix, whole.matrix, rtol=1e-6, atol=1e-7)
    assert torch.equal(whole.matrix, whole.matrix.T)
    constant = fit([torch.ones(3, 1, 2, 2)], [torch.ones(3, 1, 2, 2)], 0.1)
    torch.testing.assert_close(constant.matrix, torch.eye(4) / 0.1**0.5)
    with pytest.raises(DataError, match="two training images or more, not 1"):
        fit(images[:1].split(1), images[:1].split(1), 0.1)


def test_it_is_an_artifact_of_its_own_below_the_pixels(plain: Dataset, white: Dataset, root: str) -> None:
    assert white.uri.startswith(f"{plain.uri}/whitened/")
    assert white.fingerprint != plain.fingerprint == open_dataset(ingest(IngestConfig(), root)).fingerprint
    other = open_dataset(ingest(IngestConfig(whitening="zca", whitening_epsilon=0.2), root))
    assert len({plain.fingerprint, white.fingerprint, other.fingerprint}) == 3
    assert white.whitening_facts == {"kind": "zca", "epsilon": 0.1, "of": plain.fingerprint}
    assert (white.class_names, white.shape, len(white.test)) == (plain.class_names, plain.shape, len(plain.test))
    assert torch.equal(white.train.labels, plain.train.labels)
    assert not [path for path in Path(white.uri).iterdir() if path.suffix == ".arrow"], "pixels are not stored twice"


def test_what_is_there_is_not_fitted_again(root: str, white: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(whitened, "fit")
    assert ingest(ZCA, root) == white.uri


def test_a_damaged_fit_is_named(tmp_path: Path) -> None:
    uri = ingest(ZCA, str(tmp_path))
    dataset = open_dataset(uri)
    file = Path(uri) / "whitening.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedArtifact, match=r"whitening\.safetensors"):
        dataset.train.batch(torch.arange(2))
    with pytest.raises(DamagedArtifact, match="here is not a safetensors file"):
        decode(b"nothing", "here", (1, 8, 8))


def test_encoded_and_decoded_it_is_the_same() -> None:
    stream = torch.Generator().manual_seed(2)
    fitted = Whitening(torch.randn(4, generator=stream), torch.randn(4, 4, generator=stream))
    again = decode(encode(fitted), "here", (1, 2, 2))
    assert torch.equal(again.center, fitted.center)
    assert torch.equal(again.matrix, fitted.matrix)


def test_refusals(white: Dataset, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("idc", "dream", "idm"):
        with pytest.raises(ValueError, match=f"method {method} decodes images .* set ingest.whitening to none"):
            PipelineConfig.model_validate({"method": method, "ingest": {"whitening": "zca"}})
        config = settings(dataset="digits", method=method, distill={"network": NARROW, "iterations": 2, "rounds": 1}).distill
        with pytest.raises(ConfigError, match=f"method {method} steps images as pixels"):
            start_run(white.uri, None, config, ReselectConfig(beta=0.0), root)
    monkeypatch.setattr(whitened, "MOST_VALUES", 63)
    with pytest.raises(DataError, match=r"whitening images of 1x8x8 needs the covariance of 64 values \(at most 63\)"):
        whitened.whiten(open_dataset(ingest(IngestConfig(), root)).uri, 0.3)


def test_a_whitened_set_is_distilled_shown_and_evaluated_on_its_like(plain: Dataset, white: Dataset, root: str, tmp_path: Path) -> None:
    experts = ExpertsConfig(count=1, epochs=2, batch_size=64, augment=())
    train_expert(white.uri, None, experts, NARROW, 0, root)
    buffer = collect_experts(white.uri, None, experts, NARROW, root)
    values = {"method": "mtt", "iterations": 1, "rounds": 1, "network": NARROW, "learning_rate": 1e-9, "augment": ()}
    trajectory = {"step_rate": 1e-5, "steps": 2, "expert_epochs": 1, "max_start": 1}
    config = DistillConfig.model_validate({**values, "trajectory": trajectory})
    with pytest.raises(IncompatibleArtifact, match="the experts at .* learned the dataset"):
        start_run(plain.uri, None, config, ReselectConfig(beta=0.0), root, buffer)
    run = start_run(white.uri, None, config, ReselectConfig(beta=0.0), root, buffer)
    distill_round(run, 1)
    uri = finish_run(run)
    start = initial_state(config, RealPool(white)).images
    data = bilp.load_distilled(uri)
    torch.testing.assert_close(data.images, start)
    assert data.facts["whitening"] == white.whitening_facts
    assert data.whitening is not None
    torch.testing.assert_close(data.whitening.apply(pixels(plain.test)), white.test.batch())
    assert (data.mean, data.std) == (white.mean, white.std) == ((0.0,), (1.0,))
    real = initial_state(config, RealPool(plain)).images
    shown = displayable(data.images, data.mean, data.std, data.whitening).int()
    assert (shown - displayable(real, plain.mean, plain.std).int()).abs().max() <= 1

    evaluation = EvaluateConfig(networks=(NARROW,), seeds=2, epochs=1)
    evaluate_synthetic(white.uri, uri, "unpruned", 0, evaluation, root)
    with pytest.raises(IncompatibleArtifact, match="holds whitened images"):
        evaluate_synthetic(plain.uri, uri, "unpruned", 0, evaluation, root)
    unlike = finish_run(_plain_run(plain, root))
    with pytest.raises(IncompatibleArtifact, match="whitening: expected"):
        evaluate_synthetic(white.uri, unlike, "unpruned", 0, evaluation, root)
    (file,) = export_set(uri, "safetensors", str(tmp_path / "exported"))
    tensors = objects.read(file)
    assert b"whitening.centre" in tensors[:4096]
    assert b"whitening.matrix" in tensors[:4096]
    assert open_artifact(uri, "synthetic").read("whitening.safetensors") == encode(data.whitening)


def _plain_run(plain: Dataset, root: str) -> str:
    config = DistillConfig(iterations=1, rounds=1, network=NARROW)
    run = start_run(plain.uri, None, config, ReselectConfig(beta=0.0), root)
    distill_round(run, 1)
    return run


def test_published_sets_of_mtt_are_taken_as_they_are(white: Dataset, root: str, tmp_path: Path) -> None:
    ids = torch.cat([own[:1] for own in white.train.by_class()])
    images, labels = white.train.batch(ids), white.train.labels[ids]
    torch.save(images, tmp_path / "images_best.pt")
    torch.save(labels, tmp_path / "labels_best.pt")
    options = ImportOptions(file=str(tmp_path / "images_best.pt"))
    data = bilp.load_distilled(import_set(white.uri, options, root))
    assert torch.equal(data.images, images)
    assert data.facts["whitening"] == white.whitening_facts
    pixels = white.train.images(ids).float() / 255
    torch.save(pixels, tmp_path / "images_best.pt")
    unit = bilp.load_distilled(import_set(white.uri, options.model_copy(update={"pixels": "unit"}), root))
    torch.testing.assert_close(unit.images, images, rtol=1e-4, atol=1e-4)
    torch.save({"data": [[images, labels]]}, tmp_path / "res.pt")
    with pytest.raises(ConfigError, match="layout of dc, whose images are not whitened"):
        import_set(white.uri, ImportOptions(file=str(tmp_path / "res.pt")), root)


@pytest.mark.parametrize("channels", [1, 3])
def test_whitening_does_not_depend_on_how_images_are_normalized(channels: int, tmp_path: Path) -> None:
    """The programs of MTT and TESLA fit ZCA on `ToTensor()` alone (mtt-distillation utils.py:58 and 147, tesla utils.py:29);
    on normalized images another fit would come out, which is not the former one in other units."""
    rng = np.random.default_rng(3)
    for split, count in (("train", 12), ("test", 2)):
        for name in ("a", "b"):
            folder = tmp_path / "source" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                values = rng.integers(30, 200, (4, 4, channels)).astype(np.uint8)
                Image.fromarray(values if channels == 3 else values[..., 0]).save(folder / f"{number}.png")
    stored = str(tmp_path / "store")
    source = IngestConfig(source="folder", uri=str(tmp_path / "source"))
    plain, white = (open_dataset(ingest(config, stored)) for config in (source, source.model_copy(update={"whitening": "zca"})))
    assert (white.mean, white.std) == ((0.0,) * channels, (1.0,) * channels)
    assert max(plain.mean) > 0.2 and max(plain.std) < 0.5, "the plain one is normalized"
    flat = pixels(plain.train).flatten(1).double().numpy()
    center, matrix = by_definition(flat, 0.1)
    torch.testing.assert_close(white.train.batch().flatten(1), torch.from_numpy((flat - center) @ matrix).float(), rtol=1e-4, atol=1e-5)
    shown = displayable(white.test.batch(), white.mean, white.std, white.whitening)
    assert (shown.int() - plain.test.images().int()).abs().max() <= 1
