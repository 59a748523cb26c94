"""A run: one dataset, one selection, one configuration. What identifies it, its record, and how it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bilp.artifacts import layout, signing, usage
from bilp.artifacts.artifact import content_key, open_artifact
from bilp.artifacts.run_layout import NAMED_BY_KEY, RECORD
from bilp.config import METHODS, DistillConfig, Frozen, LinearConfig, ReselectConfig
from bilp.config.base import unrevised
from bilp.config.given import model_of
from bilp.config.reselectable import untaught
from bilp.data import Dataset, open_dataset
from bilp.distill.checks import check_method, check_pool, check_ranking
from bilp.distill.outside import ROLES, with_digests, without_places
from bilp.distill.starting_set import open_starting, starting_uri, without_start
from bilp.distill.step import pretrained
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact, PluginMissing, StorageRefused
from bilp.experts.buffer import ExpertBuffer
from bilp.nets import build
from bilp.pruning.difficulty import difficulty_of
from bilp.pruning.prune import KIND
from bilp.pruning.selected import real_pool
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri, optional_uri
from bilp.teachers.stored_teacher import StoredTeacher

VERSION = 1
"""Version of what all methods share; see `version_of`."""
KEEPS_ALL: Mapping[str, Any] = {"keep_rounds": "all"}
FROM_PARENTS: Mapping[str, Any] = {"teacher_samples": None}


class Run(Frozen):
    """What `_run.json` holds."""

    version: int
    """Version of the algorithm, of its method and its network."""
    key: str
    """Content key of everything below but the URIs."""
    dataset: str
    """URI of the dataset; a relative path is relative to the storage root."""
    selection: str | None
    """URI of the selection likewise, or null for the whole train split."""
    experts: str | None = None
    """URI of the buffer of experts likewise, or null for a method without."""
    teacher: str | None = None
    """URI of the teacher likewise, or null for a run that asks none; such records do not hold it."""
    ranking: str | None = None
    """URI of the selection that says how hard samples are likewise, or null for a run that does not ask; such records do not hold it."""
    start: str | None = None
    """URI of the synthetic set that the run starts from likewise, or null; such records do not hold it."""
    parents: dict[str, str]
    """Fingerprint of the dataset, keys of the selection, of the experts, of the teacher, of the ranking and of the set that the run starts
    from, checksums of files from outside."""
    distill: DistillConfig
    """Settings of the distillation."""
    reselect: ReselectConfig
    """Settings of adaptive pruning; defaults with beta = 0 where it is off."""
    signature: str | None = None
    """Signature of all the rest and of its place (see `bilp.artifacts.signing`), where one is stored."""


def start_run(
    dataset_uri: Uri,
    selection_uri: Uri | None,
    distill: DistillConfig | Mapping[str, Any],
    reselect: ReselectConfig | Mapping[str, Any],
    root: Uri,
    experts_uri: Uri | None = None,
    teacher_uri: Uri | None = None,
    ranking_uri: Uri | None = None,
) -> str:
    """Register a run below `root` and return its URI; the same run registered before is validated and returned.

    Some methods imitate the experts of a buffer, which must have learned exactly the samples of this run. Others ask a teacher of the
    same data set, which must have learned what `distill.teacher_samples` says of it, if that is set, or how hard the real samples are.
    Raises ConfigError if a class has too few samples left for `distill` and `reselect`, the images do not fit the
    network, there are more shards than classes or the method does not fit `reselect` or the experts, MissingArtifact and
    IncompatibleArtifact if dataset, selection, experts or teacher are not there or do not belong together.

    Args:
        dataset_uri: the ingested data set.
        selection_uri: the static selection, or None for the whole train split.
        distill: settings of the distillation.
        reselect: settings of adaptive pruning, which beta = 0 switches off.
        root: storage root.
        experts_uri: the buffer of experts, or None for a method without.
        teacher_uri: the teacher, or None for a method without.
        ranking_uri: a selection that ranks the samples by how hard they are, whichever it keeps, or None for a run without a need.
    """
    dataset_uri, root, reselect = as_uri(dataset_uri), as_uri(root), model_of(ReselectConfig, reselect)
    selection_uri, experts_uri, teacher_uri, ranking_uri = map(optional_uri, (selection_uri, experts_uri, teacher_uri, ranking_uri))
    dataset = open_dataset(dataset_uri)
    distill, outside = with_digests(model_of(DistillConfig, distill), dataset)
    parents = {"dataset": dataset.fingerprint, **outside}
    start_uri, distill = starting_uri(distill), without_start(distill)
    parents |= {} if start_uri is None else {"start": open_starting(start_uri, distill, dataset).manifest.key}
    reselect = reselect if reselect.active else ReselectConfig(beta=0.0)
    check_pool(real_pool(dataset, selection_uri), distill, reselect)
    if selection_uri is not None:
        parents["selection"] = open_artifact(selection_uri, "selection").manifest.key
    check_method(distill, reselect, experts_uri, teacher_uri)
    check_ranking(distill, reselect, ranking_uri)
    parents |= _trained(distill, parents, experts_uri, teacher_uri) | _ranked(dataset, ranking_uri)
    build(distill.network, dataset.shape, dataset.classes)  # an impossible network is refused here, not in the first round
    places = {"selection": selection_uri, "experts": experts_uri, "teacher": teacher_uri, "ranking": ranking_uri, "start": start_uri}
    run = Run(
        version=version_of(distill),
        key=run_key(parents, distill, reselect),
        dataset=layout.relative(dataset_uri, root),
        **{role: None if uri is None else layout.relative(uri, root) for role, uri in places.items()},
        parents=parents,
        distill=distill,
        reselect=reselect,
    )
    return _registered(run, root)


def _registered(run: Run, root: str) -> str:
    """The URI of the run's folder, in which its record lies, or one of the same run that was there before."""
    uri = objects.join(root, "runs", run.key)
    if not _is_registered(uri):
        objects.require_usable(root, f"there is no run at {uri} yet")
        if objects.create(objects.join(uri, RECORD), _record(run, uri)):
            return uri
    _keep_as(uri, run)
    return uri


