"""How each kind of artifact is used downstream, by the functions that users and stages call, and what a result of it must be like."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from fuzz_world import EVALUATE, MTT, OFF, PRUNE, SCORE, World, config_of, pipeline_config

from bilp import load_distilled
from bilp.artifacts.artifact import open_artifact
from bilp.data import open_dataset
from bilp.data.source_record import open_record
from bilp.data.store import open_recorded
from bilp.distill import distill_round, finish_run, open_run, reselect_round, start_run
from bilp.distill.inputs import lineage, open_pool
from bilp.evaluate import evaluate_synthetic, measurements, summary
from bilp.exchange import export_set
from bilp.pruning.prune import load_selection, prune
from bilp.report import report
from bilp.scoring.summary import load_summary, summarize
from bilp.storage import objects

Result = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Artifacts of a kind: where one lies, what is done with it, and what is wrong with the result, if anything."""

    name: str
    places: Callable[[World], list[str]]
    use: Callable[[World], Result]
    sound: Callable[[Any], str | None]


def check(**conditions: bool) -> str | None:
    """The first condition that does not hold."""
    return next((name for name, holds in conditions.items() if not holds), None)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- data sets ----------------------------------------------------------------------------------------------------------------------


def use_dataset(world: World, place: str | None = None) -> Result:
    data = open_dataset(world.uri(place or world.dataset))
    found: Result = {name: getattr(data, name) for name in ("name", "fingerprint", "class_names", "classes", "shape", "mean", "std")}
    for name, split in (("train", data.train), ("test", data.test)):
        everything = split.images()
        found[name] = {
            "labels": split.labels.tolist(),
            "by_class": [members.tolist() for members in split.by_class()],
            "dtype": str(everything.dtype),
            "images": everything.tolist(),
            "batch": split.batch().tolist(),
            "index": split.index().to_pylist(),
        }
    return found


def sound_dataset(found: Result) -> str | None:
    names, shape = found["class_names"], found["shape"]
    problem = check(
        class_names=bool(names) and all(map(is_text, names)) and len(set(names)) == len(names) == found["classes"],
        shape=len(shape) == 3 and all(type(side) is int and side > 0 for side in shape),
        constants=all(len(found[name]) == shape[0] and all(map(math.isfinite, found[name])) for name in ("mean", "std")),
        std=all(value > 0 for value in found["std"]),
        texts=is_text(found["name"]) and is_text(found["fingerprint"]),
    )
    for name in ("train", "test"):
        split = found[name]
        batch = torch.tensor(split["batch"])
        problem = problem or check(
            **{f"{name} labels": all(0 <= label < len(names) for label in split["labels"])},
            **{f"{name} pixels": split["dtype"] == "torch.uint8" and torch.tensor(split["images"]).shape == (len(split["labels"]), *shape)},
            **{f"{name} batch": bool(batch.isfinite().all())},
            **{f"{name} members": sorted(chain(*split["by_class"])) == list(range(len(split["labels"])))},
            **{f"{name} index": [row["sample_id"] for row in split["index"]] == list(range(len(split["labels"])))},
        )
    return problem


def use_record(world: World) -> Result:
    record = open_record(world.uri(world.record))
    data = open_recorded(world.uri(world.record))
    return {
        "lines": [line.replace(str(world.root), "") for line in record.lines()],
        "place": record.place.replace(str(world.files), ""),
        "origins": {split: data.origins(split) for split in ("train", "test")},
        "dataset": record.dataset_uri.removeprefix(str(world.root)),
        "counts": {"train": len(data.train), "test": len(data.test)},
    }


def sound_record(found: Result) -> str | None:
    return check(
        lines=all(map(is_text, found["lines"])),
        place=is_text(found["place"]),
        origins=all(len(found["origins"][split]) == found["counts"][split] for split in ("train", "test")),
        dataset=found["dataset"].startswith("/datasets/") and ".." not in found["dataset"],
    )


# --- static pruning -----------------------------------------------------------------------------------------------------------------


def use_trial(world: World) -> Result:
    shutil.rmtree(Path(world.uri(world.scores)))
    return {"table": load_summary(summarize(world.uri(world.dataset), SCORE, str(world.root))).to_pydict()}


def sound_summary(found: Result) -> str | None:
    table = found["table"]
    floats = [value for name, column in table.items() if name not in ("sample_id", "label") and "grand" not in name for value in column]
    return check(ids=table["sample_id"] == list(range(len(table["label"]))), finite=all(map(math.isfinite, floats)))


