"""From a few dials to every value: what dataset, method and ipc imply, and where each value came from.

Layers, later ones win: the models' own defaults < rules derived from the dials < the recipe < what was given.
Rules state facts of the field (published hyper-parameters, see the comments) as plain nested dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

from bilp.config.arithmetics import usual_arithmetic, usual_revision
from bilp.config.augmentations import ALL_FAMILIES, without_mirroring
from bilp.config.criteria import CRITERIA, DEFAULT_CRITERION
from bilp.config.dials import Dials, Settled, read
from bilp.config.direction import turned
from bilp.config.former import renamed
from bilp.config.methods import METHODS, Cell, Method
from bilp.config.nested import as_plain, get, leaves, merge, merge_all, nest
from bilp.config.network import CONVNET, FRAME_MEAN, NETWORKS, POOLS
from bilp.config.protocols import DEFAULT_PROTOCOL, PROTOCOLS, is_convnet_bn
from bilp.config.recipes import load_recipe
from bilp.config.rules import RULES
from bilp.config.set_rules import depth_for, set_values
from bilp.config.sources import SOURCES, UNKNOWN_DATA, SourceEntry
from bilp.config.words import AUTO
from bilp.errors import ConfigError
from bilp.registry import resolve

AUGMENTED = (("experts", "augment"), ("distill", "augment"), ("evaluate", "augment"), ("evaluate", "augment_always"))


GIVEN = "given"
USUAL = "dataset {} (usual in papers)"
"""Origin of what papers share about a large set."""
RECIPE = "recipe "
"""How the origin of what a recipe says begins."""


@dataclass(frozen=True)
class Completion:
    """Nested values ready for validation, and the origin of each leaf path ('distill.iterations')."""

    values: dict[str, Any]
    origins: dict[str, str]

    def under(self, layer: Mapping[str, Any], origin: str) -> Completion:
        """These values with a layer on top."""
        if not layer:
            return self
        return Completion(merge(self.values, layer), self.origins | {path: origin for path, _ in leaves(layer)})


@dataclass(frozen=True)
class KnownOrigins:
    """Origins that travel with a configuration without being part of its value: configurations of equal values are equal."""

    by_path: Mapping[str, str] | None = field(default=None, compare=False)


def _cell(dials: Dials) -> Cell:
    return Cell(dials.dataset, dials.ipc, dials.factor or 0, dials.side or 0, SOURCES[dials.dataset].small)


def _dataset_rules(method: Method, cell: Cell) -> dict[str, Any]:
    if not cell.small:
        return {}
    network = {"width": 64}  # a narrow network is enough
    common = {
        "score": {"network": network, "batch_size": 64},
        "distill": {"network": network, "batch_real": 128},
        "evaluate": {"networks": [network], "seeds": 5, "epochs": 300, "full_epochs": 20, "teacher": {"network": network}},
    }
    return merge(common, method.small(cell))


def _clip_rules(method: Method, source: SourceEntry, by_method: Mapping[str, Any]) -> dict[str, Any]:
    """What follows where samples are clips: networks that take these, in the method's curriculum too; no siamese augmentation, which no
    paper has on clips, unless the method is named for it; and evaluation on clips of which half are mirrored (Wang et al. 2024)."""
    if source.media != "video":
        return {}
    network = {"name": source.network or FRAME_MEAN}
    named_for_it = any(other.augmented_as == method.name for other in METHODS.values())
    taught = {"name": FRAME_MEAN} if method.inverts_teacher else network  # which has batch norm, as not every network of clips
    evaluate = {"augment": ["flip"], "augment_each": [], "augment_always": [], "augment_after": [], "teacher": {"network": taught}}
    curriculum = {"curriculum": {"score": {"network": network}}} if get(by_method, "experts.curriculum") else {}
    return {
        "score": {"network": network},
        "experts": {"augment": [], **curriculum},
        "distill": {"network": taught, **({} if named_for_it else {"augment": []})},
        "evaluate": {"networks": [network], **evaluate},
    }


def _smallest_class(values: Mapping[str, Any], cell: Cell) -> int:
    """Samples that a class needs for its real initialization: with the factor that was given, or under these rules."""
    factor = cell.factor or values.get("distill", {}).get("decode", {}).get("factor", 1)
    return int(max(cell.ipc * factor**2, 2))


def _without_flip(values: dict[str, Any]) -> dict[str, Any]:
    """The augmentation lists in `values` that the rules set, less flip."""
    changed: dict[str, Any] = {}
    for stage, name in AUGMENTED:
        families = values.get(stage, {}).get(name, [] if name == "augment_always" else ALL_FAMILIES)
        if families or name == "augment":
            changed.setdefault(stage, {})[name] = without_mirroring(families)
    return changed


# Groups of settings of what a GPU may compute.
COMPUTING = ("score", "experts", "distill", "evaluate", "evaluate.teacher")
# The settings that each dial sets.
DIAL_PATHS = {
    "dataset": ("ingest.source",),
    "method": ("distill.method",),
    "ipc": ("distill.ipc",),
    "keep": ("prune.keep",),
    "beta": ("reselect.beta",),
    "seed": tuple(f"{stage}.seed" for stage in ("score", "prune", "experts", "distill", "evaluate")),
    "gpu": tuple(f"{stage}.gpu" for stage in COMPUTING),
    "gpu_revision": tuple(f"{stage}.gpu_revision" for stage in COMPUTING),
}


def _dial_rules(dials: Dials) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule that follows from the dials; one that was given no valid value is at its default, and refused by its own name."""
    method, cell = METHODS[dials.method], _cell(dials)
    name, dataset = method.name, dials.dataset
    for dial, paths in DIAL_PATHS.items():
        yield f"dial {dial}", merge_all(*(nest(path, getattr(dials, dial)) for path in paths))
    yield USUAL.format(dataset), set_values(SOURCES[dataset].usual)
    by_method = method.values(cell)
    by_dataset = merge(_dataset_rules(method, cell), _clip_rules(method, SOURCES[dataset], by_method))
    smallest = _smallest_class(merge(by_method, by_dataset), cell)
    yield "dial ipc (real initialization needs as many samples)", {"prune": {"minimum_per_class": smallest}}
    yield f"method {name} {method.values_for.format(dataset=dataset, ipc=dials.ipc)}", by_method
    yield f"method {name}", method.evaluation(cell)
    yield f"method {name}", {"evaluate": {"protocol": method.protocol}} if method.protocol != DEFAULT_PROTOCOL else {}
    protocol = dials.protocol or method.protocol
    by_protocol = PROTOCOLS.known(protocol).values(dataset, dials.ipc)
    yield f"protocol {protocol}", by_protocol
    if protocol == method.protocol:
        yield f"method {name} on {dataset} at ipc {dials.ipc}", method.exceptions(cell)
    yield f"dataset {dataset}", by_dataset
    yield f"dataset {dataset}", {"ingest": dict(SOURCES[dataset].ingest)} if SOURCES[dataset].ingest else {}
    if SOURCES[dataset].mirroring_changes_meaning:
        unmirrored = _without_flip(merge_all(by_method, method.evaluation(cell), by_protocol, by_dataset))
        yield f"dataset {dataset} (mirroring changes the meaning)", unmirrored