def _ranked(dataset: Dataset, ranking_uri: str | None) -> dict[str, str]:
    """Key of the ranking, if there is one, which must be of the run's data set."""
    if ranking_uri is None:
        return {}
    difficulty_of(dataset, ranking_uri)
    return {"ranking": open_artifact(ranking_uri, KIND).manifest.key}


def _trained(distill: DistillConfig, parents: Mapping[str, str], experts_uri: str | None, teacher_uri: str | None) -> dict[str, str]:
    """Keys of the experts, which must be of the run's samples, and of the teacher, of its data set, if there are any.

    What the teacher learned of that is checked where the settings name it.
    """
    keys = {}
    if experts_uri is not None:
        experts = ExpertBuffer(experts_uri)
        experts.require(distill, parents)
        keys["experts"] = experts.key
    if teacher_uri is not None:
        teacher = StoredTeacher(teacher_uri)
        teacher.require(parents["dataset"])
        if distill.teacher_samples is not None:
            teacher.require_samples(parents.get("selection") if distill.pruned_teacher else None)
        if told := untaught(distill.method, teacher.config):
            raise ConfigError(f"{told} (the teacher at {teacher_uri})")
        keys["teacher"] = teacher.key
    return keys


def _record(run: Run, uri: str) -> bytes:
    """What `_run.json` of the run at `uri` holds."""
    unused: dict[str, Any] = {"signature": True, "distill": {"keep_rounds"} if run.distill.keep_rounds == "all" else set()}
    unused |= {role: True for role in ("teacher", "ranking", "start") if getattr(run, role) is None}
    return signing.sealed(run.model_dump_json(indent=2, exclude=unused).encode(), uri, RECORD)


def _keep_as(uri: str, run: Run) -> None:
    """Let what is kept of a run that is registered, and where its files lie, be what was asked for last: no part of what it computes."""
    there = open_run(uri)
    may_write = there.signature is None or bool(signing.keys())  # nobody takes a signature away
    wanted = there.distill.model_copy(update={"keep_rounds": run.distill.keep_rounds, "linear": run.distill.linear})
    if may_write and there.distill != wanted:
        with suppress(StorageRefused):  # whoever may not write there keeps nothing either
            objects.write(objects.join(uri, RECORD), _record(there.model_copy(update={"distill": wanted}), uri))


