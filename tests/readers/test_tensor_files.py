"""Checkpoints, synthetic sets and networks whose checksums are right and whose tensors are not; one damage a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from former_rounds import as_before
from tiny_world import EVALUATE, RESELECT, World, content_of, put, state
from torch import Tensor

from bilp import load_distilled
from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.run_layout import CHECKPOINT, MOMENTUM
from bilp.data import open_dataset
from bilp.distill import distill_round, load_synthetic, open_run
from bilp.distill.inputs import open_pretrained
from bilp.distill.snapshot import read_snapshot
from bilp.evaluate import evaluate_synthetic
from bilp.evaluate.teacher import load_teacher
from bilp.exchange import export_set
from bilp.experts.buffer import ExpertBuffer
from bilp.nets import build

Tensors = dict[str, Tensor]
Edit = Callable[[Tensors], Tensors]
IMAGES = "synthetic.safetensors"


def change(world: World, name: str, file: str, edit: Edit) -> None:
    uri = world.artifacts[name]
    tensors = edit(safetensors.torch.load(content_of(uri, file)))
    put(uri, file, safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()}))


def of(name: str, function: Callable[[Tensor], Tensor]) -> Edit:
    """One tensor is another one."""
    return lambda tensors: {**tensors, name: function(tensors[name].clone())}


def one(name: str, value: Any) -> Edit:
    """The first value of a tensor is another one."""

    def edited(tensor: Tensor) -> Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return of(name, edited)


def without(*names: str) -> Edit:
    return lambda tensors: {name: value for name, value in tensors.items() if name not in names}


def no_pruner(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith("pruner.")}


SETS: dict[str, tuple[Edit, str]] = {
    "float64": (of("images", Tensor.double), r"images as float64 \[10, 1, 8, 8\] instead of float32"),
    "float16": (of("images", Tensor.half), "images as float16"),
    "float8": (of("images", lambda t: t.to(torch.float8_e4m3fn)), "images as float8_e4m3fn"),
    "bool": (of("images", Tensor.bool), "images as bool"),
    "uint8": (of("images", lambda t: t.to(torch.uint8)), "images as uint8"),
    "NaN": (one("images", torch.nan), "numbers in images that are not finite"),
    "infinite": (one("images", torch.inf), "numbers in images that are not finite"),
    "another side": (of("images", lambda t: t[..., :7]), r"images as float32 \[10, 1, 8, 7\]"),
    "flat": (of("images", lambda t: t.flatten(1)), r"images as float32 \[10, 64\]"),
    "no images": (of("images", lambda t: t[:0]), r"images as float32 \[0, 1, 8, 8\]"),
    "more images": (lambda t: {name: torch.cat([value, value]) for name, value in t.items()}, r"\[20, 1, 8, 8\]"),
    "labels -1": (one("labels", -1), "does not hold 1 images of each of 10 classes"),
    "labels beyond": (one("labels", 10), "does not hold 1 images of each of 10 classes"),
    "labels shuffled": (of("labels", lambda t: t.flip(0)), "does not hold 1 images of each of 10 classes in their order"),
    "int32 labels": (of("labels", Tensor.int), "labels as int32"),
    "float labels": (of("labels", Tensor.float), "labels as float32"),
    "labels in a column": (of("labels", lambda t: t.view(-1, 1)), r"labels as int64 \[10, 1\]"),
    "no labels": (without("labels"), "lacks the tensors labels"),
    "something else": (lambda t: {**t, "other": torch.zeros(1)}, "must not hold the tensors other"),
}


def readers(world: World, tmp_path: Path) -> Mapping[str, Callable[[], object]]:
    uri = world.artifacts["synthetic"]
    return {
        "load_synthetic": lambda: load_synthetic(uri),
        "load_distilled": lambda: load_distilled(world.runs["dm"]),
        "export": lambda: export_set(uri, "folder", str(tmp_path / "out")),
        "evaluate": lambda: evaluate_synthetic(world.artifacts["dataset"], uri, "bilp", 7, EVALUATE, str(tmp_path / "store")),
    }


@pytest.mark.parametrize(("edit", "pattern"), SETS.values(), ids=SETS)
def test_a_synthetic_set_is_refused_alike_by_everybody_who_reads_it(
    world: World, refused: Callable[..., str], tmp_path: Path, edit: Edit, pattern: str
) -> None:
    change(world, "synthetic", IMAGES, edit)
    for read in readers(world, tmp_path).values():
        refused(read, f"{IMAGES} .*{pattern}.*(run the stage|compute it) again")
    assert not (tmp_path / "out").exists()


def test_what_the_manifest_states_of_a_set_is_compared_with_it(world: World, refused: Callable[..., str], tmp_path: Path) -> None:
    uri = world.artifacts["synthetic"]
    for read in readers(world, tmp_path).values():
        assert read()
    for facts, pattern in (
        ({"ipc": 2}, r"images as float32 \[10, 1, 8, 8\] instead of float32 \[20, 1, 8, 8\]"),
        ({"ipc": 1, "class_names": list("abcde")}, r"instead of float32 \[5, 1, 8, 8\]"),
        ({"class_names": [str(k) for k in range(10)], "decode": {"factor": "2"}}, "cannot decode .decode.factor"),
        ({"decode": {"factor": 9}}, "cannot decode .decode.factor"),
    ):
        state(uri, **facts)
        refused(lambda: load_distilled(uri), pattern)


CHECKPOINTS: dict[str, tuple[str, Edit, str]] = {
    "iteration -5": ("dm", of("iteration", lambda t: t * 0 - 5), "is the state of iteration -5, not 2"),
    "another iteration": ("dm", of("iteration", lambda t: t + 1), "is the state of iteration 3, not 2"),
    "two iterations": ("dm", of("iteration", lambda t: t.repeat(2)), r"iteration as int64 \[2\]"),
    "a float for iteration": ("dm", of("iteration", Tensor.double), "iteration as float64"),
    "labels shuffled": ("dm", of("labels", lambda t: t.flip(0)), "does not hold 1 images of each of its classes in their order"),
    "labels of another type": ("dm", of("labels", Tensor.int), "labels as int32"),
    "no reference loss": ("dm", of("reference_loss", lambda t: t * torch.nan), "holds no reference loss"),
    "a reference loss that is missing": ("dm", without("reference_loss"), "lacks the tensors reference_loss"),
    "an infinite reference loss": ("dm", of("reference_loss", lambda t: t + torch.inf), "holds no reference loss"),
    "float64 images": ("dm", of("images", Tensor.double), "images as float64"),
    "images with NaN": ("dm", one("images", torch.nan), "numbers in images that are not finite"),
    "momentum with NaN": ("dm", one("momentum", torch.nan), "numbers in momentum that are not finite"),
    "momentum of another shape": ("dm", of("momentum", lambda t: t[:, :, :4]), r"momentum as float32 \[10, 1, 4, 8\]"),
    "images of another side": (
        "dm",
        lambda t: {**t, **{name: t[name][..., :7] for name in ("images", "momentum")}},
        r"holds images \[10, 1, 8, 7\] instead of \[10, 1, 8, 8\]",
    ),
    "half the images": (
        "dm",
        lambda t: {**t, **{name: t[name][:5] for name in ("images", "momentum", "labels")}},
        r"holds images \[5, 1, 8, 8\] instead of",
    ),
    "no pruner": ("dm", no_pruner, "holds no state of the pruner"),
    "another tensor": ("dm", lambda t: {**t, "other": torch.zeros(1)}, "must not hold the tensors other"),
    "what another method carries": ("dm", lambda t: {**t, "method.step_size": torch.zeros(())}, "which method dm does not carry on"),
    "no step size": ("mtt", without("method.step_size"), "lacks the tensors step_size"),
    "a step size of zero": ("mtt", of("method.step_size", lambda t: t * 0), "holds a step size of 0"),
    "a step size that is none": ("mtt", of("method.step_size", lambda t: t * torch.nan), "numbers in step_size that are not finite"),
    "a pruner where there is none": ("mtt", lambda t: {**t, "pruner.visits": torch.zeros(1)}, "holds the state of a pruner"),
    "a pool without networks": ("idm", without("method.networks"), "lacks the tensors networks"),
    "a pool of other networks": ("idm", of("method.networks", lambda t: t[:, :-1]), "networks as float32"),
    "more right than seen": ("idm", of("method.right", lambda t: t + 10**6), "counts of images that cannot be"),
    "networks with NaN": ("idm", one("method.networks", torch.nan), "numbers in networks that are not finite"),
    "a scalar for counts": ("idm", of("method.right", lambda t: t.sum()), "networks as float32"),
}
ROUNDS = {"dm": "round", "mtt": "round of mtt", "idm": "round of idm"}


@pytest.mark.parametrize(("method", "edit", "pattern"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_that_is_not_the_state_of_its_round_is_not_continued_from(
    world: World, refused: Callable[..., str], method: str, edit: Edit, pattern: str
) -> None:
    as_before(world.artifacts[ROUNDS[method]])  # one file with all of it; the same checks apply to two
    change(world, ROUNDS[method], "checkpoint.safetensors", edit)
    run = world.runs[method]
    for path in (Path(run) / "rounds/0002").glob("*.*"):
        path.unlink()
    line = refused(lambda: distill_round(run, 2), f"checkpoint.safetensors .*{pattern}")
    assert "again" in line


APART: dict[str, tuple[str, Edit, str]] = {
    "momentum with NaN": (MOMENTUM, one("momentum", torch.nan), "numbers in momentum that are not finite"),
    "momentum of another shape": (MOMENTUM, of("momentum", lambda t: t[:, :, :4]), r"momentum as float32 \[10, 1, 4, 8\]"),
    "momentum of another type": (MOMENTUM, of("momentum", Tensor.double), "momentum as float64"),
    "no momentum": (MOMENTUM, lambda t: {"other": t["momentum"]}, "lacks the tensors momentum and must not hold the tensors other"),
    "more than the momentum": (MOMENTUM, lambda t: {**t, "iteration": torch.tensor(2)}, "must not hold the tensors iteration"),
    "momentum in both": (CHECKPOINT, lambda t: {**t, "momentum": t["images"].clone()}, "must not hold the tensors"),
    "no images": (CHECKPOINT, without("images"), "momentum as float32"),
}


@pytest.mark.parametrize(("file", "edit", "pattern"), APART.values(), ids=APART)
def test_a_state_in_two_files_is_whole_or_not_continued_from(
    world: World, refused: Callable[..., str], file: str, edit: Edit, pattern: str
) -> None:
    change(world, "round", file, edit)
    for path in (Path(world.runs["dm"]) / "rounds/0002").glob("*.*"):
        path.unlink()
    refused(lambda: distill_round(world.runs["dm"], 2), f"(checkpoint|momentum).safetensors .*{pattern}")


SNAPSHOTS: dict[str, tuple[Edit, str]] = {
    "float images": (of("images", Tensor.float), "images as float32"),
    "images of another side": (of("images", lambda t: t[..., :7]), r"images as uint8 \[10, 1, 8, 7\]"),
    "fewer labels": (of("labels", lambda t: t[:5]), r"images as uint8 \[10, 1, 8, 8\] instead of uint8 \[5, 1, 8, 8\]"),
    "labels of no class": (of("labels", lambda t: t + 1), "classes that the data set does not have"),
    "labels below": (of("labels", lambda t: t - 1), "classes that the data set does not have"),
    "labels as a table": (of("labels", lambda t: t[None]), "instead of"),
    "no labels": (without("labels"), "lacks the tensors labels"),
    "more": (lambda t: {**t, "other": torch.zeros(1)}, "must not hold the tensors other"),
}


@pytest.mark.parametrize(("edit", "pattern"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_a_snapshot_that_cannot_be_one_is_not_shown(world: World, refused: Callable[..., str], edit: Edit, pattern: str) -> None:
    change(world, "round", "snapshot.safetensors", edit)
    dataset = open_dataset(world.artifacts["dataset"])
    refused(lambda: read_snapshot(open_artifact(world.artifacts["round"], "round"), dataset), f"snapshot.safetensors .*{pattern}")


@pytest.mark.parametrize("method", ROUNDS)
def test_a_lost_round_is_computed_again_from_the_checkpoint_before_it(world: World, method: str) -> None:
    place = Path(world.runs[method]) / "rounds/0002"
    before = (place / "checkpoint.safetensors").read_bytes()
    for path in place.glob("*.*"):
        path.unlink()
    distill_round(world.runs[method], 2)
    assert (place / "checkpoint.safetensors").read_bytes() == before


PRUNER: dict[str, tuple[Edit, str]] = {
    "decided": (of("decided", lambda t: t - 10**6), "decided holds values that no decision leaves"),
    "dropped": (of("dropped", lambda t: t + 10**6), "dropped holds values that no decision leaves"),
    "visits": (one("visits", -1), "visits holds values"),
    "remainder": (one("remainder", 7.0), "remainder holds values"),
    "log_variance": (one("log_variance", -1.0), "log_variance holds values"),
    "last_score": (one("last_score", -1.0), "last_score holds values"),
    "shape": (of("visits", lambda t: t[:-1]), r"visits: expected torch.int32 \[1438\], found torch.int32 \[1437\]"),
    "type": (of("visits", Tensor.long), "visits: expected torch.int32"),
    "missing": (without("visits"), "visits is missing"),
    "unknown": (lambda t: {**t, "other": torch.zeros(1)}, "other is unknown"),
}


@pytest.mark.parametrize(("edit", "pattern"), PRUNER.values(), ids=PRUNER)
def test_the_state_of_a_pruner_that_no_decision_leaves_is_refused(
    world: World, refused: Callable[..., str], edit: Edit, pattern: str
) -> None:
    assert RESELECT.beta > 0
    change(world, "reselect second", "pruner.safetensors", edit)
    for path in (Path(world.runs["dm"]) / "rounds/0002").glob("*.*"):
        path.unlink()
    refused(lambda: distill_round(world.runs["dm"], 2), f"this pruner state does not fit the data: {pattern}")


NETWORKS: dict[str, Edit] = {
    "NaN": lambda t: {name: value * torch.nan if value.is_floating_point() else value for name, value in t.items()},
    "float64": lambda t: {name: value.double() for name, value in t.items()},
    "another shape": lambda t: {name: value.unsqueeze(0) for name, value in t.items()},
    "fewer": lambda t: dict(list(t.items())[1:]),
    "more": lambda t: {**t, "other": torch.zeros(1)},
}


@pytest.mark.parametrize("which", ["teacher", "pretrained_network", "expert"])
@pytest.mark.parametrize("edit", NETWORKS.values(), ids=NETWORKS)
def test_a_network_that_is_not_the_one_it_should_be_is_refused(world: World, refused: Callable[..., str], which: str, edit: Edit) -> None:
    dataset = open_dataset(world.artifacts["dataset"])
    run = open_run(world.runs["idc"])
    network = build(run.distill.network, dataset.shape, dataset.classes)
    file, read = {
        "teacher": ("teacher.safetensors", lambda: load_teacher(world.artifacts["teacher"], dataset, EVALUATE.teacher)),
        "pretrained_network": ("network.safetensors", lambda: _load(world, network)),
        "expert": ("epoch-0001.safetensors", lambda: ExpertBuffer(world.artifacts["expert_buffer"]).parameters(0, 1)),
    }[which]
    read()
    change(world, which, file, edit)
    refused(read, f"{file} (holds|lacks|must not hold) .* again|another network")


def _load(world: World, network: torch.nn.Module) -> None:
    pretrained = open_pretrained(world.runs["idc"], open_run(world.runs["idc"]))
    assert pretrained is not None
    pretrained.load(0, network)  # type: ignore[arg-type]


def test_experts_of_other_parameters_are_refused_before_any_step(world: World, refused: Callable[..., str]) -> None:
    buffer = ExpertBuffer(world.artifacts["expert_buffer"])
    shapes = [[name, shape] for name, shape in buffer._shapes]
    state(world.artifacts["expert_buffer"], parameters=shapes[::-1])
    for path in (Path(world.runs["mtt"]) / "rounds/0002").glob("*.*"):
        path.unlink()
    refused(lambda: distill_round(world.runs["mtt"], 2), "have other parameters than the network of the run")


def test_a_whitening_that_does_not_fit_the_images_is_refused(world: World, refused: Callable[..., str]) -> None:
    uri = world.artifacts["dataset whitened"]
    for edit, pattern in (
        (of("centre", lambda t: t[:-1]), r"centre as float32 \[63\]"),
        (of("matrix", Tensor.double), "matrix as float64"),
        (of("matrix", lambda t: t * torch.nan), "not finite"),
        (without("centre"), "lacks the tensors centre"),
    ):
        before = content_of(uri, "whitening.safetensors")
        change(world, "dataset whitened", "whitening.safetensors", edit)
        refused(lambda: open_dataset(uri).train.batch(torch.arange(2)), pattern)
        put(uri, "whitening.safetensors", before)
    assert open_dataset(uri).train.batch(torch.arange(2)).isfinite().all()


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 64, b"PAR1", b'\x08\x00\x00\x00\x00\x00\x00\x00{"a": 1}'])
def test_a_file_that_holds_no_tensors_at_all(world: World, refused: Callable[..., str], content: bytes) -> None:
    uri = world.artifacts["synthetic"]
    put(uri, IMAGES, content)
    refused(lambda: load_distilled(uri), f"{IMAGES} is not a safetensors file")