def method_values(dials: Dials) -> dict[str, Any]:
    """What a method implies for data that no rule knows by name."""
    return METHODS[dials.method].values(replace(_cell(dials), dataset=UNKNOWN_DATA, small=False))


def _pruning_rules(dials: Dials) -> Iterator[tuple[str, dict[str, Any]]]:
    """What follows from settings of the static level that are not dials."""
    source = SOURCES[dials.dataset]
    if dials.criterion is not None:
        rules = CRITERIA[dials.criterion].rules(source.small, dials.score_epochs, dials.ipc, source.per_class)
        yield f"criterion {dials.criterion}", rules
    rule = RULES[dials.rule]
    yield f"rule {rule.name} at keep {dials.keep}", rule.values(dials.keep)
    found = _turned(dials)
    if found is not None:
        yield found[0], found[1]
    both = "both" in (dials.drop, None if found is None else found[1]["prune"]["drop"])
    if not dials.per_class and dials.band is None and not both and "floor_per_class" in rule.reads:
        yield "dial ipc (ranking of the whole set)", {"prune": {"floor_per_class": max(dials.ipc, 2)}}


def _turned(dials: Dials) -> tuple[str, dict[str, Any], float | None] | None:
    """What follows from the images per class for the end that is dropped, unless that, a band or the words auto and search were given."""
    if dials.drop is not None or dials.band is not None or dials.keep == AUTO:
        return None
    criterion = CRITERIA[dials.criterion or DEFAULT_CRITERION]
    return turned(criterion, dials.rule, dials.ipc, SOURCES[dials.dataset].per_class)