def version_of(distill: DistillConfig) -> int:
    """Version of the algorithm; part of every key, so that changed mathematics never meets old results."""
    return VERSION + METHODS[distill.method].revision + distill.network.revision


def run_key(parents: dict[str, str], distill: DistillConfig, reselect: ReselectConfig) -> str:
    """Content key of a run; equal for equal parents, settings and version. Without adaptive pruning its settings do not count."""
    adaptive = reselect if reselect.active else None
    inputs: dict[str, Any] = {"dataset": parents.get("dataset"), "selection": parents.get("selection")}
    inputs |= {role: parents[role] for role in ("experts", "teacher", "ranking", "start", *ROLES) if role in parents}
    if distill.pretrained.networks > 0 and pretrained.VERSION > 1:  # the first version was not recorded
        inputs["pretrained_version"] = pretrained.VERSION
    left = {**KEEPS_ALL, **FROM_PARENTS}  # what is kept changes nothing of what is computed, and the teacher is a parent
    counted = without_places(distill).model_copy(update=left)
    return content_key("distill", version_of(distill), **inputs, distill=counted, reselect=adaptive)


def open_run(run_uri: Uri, known: bool = True) -> Run:
    """Read and check a run's record, which must be there if the run is `known`.

    Raises MissingArtifact, DamagedArtifact, IncompatibleArtifact for another version, or PluginMissing if another package is needed.
    """
    run_uri = as_uri(run_uri)
    where = objects.join(run_uri, RECORD)
    try:
        data = objects.read(where, known, strict_json.LARGEST)
    except MissingArtifact as error:
        raise MissingArtifact(f"no run at {run_uri}: {RECORD} is not there; register it with start_run") from error
    try:
        run = strict_json.read(data, Run)
    except PluginMissing as error:
        raise PluginMissing(f"{where}: {error}") from error
    except ValueError as error:
        raise DamagedArtifact(
            f"{where} is not the record of a run ({error}): delete it and call start_run again, or use the version of bilp that wrote it"
        ) from error
    signing.check(data, run_uri, RECORD)
    if run.version != (version := version_of(run.distill)):
        raise IncompatibleArtifact(f"{where} is of algorithm version {run.version}, this program has {version}: start a new run")
    found, expected = run_key(run.parents, run.distill, run.reselect), run.key
    if found != expected or run_uri.rstrip("/").rsplit("/", 1)[-1] != expected:
        raise DamagedArtifact(
            f"{where} was changed: its content has key {found}, it was registered as {expected}; delete the run and start it again"
        )
    for role in NAMED_BY_KEY:
        _require_place(where, role, getattr(run, role), run.parents.get(role))
    return run


def _require_place(where: str, role: str, place: str | None, key: str | None) -> None:
    """Raise DamagedArtifact unless the place of an input is the folder of the key that the run's own key counts.

    Places are no part of the key, as a storage may be moved.
    """
    if (None if place is None else place.rstrip("/").rsplit("/", 1)[-1]) != key:
        raise DamagedArtifact(
            f"{where} was changed: its {role} lies at {ascii(place)[:300]}, where {key or 'none'} is expected; "
            "delete the run and start it again"
        )


def _is_registered(run_uri: str) -> bool:
    """Whether a valid record of the run is there, which a storage that is read-only may hold; it is marked as used."""
    usage.note(objects.join(run_uri, RECORD))
    try:
        open_run(run_uri, known=False)
    except MissingArtifact:
        return False
    return True


def settings(run: Run) -> dict[str, Any]:
    """The run's configuration as its artifacts' manifests hold it: all that they depend on."""
    places = True if run.distill.linear == LinearConfig() else dict.fromkeys(ROLES.values(), True)
    left_out = {"keep_rounds": True, "linear": places, **dict.fromkeys(unrevised(run.distill), True)}
    return run.model_dump(mode="json", include={"distill": True, "reselect": True}, exclude={"distill": left_out})
