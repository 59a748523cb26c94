"""From a few dials to every value: what dataset, method and ipc imply, and where each value came from.

Layers, later ones win: the models' own defaults < rules derived from the dials < the recipe < what was given.
Rules state facts of the field (published hyper-parameters, see the comments) as plain nested dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bilp.criterion_facts import CRITERION_FACTS, dropped_end, measure_of
from bilp.decode_defaults import decoding_rules, digits_rules, idc_evaluation_rules, smallest_class
from bilp.evaluate_rules import ALL_FAMILIES, METHOD_PROTOCOL, convnet_bn_rules, evaluation_rules, protocol_rules
from bilp.method_rules import alignment_rules, trajectory_rules
from bilp.nested import as_mapping, as_plain, leaves, merge, merge_all, parsed, whole_number
from bilp.pools import POOLS, pool_networks
from bilp.recipe_files import load_recipe

# Digits change their meaning when mirrored, so flip is left out (Zhao & Bilen 2021, section 4).
MIRROR_CHANGES_MEANING = ("digits", "mnist", "svhn")
AUGMENTED = (("experts", "augment"), ("distill", "augment"), ("evaluate", "augment"), ("evaluate", "augment_always"))

# Methods whose real samples act through experts; bilp.config checks what follows from that.
TRAJECTORIES = ("mtt", "tesla")

# DC, Zhao et al. 2021, outer and inner loops by ipc; the reference program refuses any other ipc.
DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


@dataclass(frozen=True)
class Completion:
    """Nested values ready for validation, and the origin of each leaf path ('distill.iterations')."""

    values: dict[str, Any]
    origins: dict[str, str]


def dc_loops(ipc: int) -> tuple[int, int]:
    """Outer loops and inner epochs of gradient matching for any ipc, linear between the published points."""
    ipc = max(ipc, 1)  # a smaller one is refused later, by its own name
    if ipc in DC_LOOPS:
        return DC_LOOPS[ipc]
    known = sorted(DC_LOOPS)
    if ipc < known[0]:
        return DC_LOOPS[known[0]]  # refused by validation, in better words
    if ipc > known[-1]:
        return ipc, DC_LOOPS[known[-1]][1]
    low = max(k for k in known if k < ipc)
    high = min(k for k in known if k > ipc)
    if low == 1:  # between 1 and 10 the network must be trained at all, as it is from 10 on
        return ipc, DC_LOOPS[high][1]
    share = (ipc - low) / (high - low)
    return ipc, round(DC_LOOPS[low][1] + share * (DC_LOOPS[high][1] - DC_LOOPS[low][1]))


def _method_rules(dataset: str, method: str, ipc: int, factor: int, side: int) -> dict[str, Any]:
    if method == "dm":  # DM, Zhao & Bilen 2023: real initialisation, siamese augmentation, long schedule
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


def _criterion_rules(criterion: str, dataset: str, epochs: object) -> dict[str, Any]:
    """What a criterion needs recorded and for how long, and the end it drops; `epochs` is what was given for score.epochs."""
    if criterion not in CRITERION_FACTS:
        return {}
    score: dict[str, Any] = {}
    if criterion in ("el2n", "grand"):
        early = min(EARLY_EPOCH, epochs) if isinstance(epochs, int) and epochs > 0 else EARLY_EPOCH
        score = {"trials": EARLY_NETWORKS, "epochs": EARLY_EPOCH, "early_from": early, "early_to": early}
    if criterion == "grand":
        score["gradient_norm"] = "last_layer"
    if criterion in CRITERION_EPOCHS:
        longest = SHORT_EPOCHS if dataset == "digits" else CRITERION_EPOCHS[criterion]
        score["epochs"] = min(CRITERION_EPOCHS[criterion], longest)
    if criterion in CRITERION_TRIALS:
        score["trials"] = CRITERION_TRIALS[criterion]
    measure = measure_of(criterion)
    if measure is not None:
        score["measure"] = measure
    return {"prune": {"drop": dropped_end(criterion)}, "score": score}


def _dataset_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if dataset == "digits":  # 1,438 images of 8x8: a narrow network and short schedules teach it
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
            changed.setdefault(stage, {})[name] = [family for family in families if family != "flip"]
    return changed


def _dial_rules(dials: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    dataset, method, ipc = dials["dataset"], dials["method"], dials["ipc"]
    seed = dials["seed"]
    yield "dial dataset", {"ingest": {"source": dataset}}
    yield "dial method", {"distill": {"method": method}}
    yield "dial ipc", {"distill": {"ipc": ipc}}
    yield "dial keep", {"prune": {"keep": dials["keep"]}}
    yield "dial beta", {"reselect": {"beta": dials["beta"]}}
    yield "dial seed", {name: {"seed": seed} for name in ("score", "prune", "experts", "distill", "evaluate")}
    gpu = {"gpu": dials["gpu"]}
    yield "dial gpu", {"score": gpu, "experts": gpu, "distill": gpu, "evaluate": gpu | {"teacher": gpu}}
    by_method = _method_rules(dataset, method, ipc, dials["factor"], dials["side"])
    smallest = smallest_class(merge_all(by_method, _dataset_rules(dataset, method, ipc)), ipc, dials["factor"])
    yield "dial ipc (real initialisation needs as many samples)", {"prune": {"minimum_per_class": smallest}}
    yield f"method {method} at ipc {ipc}", by_method
    if method in TRAJECTORIES:
        yield f"method {method} on {dataset} at ipc {ipc}", trajectory_rules(dataset, method, ipc)
    if method == "cafe":
        yield f"method {method} on {dataset}", alignment_rules(dataset)
    yield f"method {method}", evaluation_rules(dataset, method)
    yield f"method {method}", {"evaluate": {"protocol": METHOD_PROTOCOL[method]}} if method in METHOD_PROTOCOL else {}
    protocol = dials["protocol"] or METHOD_PROTOCOL.get(method, "dc")
    yield f"protocol {protocol}", protocol_rules(protocol, dataset, ipc)
    if METHOD_PROTOCOL.get(method) == protocol == "idc":
        yield f"method {method} on {dataset} at ipc {ipc}", idc_evaluation_rules(dataset, ipc, dials["factor"])
    yield f"dataset {dataset}", _dataset_rules(dataset, method, ipc)
    if dataset in MIRROR_CHANGES_MEANING:
        alignment = alignment_rules(dataset) if method == "cafe" else {}
        rules = (
            alignment,
            evaluation_rules(dataset, method),
            protocol_rules(protocol, dataset, ipc),
            _dataset_rules(dataset, method, ipc),
        )
        yield f"dataset {dataset} (mirroring changes the meaning)", _without_flip(merge_all(by_method, *rules))


def _pruning_rules(merged: Mapping[str, Any], dials: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What follows from settings of the static level that are not dials."""
    prune, score = as_mapping(merged.get("prune")), as_mapping(merged.get("score"))
    criterion, epochs = prune.get("criterion"), score.get("epochs")
    if isinstance(criterion, str):
        yield (
            f"criterion {criterion}",
            _criterion_rules(criterion, dials["dataset"], parsed(epochs) if isinstance(epochs, str) else epochs),
        )
    if str(prune.get("per_class")).lower() in ("false", "0", "no") and prune.get("band") is None:
        yield "dial ipc (ranking of the whole set)", {"prune": {"floor_per_class": max(dials["ipc"], 2)}}