def _turned_keep(dials: Dials) -> tuple[str, dict[str, Any]]:
    """Origin and value of the dial keep that goes with the end that is dropped, if any does."""
    found = _turned(dials)
    return ("", {}) if found is None or found[2] is None else (found[0], {"keep": found[2]})


# The settings that say how experts learn, where a method or a user asks for more than all samples in every epoch.
CURRICULUM = "experts.curriculum"
# Where a network may be given by its name alone.
NETWORK_PATHS = ("score.network", "distill.network", "evaluate.teacher.network", "experts.curriculum.score.network")


def complete(given: Mapping[str, Any]) -> Completion:
    """Fill what was not given from the recipe and from the rules; report the origin of every value.

    Wrong values are passed through untouched, so that validation names them with their path; rules take them as not given.
    Raises ConfigError if the recipe cannot be read, or is made for another data set than the one given.
    """
    user = _networks_by_name(_renamed(as_plain(given)))
    recipe_name = user.get("recipe")
    recipe = _networks_by_name(_renamed(load_recipe(recipe_name))) if isinstance(recipe_name, str) and recipe_name else {}
    said = merge_all(recipe, user)
    dials = read(Dials, said)
    _refuse_another_dataset(str(recipe_name), recipe, dials)
    method = METHODS[dials.method]
    paper_dials = method.dials(_cell(dials))
    paper_criterion = paper_dials.pop("criterion", None)
    by_paper = {"prune": {"criterion": paper_criterion}} if paper_criterion is not None else {}
    if dials.criterion is None and paper_criterion is not None:
        dials = dials.model_copy(update={"criterion": paper_criterion})
    keep = SOURCES[dials.dataset].keep
    dataset_dials = {} if keep is None else {"keep": keep}
    method_dials = {} if method.adaptive else {"beta": 0.0}
    turned_by, turned_dials = _turned_keep(dials)
    usual, usual_by = usual_arithmetic()
    gpu_dials = {"gpu": usual} if usual_by else {}
    revision, revised_by = usual_revision()
    revision_dials = {"gpu_revision": revision} if revised_by else {}
    found_dials = {"keep": AUTO} if RULES[dials.rule].found else {}
    dials_by_rule = dataset_dials | turned_dials | found_dials | method_dials | paper_dials | gpu_dials | revision_dials
    implied = {name: value for name, value in dials_by_rule.items() if name not in dials.model_fields_set}
    rules = [
        (f"dataset {dials.dataset}", dataset_dials),
        (turned_by, turned_dials),
        (f"rule {dials.rule} (finds the share by itself)", found_dials),
        (f"method {dials.method} (no adaptive level)", method_dials),
        (f"method {dials.method} {method.values_for.format(dataset=dials.dataset, ipc=dials.ipc)}", paper_dials | by_paper),
        (usual_by, gpu_dials),
        (revised_by, revision_dials),
        *_dial_rules(dials.model_copy(update=implied)),
        *_pruning_rules(dials),
    ]
    completion = Completion({}, {})
    for origin, layer in [*rules, (f"{RECIPE}{recipe_name}", recipe), (GIVEN, user)]:
        completion = completion.under(layer, origin)
    return _followed(completion, said)


