"""An encoder that a user supplies, with and without a table of features: what is refused, what is in the key, and that a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from tiny_distillation import NARROW, Store, spelled_out
from torch import Tensor
from torch.nn import functional
from torchvision.models import densenet121, resnet18

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import round_uri
from bilp.config import DistillConfig, PruneConfig, ReselectConfig
from bilp.config.encoder import EncoderConfig
from bilp.distill import distill_round, finish_run, load_synthetic, open_run, reselect_round, start_run
from bilp.distill.outside import encoder_of, features_of
from bilp.errors import BilpError, ConfigError, DataError, IncompatibleArtifact
from bilp.evaluate.linear_probe import load_encoder
from bilp.nets.supplied_encoder import MEAN, STD, resizing
from bilp.pruning.prune import prune

pytestmark = pytest.mark.slow
SIDE = 12
OFF = ReselectConfig(beta=0.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ResNet-18 with seven classes and random weights."""
    path = str(tmp_path_factory.mktemp("weights") / "resnet18.safetensors")
    torch.manual_seed(4)
    safetensors.torch.save_file(resnet18(num_classes=7).state_dict(), path)
    return path


def lgm(weights: str | None, iterations: int = 2, **settings: Any) -> DistillConfig:
    linear = {"encoder": "resnet18", "weights": weights, "side": SIDE, "copies": 1, "pyramid": False, **settings}
    values: dict[str, Any] = {"method": "lgm", "iterations": iterations, "rounds": iterations, "batch_real": 8, "network": NARROW}
    return spelled_out(values | {"augment": (), "learning_rate": 0.01, "linear": linear})


@pytest.fixture(scope="module")
def features(store: Store, weights: str) -> Tensor:
    """Of all training samples, computed plainly."""
    network = resnet18(num_classes=7)
    network.load_state_dict(safetensors.torch.load_file(weights))
    network.fc = torch.nn.Identity()
    network.eval()
    data = store.dataset
    pixels = data.train.batch(torch.arange(len(data.train))) * torch.tensor(data.std) + torch.tensor(data.mean)
    large = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        return torch.cat([network((part - mean) / std) for part in large.split(64)])


def table(path: Path, values: Tensor, ids: np.ndarray | None = None, **columns: Any) -> str:
    ids = np.arange(len(values)) if ids is None else ids
    pq.write_table(pa.table({"sample_id": ids, "features": list(values.numpy()), **columns}), path)
    return str(path)