DIAL_DEFAULTS: dict[str, Any] = {"dataset": "digits", "method": "dm", "ipc": 1, "keep": 0.5, "beta": 0.1, "seed": 0, "gpu": "float32"}
# Few and similar images have less to spare; the paper finds little to prune in low-diversity data such as MNIST.
DATASET_DIALS: dict[str, dict[str, Any]] = {"digits": {"keep": 0.8}}
# Real samples act through experts alone, so there is no causal effect to reselect by.
METHOD_DIALS: dict[str, dict[str, Any]] = {method: {"beta": 0.0} for method in TRAJECTORIES}
DIAL_TYPES: dict[str, type | tuple[type, ...]] = {
    "dataset": str,
    "method": str,
    "ipc": int,
    "keep": (int, float),
    "beta": (int, float),
    "seed": int,
    "gpu": str,
}


def complete(given: Mapping[str, Any]) -> Completion:
    """Fill what was not given from the recipe and from the rules; report the origin of every value.

    Values of a wrong type are passed through untouched, so that validation names them with their path.
    Raises ConfigError if the recipe cannot be read.
    """
    user = as_plain(given)
    recipe_name = user.get("recipe")
    recipe = load_recipe(recipe_name) if isinstance(recipe_name, str) and recipe_name else {}
    merged = merge_all(recipe, user)
    dataset_dials = DATASET_DIALS.get(str(merged.get("dataset", DIAL_DEFAULTS["dataset"])), {})
    method_dials = METHOD_DIALS.get(str(merged.get("method", DIAL_DEFAULTS["method"])), {})
    dials = DIAL_DEFAULTS | dataset_dials | method_dials
    for name, kind in DIAL_TYPES.items():
        value = merged.get(name)
        if isinstance(value, str) and kind is not str:  # the command line hands over text
            value = parsed(value)
        if isinstance(value, kind) and not isinstance(value, bool):
            dials[name] = value
    nested = dict(leaves(merged))
    protocol, dials["factor"] = nested.get("evaluate.protocol"), whole_number(nested, "distill.decode.factor")
    dials["side"] = whole_number(nested, "ingest.resolution")
    dials["protocol"] = protocol if isinstance(protocol, str) else None
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    dataset_rule = (f"dataset {dials['dataset']}", dataset_dials)
    method_rule = (f"method {dials['method']} (no adaptive level)", method_dials)
    rules = [dataset_rule, method_rule, *_dial_rules(dials), *_pruning_rules(merged, dials)]
    for origin, layer in [*rules, (f"recipe {recipe_name}", recipe), ("given", user)]:
        for path, _ in leaves(layer):
            origins[path] = origin
        values = merge(values, layer)
    pool = as_mapping(values.get("evaluate")).get("pool")
    if pool in POOLS and origins.get("evaluate.networks") not in ("given", f"recipe {recipe_name}"):
        own = as_mapping(as_mapping(values.get("distill")).get("network"))
        values = merge(values, {"evaluate": {"networks": pool_networks(pool, own)}})
        origins["evaluate.networks"] = f"evaluate.pool {pool}"
    for path, value, why in (*_affordable(values, origins), *convnet_bn_rules(values, origins)):
        stage, name = path.split(".")
        values = merge(values, {stage: {name: value}})
        origins[path] = why
    for path, value, limit in _within_limits(values):
        stage, name = path.split(".")
        values = merge(values, {stage: {name: value}})
        origins[path] = f"{limit} (no more than these)"
    return Completion(values, origins)