def _followed(completion: Completion, said: Mapping[str, Any]) -> Completion:
    """The rest that follows from what all rules, the recipe and the user made of it; what the latter two `said` stays."""
    own = {path for path, _ in leaves(said)}
    settled = read(Settled, completion.values)
    for path, value in _depths(completion.values, settled, own):
        completion = completion.under(nest(path, value), USUAL.format(settled.source))
    for path, value, origin in _scored_alike(settled, own):
        completion = completion.under(nest(path, value), origin)
    settled = read(Settled, completion.values)
    if settled.pool is not None and "evaluate.networks" not in own:
        networks = POOLS[settled.pool].networks(settled.network.model_dump())
        completion = completion.under({"evaluate": {"networks": networks}}, f"evaluate.pool {settled.pool}")
        settled = read(Settled, completion.values)
    for path, value, origin in (*_affordable(settled, own), *_convnet_bn(settled, own), *_own_encoder(completion.values, own)):
        completion = completion.under(nest(path, value), origin)
    for path, value, limit in _within_limits(completion.values, settled):
        completion = completion.under(nest(path, value), f"{limit} (no more than these)")
    return completion


def _depths(values: Mapping[str, Any], settled: Settled, own: Set[str]) -> Iterator[tuple[str, Any]]:
    """Path and value of the depth of each network that has one, for the side of a large set's images, where nobody gave it."""
    depth = depth_for(SOURCES[settled.source].usual, settled.side)
    if depth is None:
        return

    def shaped(network: Any) -> bool:
        name = network.get("name", CONVNET) if isinstance(network, Mapping) else ""
        return name in NETWORKS and "depth" in NETWORKS[name].reads and "depth" not in network

    for path in NETWORK_PATHS:
        unused = path.startswith(f"{CURRICULUM}.") and settled.curriculum is None
        if not unused and shaped(get(values, path) or {}):
            yield f"{path}.depth", depth
    networks = get(values, "evaluate.networks") or [{}]
    if settled.pool is None and "evaluate.networks" not in own and any(map(shaped, networks)):
        yield "evaluate.networks", [{**network, "depth": depth} if shaped(network) else network for network in networks]


def _scored_alike(settled: Settled, own: Set[str]) -> Iterator[tuple[str, Any, str]]:
    """Path, value and origin of what the scoring for a curriculum of experts, where there is one, has in common with static scoring.

    So dials reach both, trials of the same settings are trained once, and a study that draws scores anew draws all of them anew.
    """
    if settled.curriculum is None:
        return
    followed = {"seed": settled.score_seed, "gpu": settled.score_gpu, "gpu_revision": settled.score_gpu_revision}
    for name, value in followed.items():
        path = f"{CURRICULUM}.score.{name}"
        if path not in own:
            yield path, value, f"score.{name} (trials are shared)"


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under today's names, before a layer that has these is laid over one that has former ones."""
    return renamed(resolve("bilp.config.pipeline:PipelineConfig"), values)


