"""From a few dials to every value: what dataset, method and ipc imply, and where each value came from.

Layers, later ones win: the models' own defaults < rules derived from the dials < the recipe < what was given.
Rules state facts of the field (published hyper-parameters, see the comments) as plain nested dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from bilp.config.augmentations import ALL_FAMILIES, without_mirroring
from bilp.config.criteria import Criterion, dropped_end, measure_of
from bilp.config.dials import Dials, Settled, read
from bilp.config.methods.cafe import alignment_rules, trajectory_rules
from bilp.config.methods.idc import decoding_rules, digits_rules, idc_evaluation_rules, smallest_class
from bilp.config.nested import as_plain, get, leaves, merge, merge_all, nest
from bilp.config.network import POOLS
from bilp.config.protocols import METHOD_PROTOCOL, convnet_bn_rules, evaluation_rules, protocol_rules
from bilp.config.recipes import load_recipe
from bilp.config.sources import SOURCES, UNKNOWN_DATA
from bilp.errors import ConfigError

AUGMENTED = (("experts", "augment"), ("distill", "augment"), ("evaluate", "augment"), ("evaluate", "augment_always"))

# Methods whose real samples act through experts; bilp.config checks what follows from that.
TRAJECTORIES = ("mtt", "tesla")

# DC, Zhao et al. 2021, outer and inner loops by ipc; the reference program refuses any other ipc.
DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


GIVEN = "given"


@dataclass(frozen=True)
class Completion:
    """Nested values ready for validation, and the origin of each leaf path ('distill.iterations')."""

    values: dict[str, Any]
    origins: dict[str, str]

    def under(self, layer: Mapping[str, Any], origin: str) -> Completion:
        """These values with a layer on top."""
        return Completion(merge(self.values, layer), self.origins | {path: origin for path, _ in leaves(layer)})


@dataclass(frozen=True)
class KnownOrigins:
    """Origins that travel with a configuration without being part of its value: configurations of equal values are equal."""

    by_path: Mapping[str, str] | None = field(default=None, compare=False)


def dc_loops(ipc: int) -> tuple[int, int]:
    """Outer loops and inner epochs of gradient matching for any ipc, linear between the published points."""
    if ipc in DC_LOOPS:
        return DC_LOOPS[ipc]
    known = sorted(DC_LOOPS)
    if ipc > known[-1]:
        return ipc, DC_LOOPS[known[-1]][1]
    low = max(k for k in known if k < ipc)
    high = min(k for k in known if k > ipc)
    if low == 1:  # between 1 and 10 the network must be trained at all, as it is from 10 on
        return ipc, DC_LOOPS[high][1]
    share = (ipc - low) / (high - low)
    return ipc, round(DC_LOOPS[low][1] + share * (DC_LOOPS[high][1] - DC_LOOPS[low][1]))


def _method_rules(dataset: str, method: str, ipc: int, factor: int, side: int) -> dict[str, Any]:
    if method == "dm":  # DM, Zhao & Bilen 2023: real initialization, siamese augmentation, long schedule
        rate = 10.0 if ipc >= 100 else 1.0
        return {"distill": {"iterations": 20000, "learning_rate": rate, "init": "real"}}
    if method in ("dc", "dsa"):
        outer, inner = dc_loops(ipc)
        distill: dict[str, Any] = {
            "iterations": 1000,
            "learning_rate": 0.1,
            "outer_loops": outer,
            "inner_epochs": inner,
            "init": "noise" if method == "dc" else "real",
        }
        if method == "dc":
            distill["augment"] = []
        # A gradient per sample costs several times what its share of an ordinary step does, so samples take turns.
        return {"distill": distill, "reselect": {"candidates_per_class": 256}}
    return decoding_rules(dataset, method, ipc, factor, side)


# Paul et al. 2021: the mean over ten networks at an early epoch, about 20.
EARLY_EPOCH, EARLY_NETWORKS = 20, 10
# Epochs of the papers: Toneva et al. 2019 count over a whole training; Pleiss et al. 2020 average up to the first decay
# of the step size. Our other trained networks (evaluate.full_epochs) see 30.
CRITERION_EPOCHS = {"forgetting": 200, "aum": 150, "herding": 30, "k_center": 30, "monte_carlo": 20}
CRITERION_TRIALS = {"herding": 1, "k_center": 1, "monte_carlo": 100}  # one network gives one order of picking
SHORT_EPOCHS = 20


def criterion_rules(criterion: Criterion, dataset: str, epochs: int | None) -> dict[str, Any]:
    """What a criterion needs recorded and for how long, and the end it drops; `epochs` is what was given for score.epochs."""
    score: dict[str, Any] = {}
    if criterion in ("el2n", "grand"):
        early = min(EARLY_EPOCH, epochs or EARLY_EPOCH)
        score = {"trials": EARLY_NETWORKS, "epochs": EARLY_EPOCH, "early_from": early, "early_to": early}
    if criterion == "grand":
        score["gradient_norm"] = "last_layer"
    if criterion in CRITERION_EPOCHS:
        longest = SHORT_EPOCHS if SOURCES[dataset].small else CRITERION_EPOCHS[criterion]
        score["epochs"] = min(CRITERION_EPOCHS[criterion], longest)
    if criterion in CRITERION_TRIALS:
        score["trials"] = CRITERION_TRIALS[criterion]
    measure = measure_of(criterion)
    if measure is not None:
        score["measure"] = measure
    return {"prune": {"drop": dropped_end(criterion)}, "score": score}


def _dataset_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if SOURCES[dataset].small:  # such as 1,438 images of 8x8: a narrow network and short schedules teach them
        network = {"width": 64}
        distill: dict[str, Any] = {"network": network, "batch_real": 128, "iterations": 200 if method == "dm" else 100}
        if method in TRAJECTORIES or method == "cafe":
            del distill["iterations"]
        elif method in ("dc", "dsa"):
            distill["inner_epochs"] = min(dc_loops(ipc)[1], 10)
        elif method != "dm":
            distill |= digits_rules(method, ipc)
        rules = {
            "score": {"network": network, "batch_size": 64},
            "distill": distill,
            "evaluate": {"networks": [network], "seeds": 5, "epochs": 300, "full_epochs": 20, "teacher": {"network": network}},
        }
    return rules


def _without_flip(values: dict[str, Any]) -> dict[str, Any]:
    """The augmentation lists in `values` that the rules set, less flip."""
    changed: dict[str, Any] = {}
    for stage, name in AUGMENTED:
        families = values.get(stage, {}).get(name, [] if name == "augment_always" else ALL_FAMILIES)
        if families or name == "augment":
            changed.setdefault(stage, {})[name] = without_mirroring(families)
    return changed


# The settings that each dial sets.
DIAL_PATHS = {
    "dataset": ("ingest.source",),
    "method": ("distill.method",),
    "ipc": ("distill.ipc",),
    "keep": ("prune.keep",),
    "beta": ("reselect.beta",),
    "seed": tuple(f"{stage}.seed" for stage in ("score", "prune", "experts", "distill", "evaluate")),
    "gpu": ("score.gpu", "experts.gpu", "distill.gpu", "evaluate.gpu", "evaluate.teacher.gpu"),
}


def _dial_rules(dials: Dials, wrong: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule that follows from the dials; `wrong` are given dials of no valid value, which are handed on to be refused."""
    dataset, method, ipc = dials.dataset, dials.method, dials.ipc
    factor, side = dials.factor or 0, dials.side or 0
    for dial, paths in DIAL_PATHS.items():
        value = wrong.get(dial, getattr(dials, dial))
        yield f"dial {dial}", merge_all(*(nest(path, value) for path in paths))
    by_method = _method_rules(dataset, method, ipc, factor, side)
    smallest = smallest_class(merge_all(by_method, _dataset_rules(dataset, method, ipc)), ipc, factor)
    yield "dial ipc (real initialization needs as many samples)", {"prune": {"minimum_per_class": smallest}}
    yield f"method {method} at ipc {ipc}", by_method
    if method in TRAJECTORIES:
        yield f"method {method} on {dataset} at ipc {ipc}", trajectory_rules(dataset, method, ipc)
    if method == "cafe":
        yield f"method {method} on {dataset}", alignment_rules(dataset)
    yield f"method {method}", evaluation_rules(dataset, method)
    yield f"method {method}", {"evaluate": {"protocol": METHOD_PROTOCOL[method]}} if method in METHOD_PROTOCOL else {}
    protocol = dials.protocol or METHOD_PROTOCOL.get(method, "dc")
    yield f"protocol {protocol}", protocol_rules(protocol, dataset, ipc)
    if METHOD_PROTOCOL.get(method) == protocol == "idc":
        yield f"method {method} on {dataset} at ipc {ipc}", idc_evaluation_rules(dataset, ipc, factor)
    yield f"dataset {dataset}", _dataset_rules(dataset, method, ipc)
    if SOURCES[dataset].mirroring_changes_meaning:
        alignment = alignment_rules(dataset) if method == "cafe" else {}
        rules = (
            alignment,
            evaluation_rules(dataset, method),
            protocol_rules(protocol, dataset, ipc),
            _dataset_rules(dataset, method, ipc),
        )
        yield f"dataset {dataset} (mirroring changes the meaning)", _without_flip(merge_all(by_method, *rules))