def use_scores(world: World) -> Result:
    shutil.rmtree(Path(world.uri(world.selection)))
    load_summary(world.uri(world.scores))
    return selected(prune(world.uri(world.dataset), world.uri(world.scores), PRUNE, str(world.root)))


def selected(uri: str) -> Result:
    return {"kept": load_selection(uri).tolist()}


def use_selection(world: World) -> Result:
    run = open_run(world.uri(world.run))
    uri = start_run(world.uri(world.dataset), world.uri(world.selection), run.distill.model_copy(update={"seed": 1}), OFF, str(world.root))
    distill_round(uri, 1)
    return selected(world.uri(world.selection))


def sound_selection(found: Result) -> str | None:
    kept = found["kept"]
    return check(kept=bool(kept) and kept == sorted(set(kept)) and all(0 <= number < 12 for number in kept))


# --- runs ---------------------------------------------------------------------------------------------------------------------------


def use_run(world: World) -> Result:
    uri = world.uri(world.run)
    run = open_run(uri)
    pool = open_pool(uri, run)
    shutil.rmtree(Path(uri) / "rounds")
    parents = {role: place.removeprefix(str(world.root)) for role, place in lineage(uri, run).items()}
    return {
        "settings": run.model_dump_json(exclude={"dataset", "selection"}),
        "parents": parents,
        "data": pool.dataset.fingerprint,
    } | after(uri, 1)


def sound_run(found: Result) -> str | None:
    below = all(place.startswith(("/datasets/", "/runs/", "/selections/", "/scores/", "/experts/")) for place in found["parents"].values())
    return check(parents=below) or sound_state(found)


def after(uri: str, number: int) -> Result:
    """Reselect and distill a round; the state after it."""
    reselect_round(uri, number)
    distill_round(uri, number)
    return state(uri, number)


def state(uri: str, number: int) -> Result:
    place = open_artifact(f"{uri}/rounds/{number:04d}", "round")
    content = place.read("checkpoint.safetensors")
    tensors = safetensors.torch.load(content)
    return {
        "checkpoint": hashlib.sha256(content).hexdigest(),
        "loss": place.manifest.facts["loss"],
        "labels": tensors["labels"].tolist(),
        "iterations": (int(tensors["iteration"]), place.manifest.facts["iteration"]),
        "finite": bool(tensors["images"].isfinite().all()),
        "shape": tuple(tensors["images"].shape),
    }


def sound_state(found: Result) -> str | None:
    """The images of a state may be others, not their order, their number or how far the run is."""
    return check(
        loss=math.isfinite(found["loss"]),
        labels=found["labels"] == [0, 1],
        iteration=len(set(found["iterations"])) == 1 and found["iterations"][0] in (1, 2),
        images=found["finite"] and found["shape"] == (2, 3, 8, 8),
    )


def use_round(world: World) -> Result:
    """The run goes on from its first round."""
    uri = world.uri(world.run)
    for place in ("rounds/0002", "synthetic"):
        shutil.rmtree(Path(uri) / place)
    return after(uri, 2)


def use_last_round(world: World) -> Result:
    """The run is finished from its last round."""
    shutil.rmtree(Path(world.uri(world.run)) / "synthetic")
    return use_set(finish_run(world.uri(world.run)))


def use_reselection(world: World) -> Result:
    uri = world.uri(world.run)
    for place in ("rounds/0002", "synthetic"):
        shutil.rmtree(Path(uri) / place)
    reselection = Path(uri) / "rounds/0001/reselect"
    kept = reselection.rename(Path(uri) / "kept")
    shutil.rmtree(Path(uri) / "rounds/0001")
    reselection.parent.mkdir()
    kept.rename(reselection)
    distill_round(uri, 1)
    return state(uri, 1)


def use_experts(world: World) -> Result:
    shutil.rmtree(Path(world.uri(world.imitating)))
    uri = start_run(world.uri(world.dataset), None, MTT, OFF, str(world.root), world.uri(world.experts))
    distill_round(uri, 1)
    return state(uri, 1)


# --- synthetic sets and what is shown -----------------------------------------------------------------------------------------------


def use_set(uri: str) -> Result:
    data = load_distilled(uri)
    return {
        "images": data.images.tolist(),
        "dtype": str(data.images.dtype),
        "labels": data.labels.tolist(),
        "label_dtype": str(data.labels.dtype),
        "class_names": data.class_names,
        "mean": data.mean,
        "std": data.std,
    }