# A part cannot be longer than its whole: these follow when only the whole is given, and small. Path, default, limit.
LIMITED = (
    ("distill.rounds", 10, "distill.iterations"),
    ("score.init_epochs", 5, "score.epochs"),
    ("score.early_to", 5, "score.epochs"),
)


def _within_limits(values: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    flat = dict(leaves(values))
    for path, default, limit in LIMITED:
        most = flat.get(limit)
        if isinstance(most, str):
            most = parsed(most)
        if path not in flat and isinstance(most, int) and 1 <= most < default:
            yield path, most, limit


# Adaptive pruning may add this share to a run's time. Measuring a sample costs so many times what the sample costs in an
# image step, by method (measured on a CPU, one image per class, rounded up).
AFFORDABLE = 0.045
MEASURING = {"dm": 3.2, "dc": 4.1, "dsa": 4.1}
# Fewer say nothing about a class's distribution.
FEWEST_CANDIDATES = 16


def _affordable(values: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[tuple[str, int, str]]:
    """Fewer candidates for runs so short that measuring the usual number in every round would dominate them.

    Rounds times candidates times their cost is held at a share of image steps times batch; above that nothing changes.
    """
    path = "reselect.candidates_per_class"
    if origins.get(path, "").startswith(("recipe", "given")) or not isinstance(values.get("reselect", {}), Mapping):
        return
    flat = {"distill.batch_real": 256, "distill.rounds": 10, "distill.outer_loops": 1, **dict(leaves(values))}
    method = str(flat.get("distill.method"))
    iterations, batch, rounds, outer = (
        whole_number(flat, f"distill.{name}") for name in ("iterations", "batch_real", "rounds", "outer_loops")
    )
    if method not in MEASURING or min(iterations, batch, rounds, outer) < 1:
        return
    steps = iterations * (1 if method == "dm" else outer)
    most = max(FEWEST_CANDIDATES, round(AFFORDABLE * steps * batch / (MEASURING[method] * min(rounds, iterations))))
    if most < (whole_number(flat, path) or SHORT_POOL):
        yield path, most, "distill.iterations (a short run measures fewer)"


# Where a method measures every candidate, a class is taken to have as many as those of CIFAR-10.
SHORT_POOL = 5000
