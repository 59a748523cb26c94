"""A storage of small artifacts that refer to each other as those of a pipeline do, made in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bilp.artifacts.artifact import content_key
from bilp.artifacts.publication import publish
from bilp.artifacts.run_layout import RECORD
from bilp.storage import objects

FINGERPRINT = "f" * 16
SETTINGS: Mapping[str, Any] = {"networks": [{"name": "convnet"}], "seeds": 2, "epochs": 3, "seed": 0}
TEACHER: Mapping[str, Any] = {"network": {"name": "convnet"}, "epochs": 3}
DATASET = f"datasets/flowers/{FINGERPRINT}"


def key(name: str) -> str:
    """The key of something that the tests give a name."""
    return content_key("test", 1, name=name)


@dataclass(frozen=True)
class Store:
    """A storage with two pipelines: `first` and `second` share the data set, the scores and the evaluation of real images."""

    root: str

    def put(self, place: str, kind: str, parents: Sequence[str] = (), config: Mapping[str, Any] = {}, facts: Mapping[str, Any] = {}) -> str:
        """Publish an artifact of one file; its place."""
        named = {f"parent {number}": self.uri(parent) for number, parent in enumerate(parents)}
        folder = place.rpartition("/")[2]
        its_key = folder if len(folder) == 16 else key(place)
        files = {{"report": "report.html", "round": "checkpoint.safetensors"}.get(kind, "losses.parquet"): place.encode() * 50}
        publish(self.uri(place), kind, its_key, files, config=config, parents=named, facts=facts)
        return place

    def uri(self, place: str) -> str:
        """Where something lies."""
        return objects.join(self.root, place)

    def places(self) -> set[str]:
        """Places of all manifests and records that are there."""
        return {name.rpartition("/")[0] for name in objects.listing(self.root) if name.endswith(("_manifest.json", RECORD))}

    def teacher(self, name: str, selection: str | None = None) -> str:
        """A teacher of a selection, or of all samples; its place."""
        facts = {"dataset": FINGERPRINT, **({} if selection is None else {"selection": selection.rpartition("/")[2]})}
        parents = [DATASET, *([] if selection is None else [selection])]
        return self.put(f"teachers/{key(f'teacher {name}')}", "teacher", parents, config={"teacher": TEACHER, "seed": 0}, facts=facts)

    def run(self, name: str, selection: str, finished: bool = True, teacher: str | None = None) -> str:
        """A run with a round and, if it is finished, a synthetic set; its place."""
        place = f"runs/{key(name)}"
        record: dict[str, Any] = {
            "version": 2,
            "key": key(name),
            "dataset": DATASET,
            "selection": selection,
            "experts": None,
            "distill": {},
        }
        record["parents"] = {"dataset": FINGERPRINT, "selection": selection.rpartition("/")[2]}
        if teacher is not None:
            record["teacher"], record["parents"]["teacher"] = teacher, teacher.rpartition("/")[2]
        objects.write(self.uri(f"{place}/{RECORD}"), json.dumps(record).encode())
        self.put(f"{place}/rounds/0001", "round", [place, DATASET, selection])
        self.put(f"{place}/rounds/0001/reselect", "reselect", [place, DATASET, selection])
        if finished:
            self.put(f"{place}/synthetic", "synthetic", [place, DATASET, selection])
        return place

    def evaluation(self, name: str, synthetic: str | None = None, taught: bool = False) -> str:
        """An evaluation with its trainings, which a teacher of all samples may have `taught`; its place."""
        subject = {"synthetic": key(name)} if synthetic else {"real": "full"}
        facts = {"arm": name, "experiment": 0, "dataset": FINGERPRINT, "networks": ["convnet"], **subject}
        parents = [DATASET, *([synthetic] if synthetic else [])]
        self.trainings(subject)
        config = {**SETTINGS, "teacher": TEACHER} if taught else SETTINGS
        return self.put(f"evaluations/{key(f'evaluation {name}')}", "evaluation", parents, config=config, facts=facts)

    def trainings(self, subject: Mapping[str, Any]) -> str:
        """Finished trainings; the place of their folder."""
        protocol = {"epochs": 3, "seed": 0}
        place = f"trainings/{content_key('train', 1, dataset=FINGERPRINT, subject=subject, protocol=protocol)}"
        trainings = [{"network": "convnet", "seed": 0, "accuracy": 0.5, "best_accuracy": 0.5, "train_images": 3}]
        content = {"digest": content_key("trainings", 1, trainings=trainings), "trainings": trainings}
        objects.write(self.uri(f"{place}/convnet-{key('network')}/0000.json"), json.dumps(content).encode())
        return place


def make_store(root: str) -> Store:
    """Two finished pipelines."""
    store = Store(root)
    store.put(DATASET, "dataset")
    store.put(f"datasets/flowers/sources/{key('source')}", "source", [DATASET])
    trials = [store.put(f"scores/{FINGERPRINT}/{key('score')}/trials/{number:04d}", "score_trial", [DATASET]) for number in range(2)]
    scores = store.put(f"scores/{FINGERPRINT}/{key('score')}/summary/{key('summary')}", "score_summary", [DATASET, *trials])
    full = store.evaluation("full")
    for name in ("first", "second"):
        selection = store.put(f"selections/{key(f'selection {name}')}", "selection", [DATASET, scores])
        run = store.run(name, selection, teacher=store.teacher(name, selection))
        evaluation = store.evaluation(name, f"{run}/synthetic")
        store.put(f"reports/{key(f'report {name}')}", "report", [DATASET, scores, selection, f"{run}/synthetic", full, evaluation])
    return store


def put(contents: Mapping[str, bytes], root: str) -> None:
    """Write files below a root, several at a time."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: objects.write(objects.join(root, name), contents[name]), contents))


def contents(root: str) -> dict[str, bytes]:
    """Every file below a root."""
    names = list(objects.listing(root))
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(lambda name: objects.read(objects.join(root, name)), names), strict=True))
