"""A killed evaluation continues: finished trainings are read, damaged ones are repeated, and the bytes are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.tables import EVALUATION
from bilp.config import EvaluateConfig, NetworkConfig
from bilp.evaluate import evaluate_baseline, evaluate_synthetic, train_all
from bilp.evaluate.results import FILE, KIND

PublishSet = Callable[..., str]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of networks of every computation that really happens."""
    counts: list[int] = []

    def counting(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            sets = arguments[3]
            assert isinstance(sets, list)
            counts.append(len(sets))
            return real(*arguments)

        return counted

    for name in ("_alone", "_together"):
        monkeypatch.setattr(train_all, name, counting(getattr(train_all, name)))
    return counts


def killer(after: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, note: str = "") -> None:
        if done >= after:
            raise Killed

    return progress


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_expensive_baseline_does_not_start_over(
    digits_uri: str, small: EvaluateConfig, tmp_path: Path, trained: list[int], at_once: int
) -> None:
    config = small.model_copy(update={"seeds": 4, "full_epochs": 1, "networks_at_once": at_once, "networks": (NetworkConfig(name="mlp"),)})
    whole = evaluate_baseline(digits_uri, "full", 1, config, str(tmp_path / "whole"))
    trained.clear()
    root = str(tmp_path / "killed")
    with pytest.raises(Killed):
        evaluate_baseline(digits_uri, "full", 1, config, root, progress=killer(5))  # in the third of four trainings of two passes
    assert trained == ([1] * 3 if at_once == 1 else [2] * 2)
    trained.clear()
    again = evaluate_baseline(digits_uri, "full", 1, config, root)
    assert trained == ([1] * 2 if at_once == 1 else [2])
    assert open_artifact(again, KIND).read(FILE) == open_artifact(whole, KIND).read(FILE)


def test_more_seeds_add_to_what_is_there(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, trained: list[int]
) -> None:
    config = small.model_copy(update={"networks": (NetworkConfig(name="mlp"),), "networks_at_once": 1})
    synthetic, root = publish_set("a"), str(tmp_path)
    evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root)
    assert trained == [1, 1]
    evaluate_synthetic(digits_uri, synthetic, "static", 0, config.model_copy(update={"seeds": 3}), root)
    assert trained == [1, 1, 1]


def test_a_part_that_is_not_whole_is_computed_again(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, trained: list[int]
) -> None:
    config = small.model_copy(update={"networks": (NetworkConfig(name="mlp"),), "networks_at_once": 1})
    synthetic, root = publish_set("a"), str(tmp_path)
    uri = evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root)
    kept = open_artifact(uri, KIND).read(FILE)
    parts = sorted(tmp_path.glob("trainings/**/*.json"))
    assert len(parts) == 2
    parts[0].write_text(parts[0].read_text(encoding="utf-8").replace('"accuracy": 0.', '"accuracy": 0.1', 1), encoding="utf-8")
    parts[1].write_bytes(b'{"digest": "')
    for file in Path(uri).iterdir():
        file.unlink()
    trained.clear()
    assert evaluate_synthetic(digits_uri, synthetic, "static", 0, config, root) == uri
    assert trained == [1, 1]
    assert open_artifact(uri, KIND).read(FILE) == kept


def test_together_or_one_by_one_the_stage_says_the_same(
    digits_uri: str, publish_set: PublishSet, small: EvaluateConfig, tmp_path: Path, trained: list[int]
) -> None:
    config = small.model_copy(update={"seeds": 3, "epochs": 3, "augment": ("crop",)})
    synthetic, found = publish_set("a"), []
    for at_once in (1, 3, 2):
        config = config.model_copy(update={"networks_at_once": at_once})
        uri = evaluate_synthetic(digits_uri, synthetic, "static", 0, config, str(tmp_path / str(at_once)))
        found.append(open_artifact(uri, KIND).manifest.key)
        rows = open_artifact(uri, KIND).table(FILE, EVALUATION).to_pylist()
        assert [row["seed"] for row in rows] == [0, 1, 2]
        found.append([row["accuracy"] for row in rows])
    assert trained == [1, 1, 1, 3, 2, 1]
    assert len({found[0], found[2], found[4]}) == 3, "another number of networks in one computation is another rounding"
    assert found[1] == pytest.approx(found[3], abs=0.01)
    assert found[1] == pytest.approx(found[5], abs=0.01)


def test_a_set_that_differs_between_seeds_is_trained_together(digits_uri: str, small: EvaluateConfig, tmp_path: Path) -> None:
    config = small.model_copy(update={"seeds": 3, "networks_at_once": 3})
    together = evaluate_baseline(digits_uri, "random", 3, config, str(tmp_path / "together"))
    alone = evaluate_baseline(digits_uri, "random", 3, config.model_copy(update={"networks_at_once": 1}), str(tmp_path / "alone"))
    left, right = (open_artifact(uri, KIND).table(FILE, EVALUATION).column("accuracy").to_pylist() for uri in (together, alone))
    assert left == pytest.approx(right, abs=0.02)
    assert len(set(left)) > 1
