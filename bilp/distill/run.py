"""A run: one dataset, one selection, one configuration. What identifies it and where its parts lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilp.artifacts import layout, signing
from bilp.artifacts.artifact import content_key, open_artifact
from bilp.config import METHODS, DistillConfig, Frozen, ReselectConfig
from bilp.config.given import model_of
from bilp.config.methods import either, names_of
from bilp.data import Dataset, open_dataset
from bilp.data.pool import RealPool
from bilp.distill.step import pretrained
from bilp.distill.step.initial import require_initial
from bilp.distill.step.pretrained import PretrainedNetworks, Pretraining
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact, PluginMissing
from bilp.experts.buffer import ExpertBuffer
from bilp.nets import build
from bilp.pruning.prune import kept_samples
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri, optional_uri

VERSION = 1
"""Version of what all methods share; see `version_of`."""
RECORD = "_run.json"


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
    parents: dict[str, str]
    """Fingerprint of the dataset, keys of the selection and of the experts."""
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
) -> str:
    """Register a run below `root` and return its URI; the same run registered before is validated and returned.

    Some methods imitate the experts of a buffer, which must have learned exactly the samples of this run.
    Raises ConfigError if a class has too few samples left for `distill` and `reselect`, the images do not fit the
    network, there are more shards than classes or the method does not fit `reselect` or the experts, MissingArtifact and
    IncompatibleArtifact if dataset, selection or experts are not there or do not belong together.
    """
    dataset_uri = as_uri(dataset_uri)
    selection_uri = optional_uri(selection_uri)
    distill = model_of(DistillConfig, distill)
    reselect = model_of(ReselectConfig, reselect)
    root = as_uri(root)
    experts_uri = optional_uri(experts_uri)
    dataset = open_dataset(dataset_uri)
    parents = {"dataset": dataset.fingerprint}
    pool = real_pool(dataset, selection_uri)
    if selection_uri is not None:
        parents["selection"] = open_artifact(selection_uri, "selection").manifest.key
    reselect = reselect if reselect.beta > 0 else ReselectConfig(beta=0.0)
    check_pool(pool, distill, reselect)
    check_method(distill, reselect, experts_uri)
    if experts_uri is not None:
        experts = ExpertBuffer(experts_uri)
        experts.require(distill, parents)
        parents["experts"] = experts.key
    build(distill.network, dataset.shape, dataset.classes)  # an impossible network is refused here, not in the first round
    run = Run(
        version=version_of(distill),
        key=run_key(parents, distill, reselect),
        dataset=layout.relative(dataset_uri, root),
        selection=None if selection_uri is None else layout.relative(selection_uri, root),
        experts=None if experts_uri is None else layout.relative(experts_uri, root),
        parents=parents,
        distill=distill,
        reselect=reselect,
    )
    uri = objects.join(root, "runs", run.key)
    if not _is_registered(uri):
        objects.require_usable(root, f"there is no run at {uri} yet")
        record = run.model_dump_json(indent=2, exclude={"signature"}).encode()
        if not objects.create(objects.join(uri, RECORD), signing.sealed(record, uri, RECORD)):
            open_run(uri)
    return uri


def version_of(distill: DistillConfig) -> int:
    """Version of the algorithm; part of every key, so that changed mathematics never meets old results."""
    return VERSION + METHODS[distill.method].revision + distill.network.revision


def run_key(parents: dict[str, str], distill: DistillConfig, reselect: ReselectConfig) -> str:
    """Content key of a run; equal for equal parents, settings and version. Without adaptive pruning its settings do not count."""
    adaptive = reselect if reselect.beta > 0 else None
    inputs: dict[str, Any] = {"dataset": parents.get("dataset"), "selection": parents.get("selection")}
    if "experts" in parents:
        inputs["experts"] = parents["experts"]
    if distill.idc.pretrained.networks > 0 and pretrained.VERSION > 1:  # the first version was not recorded
        inputs["pretrained_version"] = pretrained.VERSION
    return content_key("distill", version_of(distill), **inputs, distill=distill, reselect=adaptive)


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
    for role, place in (("dataset", run.dataset), ("selection", run.selection), ("experts", run.experts)):
        _require_place(where, role, place, run.parents.get(role))
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
    """Whether a valid record of the run is there, which a storage that is read-only may hold."""
    try:
        open_run(run_uri, known=False)
    except MissingArtifact:
        return False
    return True


def root_of(run_uri: str) -> str:
    """The storage root below which a run lies."""
    return run_uri.rstrip("/").rsplit("/", 2)[0]


def open_pool(run_uri: str, run: Run) -> RealPool:
    """The real samples of a run. Raises IncompatibleArtifact if the dataset behind its URI is no longer the same."""
    root = root_of(run_uri)
    dataset_uri = layout.resolve(run.dataset, root)
    dataset = open_dataset(dataset_uri)
    if dataset.fingerprint != run.parents["dataset"]:
        raise IncompatibleArtifact(
            f"the dataset at {dataset_uri} has fingerprint {dataset.fingerprint}, but {run_uri} was started with {run.parents['dataset']}: "
            "restore the dataset or start a new run"
        )
    return real_pool(dataset, None if run.selection is None else layout.resolve(run.selection, root), run.parents.get("selection"))


def open_experts(run_uri: str, run: Run) -> ExpertBuffer | None:
    """The experts of a run, or None if its method has none. Raises IncompatibleArtifact if they are no longer the same."""
    if run.experts is None:
        return None
    experts = ExpertBuffer(layout.resolve(run.experts, root_of(run_uri)))
    if experts.key != run.parents["experts"]:
        raise IncompatibleArtifact(
            f"the experts at {experts.uri} have key {experts.key}, but {run_uri} was started with {run.parents['experts']}: "
            "restore them or start a new run"
        )
    experts.require(run.distill, run.parents)
    return experts


def real_pool(dataset: Dataset, selection_uri: str | None, key: str | None = None) -> RealPool:
    """The train split of `dataset`, or what a selection keeps.

    Raises IncompatibleArtifact if that was made for another dataset, or is not the one with `key`, if that is given.
    """
    if selection_uri is None:
        return RealPool(dataset)
    selection = open_artifact(selection_uri, "selection", expect={"dataset": dataset.fingerprint})
    if key is not None and selection.manifest.key != key:
        raise IncompatibleArtifact(
            f"the selection at {selection_uri} has key {selection.manifest.key}, but the run was started with {key}: "
            "restore the selection or start a new run"
        )
    return RealPool(dataset, kept_samples(selection, dataset.train.labels))


def check_pool(pool: RealPool, distill: DistillConfig, reselect: ReselectConfig) -> None:
    """Raise ConfigError if a class has too few samples for these settings, the images are not what the method steps, or there
    are more shards than classes."""
    if pool.dataset.whitening_facts is not None and METHODS[distill.method].decodes:
        raise ConfigError(
            f"method {distill.method} steps images as pixels, which those of {pool.dataset.name} are not: use the data set not whitened"
        )
    if distill.shards > pool.classes:
        raise ConfigError(f"{distill.shards} shards cannot share {pool.classes} classes: set distill.shards to {pool.classes} or less")
    pool.require(1, "distillation")
    require_initial(distill, pool)
    if reselect.beta > 0:
        pool.require(2, f"adaptive pruning (beta = {reselect.beta:g})")


def check_method(distill: DistillConfig, reselect: ReselectConfig, experts_uri: str | None) -> None:
    """Raise ConfigError if a method that needs experts has none or shall prune adaptively, or another one has experts."""
    method = METHODS[distill.method]
    if not method.needs_experts and experts_uri is not None:
        others = either(names_of(lambda other: other.needs_experts))
        raise ConfigError(f"method {method.name} imitates no experts: leave {experts_uri} out, or use method {others}")
    if not method.adaptive and reselect.beta > 0:
        raise ConfigError(
            f"adaptive pruning (beta = {reselect.beta:g}) does not apply to method {method.name}, which {method.no_effect}: "
            "set beta = 0 and prune statically"
        )
    if method.needs_experts and experts_uri is None:
        raise ConfigError(f"method {distill.method} imitates experts: train them (train_expert, collect_experts) and name the buffer")


def bounds(config: DistillConfig, round_number: int) -> tuple[int, int]:
    """First iteration of a round (1 to `config.rounds`) and the one after its last; earlier rounds take the remainder.

    Raises ConfigError for any other round.
    """
    if not 1 <= round_number <= config.rounds:
        raise ConfigError(f"round {round_number} does not exist: the run has rounds 1 to {config.rounds}")
    share, rest = divmod(config.iterations, config.rounds)
    start = (round_number - 1) * share + min(round_number - 1, rest)
    return start, start + share + (1 if round_number <= rest else 0)


def lineage(run_uri: str, run: Run) -> dict[str, str]:
    """URIs that an artifact of the run comes from."""
    root = root_of(run_uri)
    parents = {"run": run_uri, "dataset": layout.resolve(run.dataset, root)}
    for role, uri in (("selection", run.selection), ("experts", run.experts)):
        if uri is not None:
            parents[role] = layout.resolve(uri, root)
    for number in range(run.distill.idc.pretrained.networks):
        parents[f"pretrained network {number}"] = pretraining_of(run_uri, run).uri(number)
    return parents


def pretraining_of(run_uri: str, run: Run) -> Pretraining:
    """The set-up of the networks that a run's iterations start from; runs on the same samples share them."""
    return Pretraining(root_of(run_uri), run.parents["dataset"], run.parents.get("selection"), run.distill)


def open_pretrained(run_uri: str, run: Run) -> PretrainedNetworks | None:
    """The networks that a run's iterations start from, or None if each draws a new one.

    Raises MissingArtifact, naming those that have not been trained.
    """
    return PretrainedNetworks(pretraining_of(run_uri, run)) if run.distill.idc.pretrained.networks > 0 else None


def settings(run: Run) -> dict[str, Any]:
    """The run's configuration as its artifacts' manifests hold it."""
    return run.model_dump(mode="json", include={"distill", "reselect"})


def shard_uri(run_uri: str, shard: int) -> str:
    """Below which the rounds of a shard lie, as those of the run lie below the run."""
    return objects.join(run_uri, "shards", f"{shard:04d}")


def round_uri(run_uri: str, round_number: int) -> str:
    """Where the artifact of a round lies."""
    return objects.join(run_uri, "rounds", f"{round_number:04d}")


def reselect_uri(run_uri: str, round_number: int) -> str:
    """Where the reselection of a round lies."""
    return objects.join(round_uri(run_uri, round_number), "reselect")
