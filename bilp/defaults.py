"""From a few dials to every value: what dataset, method and ipc imply, and where each value came from.

Layers, later ones win: the models' own defaults < rules derived from the dials < the recipe < what was given.
Rules state facts of the field (published hyper-parameters, see the comments) as plain nested dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from bilp.errors import ConfigError
from bilp.method_rules import alignment_rules, trajectory_rules

RECIPES = Path(__file__).resolve().parent.parent / "recipes"

# Digits change their meaning when mirrored, so flip is left out (Zhao & Bilen 2021, section 4).
MIRROR_CHANGES_MEANING = ("digits", "mnist", "svhn")
AUGMENTED = ("experts", "distill", "evaluate")

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
    if ipc > known[-1]:
        return ipc, DC_LOOPS[known[-1]][1]
    low = max(k for k in known if k < ipc)
    high = min(k for k in known if k > ipc)
    if low == 1:  # between 1 and 10 the network must be trained at all, as it is from 10 on
        return ipc, DC_LOOPS[high][1]
    share = (ipc - low) / (high - low)
    return ipc, round(DC_LOOPS[low][1] + share * (DC_LOOPS[high][1] - DC_LOOPS[low][1]))


def _method_rules(method: str, ipc: int) -> dict[str, Any]:
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
    return {}


def _evaluation_rules(method: str) -> dict[str, Any]:
    """Protocol of the DC family: 300 epochs without augmentation (CAFE: 600), 1000 with it."""
    if method in ("dc", "cafe"):
        return {"evaluate": {"epochs": 300 if method == "dc" else 600, "augment": []}}
    return {"evaluate": {"epochs": 1000, "augment": ["color", "crop", "cutout", "flip", "scale", "rotate"]}}


def _dataset_rules(dataset: str, method: str, ipc: int) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if dataset == "digits":  # 1,438 images of 8x8: a narrow network and short schedules teach it
        network = {"width": 64}
        distill: dict[str, Any] = {"network": network, "batch_real": 128, "iterations": 200 if method == "dm" else 100}
        if method in TRAJECTORIES or method == "cafe":
            del distill["iterations"]
        elif method in ("dc", "dsa"):
            distill["inner_epochs"] = min(dc_loops(ipc)[1], 10)
        rules = {
            "score": {"network": network, "batch_size": 64},
            "distill": distill,
            "evaluate": {"networks": [network], "seeds": 5, "epochs": 300, "full_epochs": 20},
        }
    return rules


def _without_flip(values: dict[str, Any]) -> None:
    for stage in AUGMENTED:
        families = values.get(stage, {}).get("augment", ["color", "crop", "cutout", "flip", "scale", "rotate"])
        values.setdefault(stage, {})["augment"] = [name for name in families if name != "flip"]


def _dial_rules(dials: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    dataset, method, ipc = dials["dataset"], dials["method"], dials["ipc"]
    seed = dials["seed"]
    yield "dial dataset", {"ingest": {"source": dataset}}
    yield "dial method", {"distill": {"method": method}}
    yield "dial ipc", {"distill": {"ipc": ipc}}
    yield "dial keep", {"prune": {"keep": dials["keep"]}}
    yield "dial beta", {"reselect": {"beta": dials["beta"]}}
    yield "dial seed", {name: {"seed": seed} for name in ("score", "prune", "experts", "distill", "evaluate")}
    yield "dial ipc (real initialisation needs as many samples)", {"prune": {"minimum_per_class": max(ipc, 2)}}
    yield f"method {method} at ipc {ipc}", _method_rules(method, ipc)
    if method in TRAJECTORIES:
        yield f"method {method} on {dataset} at ipc {ipc}", trajectory_rules(dataset, method, ipc)
    if method == "cafe":
        yield f"method {method} on {dataset}", alignment_rules(dataset)
    yield f"method {method}", _evaluation_rules(method)
    yield f"dataset {dataset}", _dataset_rules(dataset, method, ipc)
    if dataset in MIRROR_CHANGES_MEANING:
        alignment = alignment_rules(dataset) if method == "cafe" else {}
        layers = (_method_rules(method, ipc), alignment, _evaluation_rules(method), _dataset_rules(dataset, method, ipc))
        flipless: dict[str, Any] = _merge_all(*layers)
        _without_flip(flipless)
        changed = {stage: {"augment": flipless[stage]["augment"]} for stage in AUGMENTED}
        yield f"dataset {dataset} (mirroring changes the meaning)", changed


DIAL_DEFAULTS: dict[str, Any] = {"dataset": "digits", "method": "dm", "ipc": 1, "keep": 0.5, "beta": 0.1, "seed": 0}
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
}


def complete(given: Mapping[str, Any]) -> Completion:
    """Fill what was not given from the recipe and from the rules; report the origin of every value.

    Values of a wrong type are passed through untouched, so that validation names them with their path.
    Raises ConfigError if the recipe cannot be read.
    """
    user = _as_plain(given)
    recipe_name = user.get("recipe")
    recipe = load_recipe(recipe_name) if isinstance(recipe_name, str) and recipe_name else {}
    merged = _merge_all(recipe, user)
    dataset_dials = DATASET_DIALS.get(str(merged.get("dataset", DIAL_DEFAULTS["dataset"])), {})
    method_dials = METHOD_DIALS.get(str(merged.get("method", DIAL_DEFAULTS["method"])), {})
    dials = DIAL_DEFAULTS | dataset_dials | method_dials
    for name, kind in DIAL_TYPES.items():
        value = merged.get(name)
        if isinstance(value, str) and kind is not str:  # the command line hands over text
            value = _number(value)
        if isinstance(value, kind) and not isinstance(value, bool):
            dials[name] = value
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    dataset_rule = (f"dataset {dials['dataset']}", dataset_dials)
    method_rule = (f"method {dials['method']} (no adaptive level)", method_dials)
    for origin, layer in [dataset_rule, method_rule, *_dial_rules(dials), (f"recipe {recipe_name}", recipe), ("given", user)]:
        for path, _ in leaves(layer):
            origins[path] = origin
        values = _merge(values, layer)
    for path, value, limit in _within_limits(values):
        stage, name = path.split(".")
        values = _merge(values, {stage: {name: value}})
        origins[path] = f"{limit} (no more than these)"
    return Completion(values, origins)


# A part cannot be longer than its whole: these follow when only the whole is given, and small. Path, default, limit.
LIMITED = (
    ("distill.rounds", 10, "distill.iterations"),
    ("score.init_epochs", 5, "score.epochs"),
)


def _within_limits(values: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    flat = dict(leaves(values))
    for path, default, limit in LIMITED:
        most = flat.get(limit)
        if isinstance(most, str):
            most = _number(most)
        if path not in flat and isinstance(most, int) and 1 <= most < default:
            yield path, most, limit


def recipe_names() -> list[str]:
    """The recipes that come with the program, as `recipe` takes them."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def load_recipe(name: str) -> dict[str, Any]:
    """The nested values of a recipe: a name in recipes/ or the path of a YAML file."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(recipe_names()) or "none"
        raise ConfigError(f"recipe {name!r}: no file {path}; known recipes: {known}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"recipe {path} must hold key: value pairs, not {type(values).__name__}")
    return values


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a nested mapping with its dotted path; lists are leaves."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def _as_plain(value: Any) -> Any:
    """Models become dictionaries of what was set on them, so that the rest can still be derived."""
    if isinstance(value, BaseModel):
        return _as_plain(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        return {key: _as_plain(item) for key, item in value.items()}
    return value


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        result[key] = _merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def _merge_all(*layers: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for layer in layers:
        result = _merge(result, layer)
    return result
