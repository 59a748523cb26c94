"""Every result of a storage: the reports, and the distillations that no report shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from bilp.artifacts import layout, signing
from bilp.artifacts.artifact import Artifact, find, open_artifact
from bilp.artifacts.facts import ReportFacts, StudyFacts
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.report_places import KIND, REPORTS
from bilp.artifacts.run_layout import RECORD, SYNTHETIC
from bilp.errors import BilpError, DamagedArtifact, IncompatibleArtifact, MissingArtifact
from bilp.evaluate.rows import evaluation_rows
from bilp.report.comparison import Training
from bilp.report.outcome import arm_results, of_facts
from bilp.results.find import THREADS, Found, require_whole
from bilp.results.places import KEY, RUN, WILD
from bilp.results.result import FINISHED, Result
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri

RUNS = "runs"
STUDIES, STUDY, STUDY_PART = "studies", "study", "study_part"
"""Folder of studies, and kinds of what lies there (`bilp.studies`)."""

T = TypeVar("T")
U = TypeVar("U")


def results(root: Uri | None = None) -> list[Result]:
    """Reports, the newest first, studies, then the distillations that none of them shows, in the order of their keys.

    Of several pages of the same settings and artifacts, the newest counts alone. What cannot be read is a row that says so. Raises
    MissingArtifact if nothing at all lies at the root.

    Args:
        root: storage root, by default BILP_STORAGE.
    """
    root = objects.storage_root() if root is None else as_uri(root)
    keys = _keys(root, REPORTS)
    runs = _keys(root, RUNS)
    if not keys and not runs and not objects.exists(root):
        raise MissingArtifact(f"nothing lies at {root}: run a pipeline first, or set BILP_STORAGE to where its results are")
    read = _each(lambda key: _report(objects.join(root, REPORTS, key), key), keys, root)
    newest: dict[str, Result] = {}
    shown: set[str] = set()
    for result, artifact in sorted(read, key=lambda each: (each[0].created, each[0].key), reverse=True):
        newest.setdefault(_subject(result, artifact), result)
        shown |= _runs_of(artifact)
    studies = _keys(root, STUDIES)
    for artifact in _parts(root, studies):
        shown |= _runs_of(artifact)
    listed = [each for each in _each(lambda key: _study(objects.join(root, STUDIES, key), key), studies, root) if each is not None]
    unfinished = _each(lambda key: _run(objects.join(root, RUNS, key), key), [key for key in runs if key not in shown], root)
    return [*newest.values(), *listed, *unfinished]


def result_at(found: Found) -> Result:
    """The result of a report or a run that was found. Raises what `bilp.results.find.find` raises for what is not whole."""
    if found.kind == KIND:
        artifact = find(found.uri, KIND, found.key)
        if artifact is None:
            raise MissingArtifact(f"no complete report at {found.uri}: bilp ls lists what there is")
        return _of_report(artifact)
    return _of_record(found.uri, found.key)


def report_keys(root: str) -> list[str]:
    """The keys in the folder of reports, whole or not."""
    return _keys(root, REPORTS)


def _keys(root: str, folder: str) -> list[str]:
    return [name for name in objects.children(objects.join(root, folder)) if WILD[KEY].fullmatch(name)]


def _each(read: Callable[[T], U], of: Sequence[T], root: str) -> list[U]:
    """What is read of each; at the same time where every reading waits for an answer."""
    if "://" not in root:
        return [read(one) for one in of]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(read, of))


def _report(uri: str, key: str) -> tuple[Result, Artifact | None]:
    try:
        artifact = find(uri, KIND, key)
        if artifact is not None:
            return _of_report(artifact), artifact
        require_whole(Found(KIND, key, f"{REPORTS}/{key}", uri.rsplit("/", 2)[0]))
    except BilpError as error:
        return _broken(KIND, uri, key, error), None
    return Result(KIND, key, uri, "being written"), None  # published since


def _study(uri: str, key: str) -> Result | None:
    """A study that has a page; None for one that has none yet."""
    try:
        artifact = find(uri, STUDY, key)
        if artifact is None:
            return None
        facts, size = artifact.stated(StudyFacts), sum(entry.size for entry in artifact.manifest.files.values())
    except BilpError as error:
        return _broken(STUDY, uri, key, error)
    status = f"study {facts.name}, {facts.done} of {facts.planned} blocks"
    return Result(STUDY, key, uri, status, artifact.manifest.created_at, size=size)


def _parts(root: str, studies: Sequence[str]) -> list[Artifact]:
    """What came of the blocks of all studies; what cannot be read is passed over: it shows no run."""
    places = [
        objects.join(root, STUDIES, key, "parts", number)
        for key in studies
        for number in objects.children(objects.join(root, STUDIES, key, "parts"))
    ]

    def read(uri: str) -> Artifact | None:
        try:
            return find(uri, STUDY_PART)
        except BilpError:
            return None

    return [artifact for artifact in _each(read, places, root) if artifact is not None]


def _run(uri: str, key: str) -> Result:
    try:
        return _of_record(uri, key)
    except BilpError as error:
        return _broken(RUN, uri, key, error)


def _broken(kind: str, uri: str, key: str, error: BilpError) -> Result:
    """The row of what cannot be read. A manifest that a later version wrote is said to be that."""
    if isinstance(error, DamagedArtifact):
        try:
            require_whole(Found(kind, key, "/".join(uri.rsplit("/", 2)[1:]), uri.rsplit("/", 2)[0]))
        except BilpError as better:
            error = better
    kinds = ((IncompatibleArtifact, "of a newer bilp"), (MissingArtifact, "not whole"), (DamagedArtifact, "damaged"))
    status = next((words for cause, words in kinds if isinstance(error, cause)), "unreadable")
    return Result(kind, key, uri, status, problem=str(error))


def _of_report(artifact: Artifact) -> Result:
    manifest, facts = artifact.manifest, artifact.stated(ReportFacts)
    own = sum(entry.size for entry in manifest.files.values())
    named = (FINISHED, manifest.created_at, facts.name or "", manifest.config)
    result = Result(KIND, manifest.key, artifact.uri, *named, scores_version=facts.scores_version)
    if facts.accuracies is not None:
        return replace(result, results=of_facts(facts.accuracies), size=own + (facts.size or 0), stated=facts.changed)
    parents = _opened(artifact.parents.items())  # of a page that was published before these were stated
    rows = [Training(**row) for parent in parents if parent.manifest.kind == "evaluation" for row in evaluation_rows(parent)]
    size = own + sum(entry.size for parent in parents for entry in parent.manifest.files.values())
    return replace(result, results=arm_results(rows), size=size)


def _opened(parents: Iterable[tuple[str, str]]) -> list[Artifact]:
    """Those artifacts that a page rests on which are there still."""
    kinds = {"dataset": "dataset", "source": "source", "scores": "score_summary", "selection": "selection"}
    named = {
        "evaluation": "evaluation",
        "synthetic": SYNTHETIC,
        "experts": "expert_buffer",
        "pretrained": "pretrained_network",
        "teacher": "teacher",
        "ranking": "selection",
        "start": SYNTHETIC,
    }
    opened = []
    for role, uri in parents:
        kind = kinds.get(role) or named.get(role.split(" ")[0])
        try:
            if kind is not None:
                opened.append(open_artifact(uri, kind))
        except MissingArtifact:
            continue
    return opened


def _subject(result: Result, artifact: Artifact | None) -> str:
    """What a page is about: equal for pages of the same settings and artifacts."""
    if artifact is None:
        return result.key
    return json.dumps([dict(result.config), dict(artifact.manifest.parents)], sort_keys=True)


def _runs_of(artifact: Artifact | None) -> set[str]:
    """Keys of the runs whose synthetic sets a page shows."""
    places = [] if artifact is None else [place for role, place in artifact.manifest.parents.items() if role.startswith(SYNTHETIC)]
    return {place.rstrip("/").rsplit("/", 2)[-2] for place in places if place.count("/") > 1}


def _of_record(uri: str, key: str) -> Result:
    """A distillation, and how far it has come. Raises BilpError as `require_whole` does."""
    require_whole(Found(RUN, key, layout.place_of(objects.join(uri, "synthetic")).rpartition("/")[0], uri.rsplit("/", 2)[0]))
    data = objects.read(objects.join(uri, RECORD), expected=True, most=strict_json.LARGEST)
    signing.check(data, uri, RECORD)
    record: dict[str, Any] = strict_json.parse(data)
    try:
        config = {"distill": dict(record["distill"]), "reselect": dict(record["reselect"])}
        rounds, parts = int(config["distill"]["rounds"]), str(record["dataset"]).split("/")
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedArtifact(f"{uri}/{RECORD} is not the record of a run ({error!r}): delete it, or run the pipeline again") from error
    files = objects.objects(uri)
    done = sum(name.endswith(MANIFEST) and name.startswith("rounds/") and name.count("/") == 2 for name in files)
    begun = f"round {done} of {rounds}" if done else "registered"
    status = "distilled" if f"{SYNTHETIC}/{MANIFEST}" in files else begun
    name = parts[parts.index("datasets") + 1] if "datasets" in parts[:-1] else ""
    return Result(RUN, key, uri, status, name=name, config=config, size=sum(version.size for version in files.values()))
