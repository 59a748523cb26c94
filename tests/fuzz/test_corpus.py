"""Inputs that once did harm: each ends in one line now, or is what it should be."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from fuzz_world import SIDE, World
from judging import FAULT, Tally, judge
from mutations import MANIFEST, replace_file, stored_file
from PIL import Image
from reading import KINDS, RUN, Kind
from test_fuzz_sources import cases_of, gray, imported, ingested, rewritten

from bilp.errors import BilpError

NAMED = {kind.name: kind for kind in (*KINDS, RUN)}
Edit = Callable[[dict[str, Any]], Any]


def fact(name: str, value: Any) -> Edit:
    """Another value of a fact, in place of what is there."""

    def edit(manifest: dict[str, Any]) -> dict[str, Any]:
        return manifest | {"facts": manifest["facts"] | {name: value}}

    return edit


def field(name: str, value: Any) -> Edit:
    return lambda manifest: manifest | {name: value}


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


NAN, INF = float("nan"), float("inf")
MANIFESTS: list[tuple[str, Edit]] = [
    ("dataset", fact("std", [NAN, 1.0, 1.0])),
    ("dataset", fact("std", [0.0, 1.0, 1.0])),
    ("dataset", fact("std", [-1.0, 1.0, 1.0])),
    ("dataset", fact("mean", [INF, 0.0, 0.0])),
    ("dataset", fact("mean", [0.0])),
    ("dataset", fact("mean", ["a", "b", "c"])),
    ("dataset", fact("mean", None)),
    ("dataset", fact("shape", [3, 8])),
    ("dataset", fact("shape", [3, 8, 2**40])),
    ("dataset", fact("shape", [3.0, 8.0, 8.0])),
    ("dataset", fact("shape", [-3, -8, 8])),
    ("dataset", fact("class_names", ["cat", "cat"])),
    ("dataset", fact("class_names", ["cat"])),
    ("dataset", fact("class_names", [1, 2])),
    ("dataset", fact("class_names", "cat")),
    ("dataset", fact("classes", 3)),
    ("dataset", fact("shard_rows", {"train": [10**12], "test": [4]})),
    ("dataset", fact("shard_rows", {"train": [6, -6, 12], "test": [4]})),
    ("dataset", fact("shard_rows", [])),
    ("dataset", fact("fingerprint", "0" * 16)),
    ("dataset", fact("name", 7)),
    ("whitened dataset", fact("whitening", {})),
    ("whitened dataset", fact("whitening", "yes")),
    ("whitened dataset", fact("whitening", {"of": "../../../x"})),
    ("source record", fact("fingerprint", "../../outside")),
    ("source record", fact("fingerprint", 7)),
    ("source record", fact("notes", [7, None])),
    ("source record", fact("notes", "text")),
    ("source record", fact("skipped", {"train": "many"})),
    ("source record", fact("duplicates", [])),
    ("synthetic set", fact("mean", [NAN, 0.0, 0.0])),
    ("synthetic set", fact("std", [0.0, 0.0, 0.0])),
    ("synthetic set", fact("class_names", ["cat", "cat"])),
    ("synthetic set", fact("class_names", ["../up", "dog"])),
    ("synthetic set", fact("class_names", ["cat"])),
    ("synthetic set", fact("decode", {"factor": 10**6})),
    ("synthetic set", fact("decode", "all")),
    ("synthetic set", fact("method", 7)),
    ("selection", fact("dataset", "0" * 16)),
    ("score summary", fact("criteria", 7)),
    ("experts", fact("parameters", [["x", [2**40]]])),
    ("experts", fact("count", -1)),
    ("report", field("created_at", "yesterday")),
    ("report", field("created_at", 7)),
    ("dataset", field("files", {})),
    ("dataset", field("files", {"../../../x": {"sha256": "0" * 64, "size": 1}})),
    ("dataset", field("files", {"a\0b": {"sha256": "0" * 64, "size": 1}})),
    ("dataset", field("files", {"x" * 5000: {"sha256": "0" * 64, "size": 1}})),
    ("dataset", field("files", {"train.parquet": {"sha256": "0" * 64, "size": 10**30}})),
    ("dataset", field("kind", "selection")),
    ("dataset", field("parents", {"x": "/etc/passwd"})),
    ("dataset", lambda manifest: []),
    ("run record", field("dataset", "../../../../etc")),
    ("run record", field("dataset", "/etc")),
    ("run record", field("selection", "runs/x\0y")),
    ("run record", field("selection", None)),
    ("run record", field("version", 10**400)),
    ("run record", field("parents", {})),
]


_before: dict[str, object] = {}
"""What the unchanged world leads to, by kind."""


def used(kind: Kind, world: World, folder: Path, change: Callable[[Path], object]) -> Tally:
    """What a changed copy of the world leads to. These are wrong in themselves: another result is a fault, good as it may look."""
    tally = Tally(kind.name)
    if kind.name not in _before:
        with world.copied(folder) as copy:
            _before[kind.name] = kind.use(copy)
    with world.copied(folder) as copy:
        change(copy.root / kind.places(copy)[0])
        judge(lambda: kind.use(copy), _before[kind.name], lambda found: kind.sound(found) or "although it is wrong", tally, "")
    return tally


@pytest.mark.parametrize(("name", "edit"), MANIFESTS, ids=[f"{name} {number}" for number, (name, _) in enumerate(MANIFESTS)])
def test_manifests_and_records(name: str, edit: Edit, world: World, tmp_path: Path) -> None:
    def change(place: Path) -> None:
        file = place / ("_run.json" if name == "run record" else MANIFEST)
        content = edit(json.loads(file.read_bytes()))
        rewritten(file, json.dumps(content).encode())

    assert used(NAMED[name], world, tmp_path, change).told() == ""


NO_MANIFESTS = [b"", b"{", b"null", b"7", deep(100_000).encode(), b"\xff\xfe", b'{"facts": ' + b"[" * 3000, b"\0" * 1000]


@pytest.mark.parametrize("content", NO_MANIFESTS, ids=lambda content: repr(content[:12]))
@pytest.mark.parametrize("name", ["dataset", "source record", "run record"])
def test_files_that_are_no_manifest(name: str, content: bytes, world: World, tmp_path: Path) -> None:
    file = "_run.json" if name == "run record" else MANIFEST
    assert used(NAMED[name], world, tmp_path, lambda place: rewritten(place / file, content)).told() == ""


def test_a_pipe_in_the_place_of_a_manifest(world: World, tmp_path: Path) -> None:
    def change(place: Path) -> None:
        (place / MANIFEST).unlink()
        os.mkfifo(place / MANIFEST)

    assert used(NAMED["dataset"], world, tmp_path, change).told() == ""


# --- files that the manifest vouches for --------------------------------------------------------------------------------------------


def tensors(**changed: torch.Tensor) -> Callable[[bytes], bytes]:
    """The same safetensors file with other tensors in it, which may be new."""
    return lambda data: safetensors.torch.save(safetensors.torch.load(data) | changed)


def without(name: str) -> Callable[[bytes], bytes]:
    return lambda data: safetensors.torch.save({key: value for key, value in safetensors.torch.load(data).items() if key != name})


IMAGES = torch.zeros(2, 3, SIDE, SIDE)
TENSORS: dict[tuple[str, str], tuple[Callable[[bytes], bytes], ...]] = {
    ("synthetic set", "synthetic.safetensors"): (
        tensors(images=IMAGES.double()),
        tensors(images=IMAGES.bool()),
        tensors(images=IMAGES.to(torch.float8_e4m3fn)),
        tensors(images=IMAGES * NAN),
        tensors(images=IMAGES[:, :1].contiguous()),
        tensors(images=IMAGES[:1]),
        tensors(images=torch.zeros(())),
        tensors(labels=torch.tensor([-1, 0])),
        tensors(labels=torch.tensor([0, 2])),
        tensors(labels=torch.tensor([0.0, 1.0])),
        tensors(labels=torch.tensor([[0, 1]])),
        without("labels"),
        lambda data: b"",
        lambda data: struct.pack("<Q", 2**62) + b"{}",
        lambda data: struct.pack("<Q", 6) + b"[[[[[[",
    ),
    ("round", "checkpoint.safetensors"): (
        tensors(iteration=torch.tensor(-5)),
        tensors(iteration=torch.tensor([1, 2])),
        tensors(labels=torch.tensor([1, 0])),
        tensors(labels=torch.tensor([0.0, 1.0])),
        tensors(reference_loss=torch.tensor(NAN, dtype=torch.float64)),
        tensors(images=IMAGES[:1]),
        tensors(images=IMAGES * INF),
        tensors(momentum=torch.zeros(7)),
        without("pruner.visits"),
        tensors(**{"pruner.visits": torch.zeros(3)}),
        tensors(**{"pruner.dropped": torch.tensor([[0]])}),
    ),
    ("round", "momentum.safetensors"): (tensors(momentum=torch.zeros(7)), tensors(momentum=torch.zeros(2) * NAN), without("momentum")),
    ("reselection", "pruner.safetensors"): (tensors(visits=torch.zeros(2)), without("decided"), lambda data: b"\xff" * 64),
    ("whitened dataset", "whitening.safetensors"): (
        tensors(center=torch.zeros(3)),
        tensors(matrix=torch.full((192, 192), NAN)),
        without("matrix"),
    ),
}
FILES = [(*place, change) for place, changes in TENSORS.items() for change in changes]


@pytest.mark.parametrize(("name", "file", "change"), FILES, ids=[f"{name} {number}" for number, (name, _, _) in enumerate(FILES)])
def test_tensors(name: str, file: str, change: Callable[[bytes], bytes], world: World, tmp_path: Path) -> None:
    def replace(place: Path) -> None:
        replace_file(place, file, change(stored_file(place, file).read_bytes()))

    assert used(NAMED[name], world, tmp_path, replace).told() == ""


def arrow(array: pa.Array) -> bytes:
    """An Arrow file with one column called image."""
    schema = pa.schema([pa.field("image", array.type, nullable=False)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([array], schema=schema))
    return bytes(sink.getvalue().to_pybytes())


SHARDS = {
    "empty": b"",
    "head": b"ARROW1\0\0",
    "noise": b"ARROW1\0\0" + b"\xff" * 100 + b"ARROW1",
    "numbers": arrow(pa.array([1, 2, 3])),
    "one pixel": arrow(pa.array([[1]], pa.list_(pa.uint8(), 1))),
}


@pytest.mark.parametrize("content", SHARDS.values(), ids=SHARDS)
def test_shards(content: bytes, world: World, tmp_path: Path) -> None:
    assert used(NAMED["dataset"], world, tmp_path, lambda place: replace_file(place, "train-00000.arrow", content)).told() == ""


# --- sources ------------------------------------------------------------------------------------------------------------------------


def test_pictures(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called a picture starts nothing, and what claims to be huge is not made."""
    (tmp_path / "bin").mkdir()
    called = tmp_path / "called"
    for name in ("gs", "gswin64c", "convert", "ps2pdf"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {called}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    huge = tmp_path / "huge.png"
    Image.fromarray(np.zeros((1, 10_000_000), dtype=np.uint8)).save(huge)
    for content in (program, huge.read_bytes(), b"", b"\x89PNG\r\n\x1a\n"):
        for policy in ("skip", "refuse"):

            def change(files: Path, random: Random, content: bytes = content, policy: str = policy) -> dict[str, Any]:
                rewritten(files / "pictures/train/cat/0.png", content)
                return {"on_corrupt": policy}

            (tmp_path / "work").mkdir(exist_ok=True)
            tally, work = Tally("picture"), tmp_path / "work" / f"{len(content)} {policy}"
            work.mkdir()
            cases_of(world, work, change, ingested, lambda found: None)(Random(0), tally)
            assert tally.outcomes[FAULT] == 0, tally.told()
    assert not called.exists(), "an outside program was started on a picture"


def expanded(count: int) -> torch.Tensor:
    """A tensor that takes four bytes in a file and claims to be many."""
    return torch.zeros(1).expand(count, 1, SIDE, SIDE)


LABELS = torch.tensor([0, 0, 1, 1])
SETS: list[Any] = [
    [expanded(10**8), LABELS],
    [expanded(10**12), LABELS],
    [torch.zeros(4, 1, SIDE, SIDE), LABELS.to(torch.complex64)],
    [torch.full((4, 1, SIDE, SIDE), 1e30), LABELS],
    [torch.zeros(4, 1, SIDE, SIDE), LABELS + 7],
    {"data": []},
    [],
    None,
]


@pytest.mark.parametrize("number", range(len(SETS)))
def test_published_sets(number: int, world: World, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    gray_world = gray(world, tmp_path_factory.mktemp("gray"))
    torch.save(SETS[number], tmp_path / "set.pt")
    with pytest.raises(BilpError):
        imported(gray_world)(tmp_path, str(tmp_path / "store"), {"file": "set.pt"})
