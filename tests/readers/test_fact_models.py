"""What artifacts of each kind may state; one damage a row."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_world import World, edit, state

from bilp.artifacts.artifact import find, open_artifact
from bilp.artifacts.facts import FACTS, DatasetFacts, SelectionFacts
from bilp.artifacts.manifest_file import MANIFEST

TEN = [1.0] * 10
PARTS = ("low_weight", "high_weight", "low_mean", "high_mean", "low_std", "high_std")
MIXTURE: dict[str, Any] = {"split": True, "separation": 3.0, **dict.fromkeys(PARTS, TEN)}
ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("dataset", {"std": [0.0]}, r"std\.0: Input should be greater than or equal to 0.000000001"),
    ("dataset", {"std": [-0.5]}, r"std\.0: Input should be greater than or equal to 0.000000001"),
    ("dataset", {"std": [1e-320]}, r"std\.0: Input should be greater than or equal to 0.000000001"),
    ("dataset", {"std": [1e300]}, r"std\.0: Input should be less than or equal to 1000"),
    ("dataset", {"mean": [-1e300]}, r"mean\.0: Input should be greater than or equal to -1000"),
    ("dataset", {"std": [0.5, 0.5]}, "std has 2 values for 1 channels"),
    ("dataset", {"mean": []}, "mean has 0 values for 1 channels"),
    ("dataset", {"mean": ["0.5"]}, r"mean\.0: Input should be a valid number"),
    ("dataset", {"mean": 0.5}, "mean: Input should be a valid (array|tuple)"),
    ("dataset", {"mean": [None]}, r"mean\.0: Input should be a valid number"),
    ("dataset", {"mean": [True]}, r"mean\.0: Input should be a valid number"),
    ("dataset", {"fingerprint": "0" * 16}, "fingerprint 0{16} is not the artifact's key"),
    ("dataset", {"fingerprint": "../../x"}, "fingerprint: String should match"),
    ("dataset", {"classes": 9}, "classes and class_names differ in number: 9 and 10"),
    ("dataset", {"classes": "10"}, "classes: Input should be a valid integer"),
    ("dataset", {"class_names": list("abcdefghi")}, "classes and class_names differ in number"),
    ("dataset", {"class_names": ["a"] * 10}, "two classes have the same name"),
    ("dataset", {"class_names": list(range(10))}, r"class_names\.0: Input should be a valid string"),
    ("dataset", {"shape": [1, 8]}, "shape"),
    ("dataset", {"shape": [1, 0, 8]}, "shape"),
    ("dataset", {"shape": [1, 2**20, 2**20], "resolution": [2**20, 2**20]}, "no image has more than"),
    ("dataset", {"shape": [3, 8, 8]}, "mean has 1 values for 3 channels"),
    ("dataset", {"colour": "rgb"}, "shape and colour: 1 and 3"),
    ("dataset", {"resolution": [8, 9]}, "shape and resolution"),
    ("dataset", {"train_images": 1437}, "train_images and the sum of images_per_class: 1437 and 1438"),
    ("dataset", {"train_images": -1}, "train_images: Input should be greater"),
    ("dataset", {"test_images": 2**60}, "test_images: Input should be less than"),
    ("dataset", {"shard_rows": {"train": [0, 1438], "test": [359]}}, "every shard has rows"),
    ("dataset", {"shard_rows": {"train": [1438], "test": [358]}}, "test_images and the sum of shard_rows"),
    ("dataset", {"shard_rows": {"train": [1438]}}, r"shard_rows\.test: Field required"),
    ("dataset", {"images_per_class": {"train": [1438], "test": [359]}}, "images_per_class has 1 values for 10 classes"),
    ("dataset", {"whitening": {"kind": "zca"}}, r"whitening\.epsilon: Field required"),
    ("dataset", {"whitening": {"kind": "pca", "epsilon": 0.1, "of": "0" * 16}}, r"whitening\.kind: Input should be 'zca'"),
    ("dataset", {"rotated": 90}, "rotated: this version knows nothing of that name"),
    ("dataset", {"name": ...}, "name: Field required"),
    ("source", {"fingerprint": "x"}, "fingerprint: String should match"),
    ("source", {"notes": "none"}, "notes: Input should be a valid (array|tuple)"),
    ("source", {"skipped": {"train": -1, "test": 0}}, r"skipped\.train: Input should be greater"),
    ("source", {"skipped": 3}, "skipped: Input should be an object"),
    ("source", {"duplicates": {}}, r"duplicates\.repeats: Field required"),
    ("truth", {"samples": 0}, "samples: Input should be greater"),
    ("truth", {"wrong": 1453}, "more samples are wrong, or copies, than there are"),
    ("truth", {"dataset": "x"}, "dataset: String should match"),
    ("score_trial", {"trial": 0.5}, "trial: Input should be a valid integer"),
    ("score_trial", {"epochs": ...}, "epochs belong to trajectories"),
    ("score_trial", {"final_accuracy": 1.5}, "final_accuracy: Input should be less than or equal to 1"),
    ("score_trial measured", {"measure": "none"}, "measure: Input should be"),
    ("score_summary", {"criteria": ["../x"]}, r"criteria\.0"),
    ("score_summary", {"samples": 0}, "samples: Input should be greater"),
    ("score_summary", {"dataset": "x"}, "dataset: String should match"),
    ("score_summary extended", {"extended": {"version": 1}}, r"extended\.version: Input should be greater"),
    ("score_summary extended", {"extended": 3}, "extended: Input should be an object"),
    ("score_growth", {"reasons": "none"}, "reasons: Input should be a valid (array|tuple)"),
    ("score_growth", {"onto": "../x"}, "onto: String should match"),
    ("trial_networks", {"epochs": 0}, "epochs: Input should be greater"),
    ("selection", {"scores_version": 0}, "scores_version: Input should be greater"),
    ("selection", {"kept": 1}, "kept and the sum of kept_per_class"),
    ("selection", {"kept_per_class": [1] * 9}, "kept_per_class has 9 values for 10 classes"),
    ("selection", {"total_per_class": [-1] * 10}, r"total_per_class\.0: Input should be greater"),
    ("selection", {"lowest_kept_per_class": [*TEN[:9], "low"]}, r"lowest_kept_per_class\.9: Input should be a valid number"),
    ("selection", {"drop": "middle"}, "drop: Input should be 'high', 'low' or 'both'"),
    ("selection", {"keep": 2}, "keep: Input should be less"),
    ("selection", {"rule": "../x"}, "rule: String should match"),
    ("selection", {"mixture": MIXTURE | {"high_std": [0.0] * 9}}, "high_std has 9 values for 10 classes"),
    ("selection", {"mixture": MIXTURE | {"split": 1}}, r"mixture\.split: Input should be a valid boolean"),
    ("expert", {"losses": 3}, "losses: Input should be a valid (array|tuple)"),
    ("expert", {"selection": 5}, "selection: Input should be a valid string"),
    ("expert_buffer", {"count": 0}, "count: Input should be greater"),
    ("expert_buffer", {"epochs": "2"}, "epochs: Input should be a valid integer"),
    ("expert_buffer", {"parameters": [["a", [0]]]}, "parameters"),
    ("expert_buffer", {"training": "../../x"}, "training: String should match"),
    ("pretrained_network", {"correct": [2.0]}, r"correct\.0: Input should be less"),
    ("reselect", {"dropped_share": 2}, "dropped_share: Input should be less"),
    ("reselect", {"score": "none"}, "score: Input should be"),
    ("round", {"iteration": -5}, "iteration: Input should be greater"),
    ("round", {"first_iteration": 99}, "iteration 2 lies before first_iteration 99"),
    ("round", {"decided_per_class": [0] * 10}, "more samples of a class are dropped than were decided on"),
    ("round", {"decided_per_class": ...}, "come together"),
    ("round", {"dropped_per_class": [0] * 9}, "dropped_per_class has 9 values for 10 classes"),
    ("synthetic", {"std": [0.0]}, r"std\.0: Input should be greater than or equal to 0.000000001"),
    ("synthetic", {"std": [1e-320]}, r"std\.0: Input should be greater than or equal to 0.000000001"),
    ("synthetic", {"mean": [1e300]}, r"mean\.0: Input should be less than or equal to 1000"),
    ("synthetic", {"mean": [0.5, 0.5]}, "mean has 2 values for 1 channels"),
    ("synthetic", {"ipc": 0}, "ipc: Input should be greater"),
    ("synthetic", {"ipc": 1.0}, "ipc: Input should be a valid integer"),
    ("synthetic", {"class_names": []}, "class_names: "),
    ("synthetic", {"learning_rate": -1.0}, "learning_rate: Input should be greater"),
    ("synthetic", {"decode": "twice"}, "decode: Input should be"),
    ("teacher", {"accuracy": -0.1}, "accuracy: Input should be greater"),
    ("evaluation", {"arm": 3}, "arm: Input should be a valid string"),
    ("evaluation", {"experiment": "0"}, "experiment: Input should be a valid integer"),
    ("evaluation", {"networks": []}, "networks: "),
    ("evaluation", {"synthetic": ...}, "either synthetic or real"),
    ("evaluation of real images", {"real": "all"}, "real: Input should be"),
    ("robustness", {"lrs": 1.0}, "lrs: this version knows nothing of that name"),
    ("report", {"arms": []}, "arms: this version knows nothing of that name"),
    ("reproduction", {"recipe": 3}, "recipe: Input should be a valid string"),
]


@pytest.mark.parametrize(("name", "facts", "pattern"), ROWS, ids=[f"{name} {list(facts)}"[:60] for name, facts, _ in ROWS])
def test_a_fact_that_cannot_be_is_refused_by_everybody_who_opens_the_artifact(
    world: World, refused: Callable[..., str], name: str, facts: dict[str, Any], pattern: str
) -> None:
    uri, kind = world.artifacts[name], name.split()[0]
    open_artifact(uri, kind)
    state(uri, **facts)
    for read in (lambda: open_artifact(uri, kind), lambda: find(uri, kind)):
        line = refused(read, f"states what no {kind} can be .*{pattern}")
        assert "compute it again, or open it with the version of bilp that wrote it" in line


def _set_mean(value: float, manifest: dict[str, Any]) -> None:
    manifest["facts"]["mean"] = [value]


def test_numbers_that_are_none_do_not_get_as_far_as_facts(world: World, refused: Callable[..., str]) -> None:
    uri = world.artifacts["dataset"]
    for value in (math.nan, math.inf, -math.inf):
        edit(uri, partial(_set_mean, value))
        refused(lambda: open_artifact(uri, "dataset"), "is no number")


def test_every_kind_that_a_stage_publishes_has_a_model_and_an_artifact_here(world: World) -> None:
    assert {name.split()[0] for name in world.artifacts} == FACTS.keys()
    published = {json.loads(path.read_bytes())["kind"] for path in Path(world.root).rglob(MANIFEST)}
    assert published == FACTS.keys()
    for path in Path(world.root).rglob(MANIFEST):
        kind = json.loads(path.read_bytes())["kind"]
        assert isinstance(open_artifact(str(path.parent), kind).stated(FACTS[kind]), FACTS[kind])


def test_kinds_are_spelled_here_as_in_the_stages() -> None:
    """Every text that is a constant called KIND, or one of several that are, in any module."""
    package = Path(__file__).resolve().parent.parent.parent / "bilp"
    names = ("KIND", "TRIAL", "EXPERT", "BUFFER", "ROUND", "RESELECT", "STATE", "SYNTHETIC")
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign):
                targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for target, value in zip(targets, values, strict=False):
                    if isinstance(target, ast.Name) and target.id in names and isinstance(value, ast.Constant):
                        found.add(value.value)
    assert found == FACTS.keys()


def test_facts_are_asked_for_by_the_model_of_their_kind(world: World, refused: Callable[..., str]) -> None:
    artifact = open_artifact(world.artifacts["dataset"], "dataset")
    assert artifact.stated(DatasetFacts).shape == (1, 8, 8)
    refused(lambda: artifact.stated(SelectionFacts), "is of kind dataset, which has no SelectionFacts")


def test_what_earlier_versions_did_not_state_may_be_missing(world: World) -> None:
    earlier: dict[str, dict[str, Any]] = {
        "dataset": {"skipped": 0},
        "score_summary": {"measure": ...},
        "score_trial": {"measure": ...},
        "selection": {"floor_per_class": ..., "band": ...},
        "reselect": {"score": ..., "quantile_classes": ...},
        "round": {"decided_per_class": ..., "dropped_per_class": ..., "quantile_classes": ...},
        "synthetic": {"decode": ...},
    }
    for name, facts in earlier.items():
        state(world.artifacts[name], **facts)
        assert open_artifact(world.artifacts[name], name).manifest.facts is not None