def test_the_encoder_is_torchvision_s_network_behind_what_it_expects(store: Store, weights: str, features: Tensor) -> None:
    encoder = encoder_of(lgm(weights), store.dataset)
    ids = torch.tensor([0, 5, 1000])
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(store.dataset.train.batch(ids)), features[ids], rtol=1e-3, atol=1e-4)
    assert encoder.classifier.weight.shape == (10, 512)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_resizing_is_that_of_pictures() -> None:
    picture = torch.randn(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    for size in (4, 9, 20):
        wanted = functional.interpolate(picture, (size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(resizing(9, size) @ picture @ resizing(9, size).T, wanted, rtol=1e-4, atol=1e-5)


def test_a_run_with_features_is_that_without_up_to_rounding_and_goes_on(
    store: Store, weights: str, features: Tensor, tmp_path: Path
) -> None:
    few = prune(store.uri, None, PruneConfig(criterion="random", keep=0.05), store.root)
    given = table(tmp_path / "features.parquet", features)
    reselect = ReselectConfig(beta=0.2, threshold="quantile")
    images = []
    for name, place in (("none", None), ("given", given)):
        run = start_run(store.uri, few, lgm(weights, features=place), reselect, str(tmp_path / name))
        for number in (1, 2):
            reselect_round(run, number)
            distill_round(run, number)
        images.append(load_synthetic(finish_run(run))[0])
        config = open_artifact(round_uri(run, 1), "round").manifest.config
        assert config["distill"]["linear"]["encoder"] == "resnet18"
        assert "weights" not in config["distill"]["linear"]
    assert float((images[0] - images[1]).abs().max()) < 0.005


def test_a_saved_state_is_read_as_safetensors_are(store: Store, weights: str, tmp_path: Path) -> None:
    saved = tmp_path / "resnet18.pth"
    torch.save(safetensors.torch.load_file(weights), saved)
    one, other = (encoder_of(lgm(place), store.dataset).state_dict() for place in (weights, str(saved)))
    assert all(torch.equal(one[name], other[name]) for name in one if not name.startswith("classifier"))


def test_the_key_covers_what_files_hold_and_not_where_they_lie(store: Store, weights: str, tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(weights)
    moved, changed = str(tmp_path / "moved"), str(tmp_path / "changed")
    safetensors.torch.save_file(tensors, moved)
    tensors["conv1.weight"][0, 0, 0, 0] += 1e-3
    safetensors.torch.save_file(tensors, changed)
    runs = [start_run(store.uri, None, lgm(place), OFF, str(tmp_path / "root")) for place in (weights, moved, changed)]
    assert runs[0] == runs[1] != runs[2]
    assert open_run(runs[0]).distill.linear.weights == moved, "where it lay last"
    Path(moved).write_bytes(Path(changed).read_bytes())
    with pytest.raises(IncompatibleArtifact, match=r"moved has changed since the run was started"):
        distill_round(runs[0], 1)


def _execute(path: Path) -> None:
    class Loud:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return exec, ("raise SystemExit",)

    torch.save({"conv1.weight": Loud()}, path)


WEIGHTS: dict[str, tuple[Callable[[Path, dict[str, Tensor]], object], str]] = {
    "another network": (
        lambda path, own: safetensors.torch.save_file({"a": own["bn1.bias"]}, path),
        "is no state of resnet18: it lacks conv1",
    ),
    "too many": (lambda path, own: safetensors.torch.save_file(own | {"extra": torch.zeros(2)}, path), "does not have: extra"),
    "shapes": (lambda path, own: safetensors.torch.save_file(own | {"bn1.bias": torch.zeros(3)}, path), "in other shapes bn1.bias"),
    "not finite": (
        lambda path, own: safetensors.torch.save_file(own | {"bn1.bias": torch.full((64,), torch.nan)}, path),
        "not finite in bn1.bias",
    ),
    "text": (lambda path, own: path.write_text("weights"), "neither a safetensors file nor a state"),
    "a list": (lambda path, own: torch.save([own["bn1.bias"]], path), "is no state of a network"),
    "code": (lambda path, own: _execute(path), "cannot be read as saved tensors"),
}


@pytest.mark.parametrize(("write", "told"), WEIGHTS.values(), ids=list(WEIGHTS))
def test_files_of_weights_that_are_refused(
    store: Store, weights: str, tmp_path: Path, write: Callable[[Path, dict[str, Tensor]], object], told: str
) -> None:
    write(tmp_path / "w", safetensors.torch.load_file(weights))
    with pytest.raises(DataError, match=told) as refused:
        start_run(store.uri, None, lgm(str(tmp_path / "w")), OFF, str(tmp_path / "root"))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "root").exists()


def _shuffled(path: Path, own: Tensor) -> None:
    table(path, own, np.roll(np.arange(len(own)), 1))


TABLES: dict[str, tuple[Callable[[Path, Tensor], object], str]] = {
    "count": (lambda path, own: table(path, own[:-1]), r"has 1,437 rows, but the train split has 1,438"),
    "order": (_shuffled, r"row 0 is of sample 1437: give rows in the order of sample_id"),
    "width": (lambda path, own: table(path, own[:, :-1]), r"row 0 has 511 features, the encoder has 512"),
    "not finite": (
        lambda path, own: table(path, own.index_fill(0, torch.tensor(7), torch.inf)),
        r"row 7 holds features that are not finite",
    ),
    "others": (lambda path, own: table(path, own.roll(1, 0)), r"the features of sample 0 are \d+% off"),
    "columns": (lambda path, own: pq.write_table(pa.table({"index": [1]}), path), r"has no column sample_id and features"),
    "types": (
        lambda path, own: pq.write_table(pa.table({"sample_id": [1.0], "features": [2.0]}), path),
        r"expected whole numbers and lists",
    ),
    "no table": (lambda path, own: path.write_text("features"), r"is not a Parquet file"),
}


@pytest.mark.parametrize(("write", "told"), TABLES.values(), ids=list(TABLES))
def test_tables_of_features_that_are_refused(
    store: Store, weights: str, features: Tensor, tmp_path: Path, write: Callable[[Path, Tensor], object], told: str
) -> None:
    write(tmp_path / "f", features)
    with pytest.raises(DataError, match=told) as refused:
        start_run(store.uri, None, lgm(weights, features=str(tmp_path / "f")), OFF, str(tmp_path / "root"))
    assert "\n" not in str(refused.value)


def test_a_table_of_lists_of_one_length_is_taken(store: Store, weights: str, features: Tensor, tmp_path: Path) -> None:
    flat = pa.array(features.flatten().numpy().astype(np.float64))
    fixed = pa.table({"sample_id": np.arange(len(features)), "features": pa.FixedSizeListArray.from_arrays(flat, 512)})
    pq.write_table(fixed, tmp_path / "f")
    found = features_of(lgm(weights, features=str(tmp_path / "f")), store.dataset, 512)
    assert found is not None
    torch.testing.assert_close(found, features)


def test_settings_that_do_not_go_together(store: Store, weights: str, tmp_path: Path) -> None:
    for changes, told in (
        ({"encoder": None}, "belong together"),
        ({"weights": None}, "belong together"),
        ({"weights": None, "encoder": None, "features": "f"}, "an encoder that is supplied"),
    ):
        with pytest.raises(ValueError, match=told):
            lgm(**({"weights": weights} | changes))
    with pytest.raises(ValueError, match="set networks to 0"):
        spelled_out(
            {"method": "lgm", "rounds": 1, "idc": {"pretrained": {"networks": 1}}, "linear": {"encoder": "resnet18", "weights": weights}}
        )
    with pytest.raises(ConfigError, match=r"resnet81 is no classifying network of torchvision: did you mean resnet18"):
        start_run(store.uri, None, lgm(weights, encoder="resnet81"), OFF, str(tmp_path))
    with pytest.raises(BilpError, match="nowhere"):
        start_run(store.uri, None, lgm(str(tmp_path / "nowhere")), OFF, str(tmp_path))


def test_an_encoder_that_images_do_not_pass_is_refused_before_a_run_is_registered(store: Store, tmp_path: Path) -> None:
    path = str(tmp_path / "densenet.safetensors")
    safetensors.torch.save_file(densenet121(num_classes=2).state_dict(), path)
    with pytest.raises(ConfigError, match=r"encoder densenet121 takes no images of side 8 .*: set distill.linear.side to .* such as 224"):
        start_run(store.uri, None, lgm(path, encoder="densenet121", side=8), OFF, tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"name densenet121 takes no images of side 8 .*: set evaluate.encoder.side to .* such as 224"):
        load_encoder(EncoderConfig(name="densenet121", weights=path, side=8), store.dataset)
