"""An evaluation in blocks: whole groups of trainings on any device, the bytes of the undivided one, killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.config.decode import DecodeConfig
from bilp.config.evaluated_set import Block, EvaluatedSet
from bilp.data import open_dataset
from bilp.errors import ConfigError
from bilp.evaluate import address, evaluate_baseline, evaluate_network, evaluate_synthetic, train_all
from bilp.evaluate.course_files import CONFUSION_FILE, COURSE_FILE
from bilp.evaluate.division import blocks_of, loads_of
from bilp.evaluate.results import FILE, KIND
from bilp.evaluate.training_blocks import WORTH, Load, divided, is_block, is_there
from bilp.progress import Progress
from bilp.storage.objects import join
from tasks.addresses import evaluated_network

MLP, CONVNET = NetworkConfig(name="mlp"), NetworkConfig(width=8, depth=1)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("loads", "per_unit", "expected"),
    [
        ([(5, (1, 1, 1), 1)], None, []),  # little work
        ([(5, (1, 1, 1), 1)], 2, [[2, 2, 1]]),
        ([(5, (1, 1, 1), WORTH)], None, [[1, 1, 1, 1, 1]]),
        ([(20, (1, 4, 1), WORTH)], None, [[4, 4, 4, 4, 4]]),  # never a part of what a GPU trains in one computation
        ([(20, (6, 4, 1), WORTH)], None, [[12, 8]]),  # nor of what a CPU does
        ([(5, (1, 30, 1), WORTH)], 1, []),  # all at once is one block
        ([(5, (1, 30, 1), WORTH), (2, (1, 1, 1), WORTH)], None, [[5], [1, 1]]),
        ([(4, (1, 1, 1), WORTH // 2)], None, [[2, 2]]),
        ([(1, (1, 1, 1), 9 * WORTH)], None, []),
    ],
)
def test_blocks_consist_of_whole_groups(loads: list[tuple[int, tuple[int, ...], int]], per_unit: int, expected: list[list[int]]) -> None:
    blocks = divided([Load(*each) for each in loads], per_unit)
    assert [[len(block) for block in of] for of in blocks] == expected
    for (seeds, together, _), of in zip(loads, blocks, strict=bool(blocks)):
        assert [seed for block in of for seed in block] == list(range(seeds)), "each training is in one block"
        assert all(block[0] % min(each, seeds) == 0 for block in of for each in together)


def killed_at_the_second() -> Progress:
    """Ends the process when a training tells of its progress for the second time."""
    told: list[str] = []

    def progress(done: int, total: int, note: str = "") -> None:
        told.append(note)
        if len(told) == 2:
            raise Killed

    return progress


@pytest.fixture
def config(small: EvaluateConfig) -> EvaluateConfig:
    return small.model_copy(update={"networks": (MLP, CONVNET), "seeds": 3, "epochs": 2, "networks_at_once": 2})


def files(uri: str) -> list[bytes]:
    return [open_artifact(uri, KIND).read(name) for name in (FILE, COURSE_FILE, CONFUSION_FILE)]


def test_in_blocks_and_undivided_an_evaluation_has_the_same_bytes(
    digits_uri: str, config: EvaluateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, subject = str(tmp_path / "shared"), EvaluatedSet(baseline="random", ipc=1)
    whole = evaluate_baseline(digits_uri, "random", 1, config, str(tmp_path / "whole"))
    blocks = blocks_of(digits_uri, subject, config, root, 1)
    assert [(block.network, block.first, block.last) for block in blocks] == [(0, 0, 1), (0, 2, 2), (1, 0, 1), (1, 2, 2)]
    uris = [evaluated_network(digits_uri, subject, block, config, root) for block in blocks]
    assert len(set(uris)) == 4 and all(is_block(uri) and not is_there(uri) for uri in uris)
    for block, uri in reversed(list(zip(blocks, uris, strict=True))):
        with pytest.raises(Killed):
            evaluate_network(digits_uri, subject, block, config, root, progress=killed_at_the_second())
        assert not is_there(uri)
        assert evaluate_network(digits_uri, subject, block, config, root) == uri
        assert is_there(uri)
    before = {path: path.stat().st_mtime_ns for path in Path(root).rglob("*") if path.is_file()}
    monkeypatch.setattr(train_all, "_alone", None)  # nothing is left to be trained
    monkeypatch.setattr(train_all, "_together", None)
    assert [evaluate_network(digits_uri, subject, block, config, root) for block in blocks] == uris
    assert before == {path: path.stat().st_mtime_ns for path in Path(root).rglob("*") if path.is_file()}
    shared = evaluate_baseline(digits_uri, "random", 1, config, root)
    assert files(shared) == files(whole)
    assert open_artifact(shared, KIND).manifest.key == open_artifact(whole, KIND).manifest.key
    assert blocks_of(digits_uri, subject, config, root, 1) == [], "what is published is not divided any more"


def test_the_images_of_a_set_are_counted_as_they_are_trained_on(
    digits_uri: str, publish_set: Callable[..., str], config: EvaluateConfig, tmp_path: Path
) -> None:
    dataset = open_dataset(digits_uri)
    for decode in ({}, {"decode": DecodeConfig(factor=2).model_dump()}):
        synthetic = publish_set(f"set{len(decode)}", **decode)
        subject = EvaluatedSet(synthetic_uri=synthetic, arm="static", experiment=1)
        publication, images = address.of_set(str(tmp_path), config, subject, dataset)
        one = config.model_copy(update={"networks": (MLP,), "seeds": 2, "epochs": 1})
        uri = evaluate_synthetic(digits_uri, synthetic, "static", 1, one, str(tmp_path))
        assert open_artifact(uri, KIND).table(FILE, EVALUATION)["train_images"].to_pylist() == [images] * 2
        (values, _) = (load.values for load in loads_of(publication.config, dataset, images))
        assert values % (images * 3) == 0, "decay half makes one pass more than epochs"


def test_a_block_is_there_with_all_of_its_trainings(tmp_path: Path) -> None:
    folder = join(str(tmp_path), "trainings", "0" * 16, f"mlp-{'1' * 16}")
    uri = f"{folder}/0004-0007"
    assert is_block(uri) and not is_there(uri)
    Path(folder).mkdir(parents=True)
    for names, there in ((["0004.json", "0005-0006.json"], False), (["0007-0008.json", "0003.json"], False), (["0007.json"], True)):
        for name in names:
            Path(folder, name).touch()
        assert is_there(uri) == there, names
    assert not is_block(f"{tmp_path}/evaluations/{'0' * 16}") and not is_there(f"{tmp_path}/evaluations/{'0' * 16}")


def test_what_no_block_is_is_refused(digits_uri: str, config: EvaluateConfig, tmp_path: Path) -> None:
    subject = EvaluatedSet(baseline="random", ipc=1)
    for block in (Block(network=2, first=0, last=1), Block(network=0, first=2, last=3)):
        with pytest.raises(ConfigError, match="there is no block of network"):
            evaluate_network(digits_uri, subject, block, config, str(tmp_path))
    with pytest.raises(ValueError, match="give first <= last"):
        Block(network=0, first=2, last=1)
    for wrong in ({}, {"synthetic_uri": "x", "baseline": "random"}):
        with pytest.raises(ValueError, match="name one of synthetic_uri and baseline"):
            EvaluatedSet.model_validate(wrong)