def use_synthetic(world: World) -> Result:
    uri = world.uri(f"{world.run}/synthetic")
    found = use_set(uri)
    out = world.root.parent / "exported"
    for form in ("folder", "parquet", "safetensors"):
        for written in export_set(uri, form, str(out / form)):  # type: ignore[arg-type]
            assert Path(written).resolve().is_relative_to((out / form).resolve()), f"written outside: {written}"
    pictures = [path for path in out.rglob("*") if path.is_file() and path.suffix != ".safetensors"]  # whose metadata has no order
    found["exported"] = sorted(digest(path) for path in pictures)
    shutil.rmtree(world.root / "evaluations")
    shutil.rmtree(world.root / "trainings", ignore_errors=True)
    found["accuracy"] = [
        row.mean for row in summary([evaluate_synthetic(world.uri(world.dataset), uri, "bilp", 0, EVALUATE, str(world.root))])
    ]
    return found


def sound_synthetic(found: Result) -> str | None:
    images, names = torch.tensor(found["images"]), found["class_names"]
    return check(
        dtype=(found["dtype"], found["label_dtype"]) == ("torch.float32", "torch.int64"),
        images=images.ndim == 4 and len(images) == len(found["labels"]) > 0 and bool(images.isfinite().all()),
        labels=all(0 <= label < len(names) for label in found["labels"]),
        class_names=all(map(is_text, names)) and len(set(names)) == len(names),
        constants=all(len(found[name]) == images.shape[1] and all(map(math.isfinite, found[name])) for name in ("mean", "std")),
        std=all(value > 0 for value in found["std"]),
    )


def use_evaluations(world: World) -> Result:
    uris = [world.uri(place) for place in world.evaluations]
    return {"rows": [vars(row) for row in summary(uris)], "each": [vars(row) for row in measurements(uris)]}


def sound_evaluations(found: Result) -> str | None:
    return check(
        means=all(math.isfinite(row["mean"]) and 0 <= row["mean"] <= 1 for row in found["rows"]),
        texts=all(is_text(row["arm"]) and is_text(row["network"]) for row in found["rows"]),
    )


def use_report(world: World) -> Result:
    """The page of everything."""
    where = report(
        pipeline_config(world),
        world.uri(world.dataset),
        world.uri(world.scores),
        world.uri(world.selection),
        {"bilp": [world.uri(world.run)]},
        [world.uri(place) for place in world.evaluations],
        str(world.root),
        record_uri=world.uri(world.record),
    )
    page = objects.read(where).decode()
    return {"page": page.replace(str(world.root.parent), "")}


def sound_page(found: Result) -> str | None:
    page = found["page"]
    return check(complete=page.rstrip().endswith("</html>"), numbers="nan %" not in page, script="<script" not in page)


def of_run(*below: str) -> Callable[[World], list[str]]:
    return lambda world: [f"{world.run}/{place}" for place in below]


ROUND, RESELECTION = "rounds/0001", "rounds/0001/reselect"
KINDS = (
    Kind("dataset", lambda world: [world.dataset], use_dataset, sound_dataset),
    Kind("whitened dataset", lambda world: [world.whitened], lambda world: use_dataset(world, world.whitened), sound_dataset),
    Kind("source record", lambda world: [world.record], use_record, sound_record),
    Kind("trial", lambda world: [world.trial], use_trial, sound_summary),
    Kind("score summary", lambda world: [world.scores], use_scores, sound_selection),
    Kind("selection", lambda world: [world.selection], use_selection, sound_selection),
    Kind("round", of_run(ROUND), use_round, sound_state),
    Kind("last round", of_run("rounds/0002"), use_last_round, sound_synthetic),
    Kind("reselection", of_run(RESELECTION), use_reselection, sound_state),
    Kind("experts", lambda world: [world.experts, f"{Path(world.experts).parents[1]}/trainings/0000"], use_experts, sound_state),
    Kind("synthetic set", of_run("synthetic"), use_synthetic, sound_synthetic),
    Kind("evaluation", lambda world: list(world.evaluations), use_evaluations, sound_evaluations),
    Kind(
        "report",
        lambda world: [
            *(world.dataset, world.record, world.scores, world.selection, *world.evaluations),
            *(f"{world.run}/{place}" for place in (ROUND, RESELECTION, "rounds/0002", "synthetic")),
        ],
        use_report,
        sound_page,
    ),
)
RUN = Kind("run record", lambda world: [world.run], use_run, sound_run)


def source_again(world: World) -> Result:
    """Ingest the source a second time, where the record says that it is there."""
    from bilp.data import read_source

    return {"record": read_source(config_of(world.files), str(world.root)).removeprefix(str(world.root))}
