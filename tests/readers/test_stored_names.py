"""An error names a file where it lies, also where that is not under its own name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_world import EVALUATE, World, edit, put

from bilp.artifacts.artifact import open_artifact
from bilp.data import open_dataset
from bilp.distill import load_synthetic
from bilp.distill.checkpoint import round_state
from bilp.evaluate.reproduction import load_reproduction
from bilp.evaluate.teacher import load_teacher
from bilp.exchange import load_distilled
from bilp.experts.buffer import ExpertBuffer

STORED = "somewhere.1f3a9c02.bin"
READERS: dict[str, tuple[str, str, Callable[[World], object]]] = {
    "synthetic set": ("synthetic", "synthetic.safetensors", lambda world: load_synthetic(world.artifacts["synthetic"])),
    "distilled set": ("synthetic", "synthetic.safetensors", lambda world: load_distilled(world.artifacts["synthetic"])),
    "checkpoint": ("round", "checkpoint.safetensors", lambda world: round_state(open_artifact(world.artifacts["round"], "round"))),
    "momentum": ("round", "momentum.safetensors", lambda world: round_state(open_artifact(world.artifacts["round"], "round"))),
    "whitening": ("dataset whitened", "whitening.safetensors", lambda world: open_dataset(world.artifacts["dataset whitened"]).whitening),
    "expert": ("expert", "epoch-0001.safetensors", lambda world: ExpertBuffer(world.artifacts["expert_buffer"]).parameters(0, 1)),
    "teacher": (
        "teacher",
        "teacher.safetensors",
        lambda world: load_teacher(world.artifacts["teacher"], open_dataset(world.artifacts["dataset"]), EVALUATE.teacher),
    ),
    "reproduction": ("reproduction", "reproduction.json", lambda world: load_reproduction(world.artifacts["reproduction"])),
}


@pytest.mark.parametrize("reader", READERS)
def test_errors_name_the_place_of_a_file(reader: str, world: World, refused: Callable[[Callable[[], object], str], str]) -> None:
    kind, name, call = READERS[reader]
    uri = world.artifacts[kind]
    put(uri, name, b"neither tensors nor JSON")
    (Path(uri) / name).rename(Path(uri) / STORED)
    edit(uri, lambda manifest: manifest["files"][name].update(stored=STORED))
    refused(lambda: call(world), f"{uri}/{STORED} ")