def _networks_by_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with `mlp` for a network written as `{name: mlp}`, over which other settings of that network may be laid."""
    named = [nest(path, {"name": name}) for path in NETWORK_PATHS if isinstance(name := get(values, path), str)]
    return merge_all(values, *named)


def _refuse_another_dataset(name: str, recipe: Mapping[str, Any], dials: Dials) -> None:
    """Raise ConfigError if a recipe for one data set of a known name meets another one, unless somebody says so."""
    made_for = recipe.get("dataset", dials.dataset)
    any_data = any(isinstance(name, str) and name in SOURCES and SOURCES[name].any_data for name in (made_for, dials.dataset))
    known = "dataset" in dials.model_fields_set and not any_data
    if known and made_for != dials.dataset and dials.recipe_dataset == "same":
        raise ConfigError(
            f"recipe {name} is made for {made_for}, not for {dials.dataset}: leave dataset to the recipe, "
            "or set recipe_dataset to any if its settings are meant for other data"
        )


# A part cannot be longer than its whole: these follow when only the whole is given, and small. Path, default, limit.
LIMITED = (
    ("distill.rounds", 10, "distill.iterations"),
    ("score.init_epochs", 5, "score.epochs"),
    ("score.early_to", 5, "score.epochs"),
    ("experts.curriculum.score.init_epochs", 5, "experts.curriculum.score.epochs"),
)


def _within_limits(values: Mapping[str, Any], settled: Settled) -> Iterator[tuple[str, int, str]]:
    there = {path for path, _ in leaves(values)}
    whole = {
        "distill.iterations": settled.iterations,
        "score.epochs": settled.score_epochs,
        "experts.curriculum.score.epochs": settled.curriculum_epochs,
    }
    for path, default, limit in LIMITED:
        most = whole[limit]
        if path not in there and most is not None and most < default:
            yield path, most, limit


# Adaptive pruning may add this share to a run's time, where what measuring a sample costs is known.
AFFORDABLE = 0.045
# Fewer say nothing about a class's distribution.
FEWEST_CANDIDATES = 16
# Where a method measures every candidate, a class is taken to have as many as those of CIFAR-10.
SHORT_POOL = 5000


def _affordable(settled: Settled, own: Set[str]) -> Iterator[tuple[str, int, str]]:
    """Fewer candidates for runs so short that measuring the usual number in every round would dominate them.

    Rounds times candidates times their cost is held at a share of image steps times batch, or of image steps where their cost is told in
    these; above that nothing changes.
    """
    path = "reselect.candidates_per_class"
    method, iterations = METHODS[settled.method], settled.iterations
    by_step = method.measuring_steps is not None
    cost, batch = (method.measuring_steps, 1) if by_step else (method.measuring_cost, settled.batch_real)
    if not own.isdisjoint((path, "reselect")) or cost is None or iterations is None:
        return
    steps = iterations * (1 if method.one_step else settled.outer_loops)
    most = max(FEWEST_CANDIDATES, round(AFFORDABLE * steps * batch / (cost * min(settled.rounds, iterations))))
    if most < (settled.candidates or SHORT_POOL):
        yield path, most, f"distill.iterations ({'measuring takes a share of them' if by_step else 'a short run measures fewer'})"


def _own_encoder(values: Mapping[str, Any], own: Set[str]) -> Iterator[tuple[str, Any, str]]:
    """Path, value and origin of the encoder of linear probes, where images are distilled under one that the user supplies."""
    linear = get(values, "distill.linear") or {}
    given = any(path.startswith("evaluate.encoder") for path in own)
    if not linear.get("encoder") or given or get(values, "evaluate.linear_probe") is not True:
        return
    for name, path in (("encoder", "name"), ("weights", "weights"), ("side", "side")):
        if name in linear:
            yield f"evaluate.encoder.{path}", linear[name], f"distill.linear.{name} (the encoder that images were made for)"


def _convnet_bn(settled: Settled, own: Set[str]) -> Iterator[tuple[str, Any, str]]:
    """Path, value and origin of what a method's own program does with DC's ConvNetBN, if that is among the networks.

    Not where somebody gave augment_each (`own` are the paths that somebody gave), nor on a data set whose images are smaller
    than the program knows; and the epochs follow where they are those of the program too.
    """
    method = METHODS[settled.method]
    if SOURCES[settled.source].small or settled.protocol != method.protocol:
        return
    if not any(is_convnet_bn(network.model_dump()) for network in settled.networks):
        return
    for name, value in method.convnet_bn.items():
        path = f"evaluate.batch_norm_{name}"
        if path not in own and f"evaluate.{name}" not in own:
            yield path, value, f"method {method.name} (its ConvNet with batch norm)"
