"""A teacher that was trained elsewhere: known by the content of its file, refused in one line, and asked as one that is trained here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tensors import encode_tensors
from bilp.config import EvaluateConfig, NetworkConfig, TeacherConfig
from bilp.data import Dataset
from bilp.errors import ConfigError, DataError, MissingArtifact
from bilp.evaluate import evaluate_synthetic, train_teacher
from bilp.evaluate.teacher import FILE, KIND, load_teacher
from bilp.maintenance.inventory import take_inventory
from bilp.maintenance.references import references
from bilp.storage.verification import digest
from bilp.teachers.stored_teacher import StoredTeacher
from bilp.teachers.supplied import named, named_teacher

pytestmark = pytest.mark.slow

PublishSet = Callable[..., str]
NARROW = NetworkConfig(width=8)
TINY = TeacherConfig(network=NARROW, epochs=2, batch_size=64, learning_rate=0.05)


@pytest.fixture(scope="module")
def trained(digits_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return train_teacher(digits_uri, TINY, 0, str(tmp_path_factory.mktemp("trained")))


@pytest.fixture
def file(trained: str, tmp_path: Path) -> Path:
    return Path(shutil.copy(f"{trained}/{FILE}", tmp_path / "mine.safetensors"))


def test_it_is_the_same_network_and_nothing_is_trained(digits_uri: str, digits: Dataset, trained: str, file: Path, tmp_path: Path) -> None:
    config, root = TeacherConfig(network=NARROW, file=str(file)), str(tmp_path / "store")
    uri = train_teacher(digits_uri, config, 0, root, progress=lambda *_: pytest.fail("something was trained"))
    artifact, original = open_artifact(uri, KIND), open_artifact(trained, KIND)
    assert artifact.read(FILE) == original.read(FILE)
    assert artifact.fact("accuracy") == original.fact("accuracy")
    assert artifact.manifest.config["supplied"] == digest(file.read_bytes())
    assert str(file) not in str(artifact.manifest.config)
    images = digits.train.batch(torch.arange(4))
    said = [StoredTeacher(uri).network(digits, "float32")(images), load_teacher(trained, digits, TINY)(images)]
    assert torch.equal(*said)


def test_its_content_counts_and_not_its_place_nor_settings_of_a_training(digits_uri: str, trained: str, file: Path, tmp_path: Path) -> None:
    root, copy = str(tmp_path / "store"), tmp_path / "elsewhere.safetensors"
    shutil.copy(file, copy)
    first = train_teacher(digits_uri, TeacherConfig(network=NARROW, file=str(file)), 0, root)
    assert first.rpartition("/")[2] != trained.rpartition("/")[2]
    assert train_teacher(digits_uri, TeacherConfig(network=NARROW, file=str(copy), epochs=3), 7, root) == first
    known = named_teacher(TeacherConfig(network=NARROW, file=str(file))).model_copy(update={"file": None})
    file.unlink()
    assert train_teacher(digits_uri, known, 0, root) == first, "it was read once"
    with pytest.raises(MissingArtifact, match=r"is not there: name its file \(evaluate.teacher.file\)"):
        train_teacher(digits_uri, known, 0, str(tmp_path / "another"))
    state = load_state(copy)
    copy.write_bytes(encode_tensors({name: value + 0.01 for name, value in state.items()}))
    assert train_teacher(digits_uri, TeacherConfig(network=NARROW, file=str(copy)), 0, root) != first


def load_state(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load

    return dict(load(file.read_bytes()))


def test_evaluations_are_known_by_it(digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, file: Path, tmp_path: Path) -> None:
    synthetic, root, copy = publish_set("supplied", 5), str(tmp_path / "store"), tmp_path / "copy.safetensors"
    shutil.copy(file, copy)

    def soft(**teacher: object) -> EvaluateConfig:
        return small.model_copy(
            update={"labels": "soft", "epochs": 2, "teacher": TeacherConfig.model_validate({"network": NARROW, **teacher})}
        )

    with pytest.raises(ConfigError, match="set evaluate.teacher.checksum to its SHA-256"):
        evaluate_synthetic(digits_uri, synthetic, "static", 0, soft(file=str(file)), root)
    uri = evaluate_synthetic(digits_uri, synthetic, "static", 0, named(soft(file=str(file))), root)
    assert evaluate_synthetic(digits_uri, synthetic, "static", 0, named(soft(file=str(copy))), root) == uri
    assert evaluate_synthetic(digits_uri, synthetic, "static", 0, soft(epochs=1), root) != uri
    recorded = open_artifact(uri, "evaluation").manifest.config["teacher"]
    assert recorded["checksum"] == digest(file.read_bytes())
    assert "file" not in recorded
    inventory = take_inventory(root)
    teachers = {place for place in references(inventory)[f"evaluations/{uri.rpartition('/')[2]}"] if place.startswith("teachers/")}
    supplied = {place for place, item in inventory.items.items() if item.kind == "teacher" and "supplied" in item.recorded("config")}
    assert teachers == supplied, "nothing that it needs is taken for unused"


def test_what_is_no_such_network_is_refused_in_one_line(digits_uri: str, file: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "store")

    def refusal(**given: object) -> str:
        with pytest.raises(DataError) as caught:
            train_teacher(digits_uri, TeacherConfig.model_validate({"network": NARROW, "file": str(file), **given}), 0, root)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "it must hold parameters and statistics of convnet" in refusal(network=NetworkConfig(width=16))
    assert f"not {'0' * 64}: name the file that is meant" in refusal(checksum="0" * 64)
    assert "there is no file" in refusal(file=str(tmp_path / "none.safetensors"))
    state = load_state(file)
    file.write_bytes(encode_tensors({name: value * torch.nan for name, value in state.items()}))
    assert "not finite" in refusal()
    file.write_bytes(b"\x80\x04pickle")
    assert "is not a safetensors file" in refusal()
    assert not list(Path(root).glob("teachers/*/_manifest.json"))