def method_values(dials: Dials) -> dict[str, Any]:
    """What a method implies for data that no rule knows by name."""
    dataset, method, ipc = UNKNOWN_DATA, dials.method, dials.ipc
    rules = [_method_rules(dataset, method, ipc, dials.factor or 0, dials.side or 0)]
    if method in TRAJECTORIES:
        rules.append(trajectory_rules(dataset, method, ipc))
    if method == "cafe":
        rules.append(alignment_rules(dataset))
    return merge_all(*rules)


def _pruning_rules(dials: Dials) -> Iterator[tuple[str, dict[str, Any]]]:
    """What follows from settings of the static level that are not dials."""
    if dials.criterion is not None:
        yield f"criterion {dials.criterion}", criterion_rules(dials.criterion, dials.dataset, dials.score_epochs)
    if not dials.per_class and dials.band is None:
        yield "dial ipc (ranking of the whole set)", {"prune": {"floor_per_class": max(dials.ipc, 2)}}


# Real samples act through experts alone, so there is no causal effect to reselect by.
METHOD_DIALS: dict[str, dict[str, Any]] = {method: {"beta": 0.0} for method in TRAJECTORIES}
# Where a network may be given by its name alone.
NETWORK_PATHS = ("score.network", "distill.network", "evaluate.teacher.network")


def complete(given: Mapping[str, Any]) -> Completion:
    """Fill what was not given from the recipe and from the rules; report the origin of every value.

    Wrong values are passed through untouched, so that validation names them with their path; rules take them as not given.
    Raises ConfigError if the recipe cannot be read, or is made for another data set than the one given.
    """
    user = _networks_by_name(as_plain(given))
    recipe_name = user.get("recipe")
    recipe = _networks_by_name(load_recipe(recipe_name)) if isinstance(recipe_name, str) and recipe_name else {}
    said = merge_all(recipe, user)
    dials = read(Dials, said)
    _refuse_another_dataset(str(recipe_name), recipe, dials)
    wrong = {name: value for name, value in said.items() if name in DIAL_PATHS and name not in dials.model_fields_set}
    keep, method_dials = SOURCES[dials.dataset].keep, METHOD_DIALS.get(dials.method, {})
    dataset_dials = {} if keep is None else {"keep": keep}
    implied = {name: value for name, value in (dataset_dials | method_dials).items() if name not in dials.model_fields_set}
    rules = [
        (f"dataset {dials.dataset}", dataset_dials),
        (f"method {dials.method} (no adaptive level)", method_dials),
        *_dial_rules(dials.model_copy(update=implied), wrong),
        *_pruning_rules(dials),
    ]
    completion = Completion({}, {})
    for origin, layer in [*rules, (f"recipe {recipe_name}", recipe), (GIVEN, user)]:
        completion = completion.under(layer, origin)
    return _followed(completion, said)


def _followed(completion: Completion, said: Mapping[str, Any]) -> Completion:
    """The rest that follows from what all rules, the recipe and the user made of it; what the latter two `said` stays."""
    own = {path for path, _ in leaves(said)}
    settled = read(Settled, completion.values)
    if settled.pool is not None and "evaluate.networks" not in own:
        networks = POOLS[settled.pool].networks(settled.network.model_dump())
        completion = completion.under({"evaluate": {"networks": networks}}, f"evaluate.pool {settled.pool}")
        settled = read(Settled, completion.values)
    for path, value, origin in (*_affordable(settled, own), *convnet_bn_rules(settled, own)):
        completion = completion.under(nest(path, value), origin)
    for path, value, limit in _within_limits(completion.values, settled):
        completion = completion.under(nest(path, value), f"{limit} (no more than these)")
    return completion


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
)


def _within_limits(values: Mapping[str, Any], settled: Settled) -> Iterator[tuple[str, int, str]]:
    there = {path for path, _ in leaves(values)}
    whole = {"distill.iterations": settled.iterations, "score.epochs": settled.score_epochs}
    for path, default, limit in LIMITED:
        most = whole[limit]
        if path not in there and most is not None and most < default:
            yield path, most, limit


# Adaptive pruning may add this share to a run's time. Measuring a sample costs so many times what the sample costs in an
# image step, by method (measured on a CPU, one image per class, rounded up).
AFFORDABLE = 0.045
MEASURING = {"dm": 3.2, "dc": 4.1, "dsa": 4.1}
# Fewer say nothing about a class's distribution.
FEWEST_CANDIDATES = 16
# Where a method measures every candidate, a class is taken to have as many as those of CIFAR-10.
SHORT_POOL = 5000


def _affordable(settled: Settled, own: Set[str]) -> Iterator[tuple[str, int, str]]:
    """Fewer candidates for runs so short that measuring the usual number in every round would dominate them.

    Rounds times candidates times their cost is held at a share of image steps times batch; above that nothing changes.
    """
    path = "reselect.candidates_per_class"
    method, iterations = settled.method, settled.iterations
    if not own.isdisjoint((path, "reselect")) or method not in MEASURING or iterations is None:
        return
    steps = iterations * (1 if method == "dm" else settled.outer_loops)
    cost = MEASURING[method] * min(settled.rounds, iterations)
    most = max(FEWEST_CANDIDATES, round(AFFORDABLE * steps * settled.batch_real / cost))
    if most < (settled.candidates or SHORT_POOL):
        yield path, most, "distill.iterations (a short run measures fewer)"
