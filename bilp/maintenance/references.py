"""Who refers to whom in a storage: what something was made from, and what belongs to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from bilp.artifacts.artifact import content_key
from bilp.artifacts.run_layout import INPUTS, SYNTHETIC
from bilp.errors import ConfigError
from bilp.maintenance.inventory import Inventory, Item, place_in
from bilp.results.places import RUN, TRAININGS

References = Mapping[str, frozenset[str]]
"""For each place those that it needs."""

# As in `bilp.evaluate.results.MANY` and `training_cache.VERSION`, which need PyTorch; a test compares them.
NO_PART_OF_A_TRAINING = ("networks", "seeds", "networks_at_once", "by_network")
TRAININGS_VERSION = 1
NO_SUBJECT = ("arm", "experiment", "dataset", "networks")


def references(inventory: Inventory) -> References:
    """What every item of a storage needs to be used and extended: its recorded parents, and what these rules add.

    A run has its rounds and its synthetic set, and what lies in a run has the run. A trial has its predictions, and the networks that
    were kept of it. A data set has the records of its sources. A plan to ingest in parts has those that are decoded. An evaluation has
    its teacher and its finished trainings. A run has networks trained beforehand on its samples, if it asks for any.
    """
    found: dict[str, set[str]] = {place: set() for place in inventory.items}
    teachers = [item for item in inventory.items.values() if item.kind == "teacher"]
    beforehand = [item for item in inventory.items.values() if item.kind == "pretrained_network"]
    for place, item in inventory.items.items():
        found[place] |= _recorded(inventory, item)
        run = run_of(place)
        if run is not None and run in found:
            found[run].add(place)
            found[place].add(run)
        if item.kind == "source":
            for dataset in _recorded(inventory, item):
                found[dataset].add(place)
        if item.kind == "ingest_part" and (plan := plan_of(place)) in found:
            found[plan].add(place)
        if item.kind == "score_trial":  # they came out of one training
            found[place] |= {place.replace("/trials/", "/predictions/")} & inventory.items.keys()
        if item.kind == "trial_networks":
            trial = place.replace("/networks/", "/trials/")
            if trial in found:
                found[trial].add(place)
        if item.kind == "evaluation":
            found[place] |= {f"trainings/{key}" for key in training_keys(item)} & inventory.items.keys()
            found[place] |= {teacher.place for teacher in teachers if _taught_by(item, teacher)}
        if item.kind == RUN and _asks_for_networks(item):
            samples = {place_in(inventory, item.content.get(role)) for role in ("dataset", "selection") if item.content}
            found[place] |= {each.place for each in beforehand if _recorded(inventory, each) == samples - {None}}
    return {place: frozenset(needed - {place}) for place, needed in found.items()}


def run_of(place: str) -> str | None:
    """The run that a place lies in or is; None if it is elsewhere."""
    names = place.split("/")
    return "/".join(names[:2]) if names[0] == "runs" and len(names) > 1 else None


def plan_of(place: str) -> str | None:
    """The plan of the ingestion that a decoded part at this place belongs to; None if it is no part."""
    names = place.split("/")
    return "/".join((*names[:2], "plans", names[3])) if len(names) == 5 and names[0] == "datasets" and names[2] == "parts" else None


def part_place(plan: str, number: int) -> str:
    """Where the part of a number lies that belongs to the plan at this place."""
    home, _, key = plan.rsplit("/", 2)
    return f"{home}/parts/{key}/{number:05d}"


def closure(of: References, roots: Iterable[str]) -> set[str]:
    """The roots and everything that they need, however far."""
    found: set[str] = set()
    waiting = [root for root in roots if root in of]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += of[place]
    return found


def dependents(of: References) -> dict[str, set[str]]:
    """For each place those that need it directly."""
    found: dict[str, set[str]] = defaultdict(set)
    for place, needed in of.items():
        for each in needed:
            found[each].add(place)
    return found


def depending_on(of: References, place: str) -> set[str]:
    """What would lack something if `place` and what lies in it were gone: everything else that needs it, however far."""
    own = {each for each in of if each == place or each.startswith(f"{place}/")}
    by = dependents(of)
    found: set[str] = set()
    waiting = [each for inner in own for each in by[inner] - own]
    while waiting:
        each = waiting.pop()
        if each not in found and each not in own:
            found.add(each)
            waiting += by[each]
    return found


def training_keys(evaluation: Item) -> set[str]:
    """Keys of the folders that hold the trainings of an evaluation, as `bilp.evaluate.results.Publication.parts_of` makes them."""
    settings, facts = dict(evaluation.recorded("config")), evaluation.recorded("facts")
    own = settings.get("by_network") or {}
    subject = {name: value for name, value in facts.items() if name not in NO_SUBJECT}
    try:
        return {
            content_key(
                "train",
                TRAININGS_VERSION,
                dataset=facts.get("dataset"),
                subject=subject,
                protocol=_of_one({**settings, **own.get(network, {})}),
            )
            for network in facts.get("networks", ())
        }
    except (ConfigError, TypeError, AttributeError):  # a manifest that somebody wrote by hand
        return set()


def _of_one(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in NO_PART_OF_A_TRAINING}


def _recorded(inventory: Inventory, item: Item) -> set[str]:
    """Places that the manifest or the record names."""
    content = item.content or {}
    named = [content.get(role) for role in INPUTS] if item.kind == RUN else item.recorded("parents").values()
    found = {place_in(inventory, each) for each in named}
    return {place for place in found if place is not None}


def _taught_by(evaluation: Item, teacher: Item) -> bool:
    """Whether labels of an evaluation, or its choice of images, are a teacher's."""
    facts, settings = evaluation.recorded("facts"), evaluation.recorded("config")
    if facts.get("teacher") == teacher.place.rpartition("/")[2]:
        return True
    asked, made, learned = settings.get("teacher"), teacher.recorded("config"), teacher.recorded("facts")
    if not isinstance(asked, dict) or facts.get("dataset") != learned.get("dataset"):
        return False
    if learned.get("selection") is not None:  # of a run: evaluations ask one that learned all samples
        return False
    if asked.get("checksum") is not None:
        return bool(asked["checksum"] == made.get("supplied"))
    asked = {name: value for name, value in asked.items() if name != "revision"}
    return asked == made.get("teacher") and settings.get("seed") == made.get("seed")


def _asks_for_networks(run: Item) -> bool:
    groups = [group.get("pretrained") for group in run.recorded("distill").values() if isinstance(group, dict)]
    return any(isinstance(pretrained, dict) and pretrained.get("networks") for pretrained in groups)


def is_finished(inventory: Inventory, run: Item) -> bool:
    """Whether a run has its synthetic set."""
    synthetic = inventory.items.get(f"{run.place}/{SYNTHETIC}")
    return synthetic is not None and synthetic.whole


def parts_of_nothing(inventory: Inventory, of: References) -> set[str]:
    """Unfinished work: runs without a synthetic set or whose set nothing was made from yet, and such trials, experts, networks, trainings;
    plans of ingestions that no data set came of yet.

    A pipeline distills one arm after another, for days where iterations are many, before it evaluates the first.
    """
    by = dependents(of)
    joined = _joined(inventory)
    parts = ("score_trial", "predictions", "expert", "pretrained_network", TRAININGS)
    return {
        place
        for place, item in inventory.items.items()
        if item.whole
        and (
            (item.kind == RUN and not _is_used(inventory, item, by))
            or (item.kind in parts and not by[place])
            or (item.kind == "ingest_plan" and _made_at(item) > joined.get(place, ""))
        )
    }


def _joined(inventory: Inventory) -> dict[str, str]:
    """When a record of a source was last made from the parts of a plan, by the place of the plan.

    A plan that was made after that, because the former one had been removed, has not been joined.
    """
    found: dict[str, str] = {}
    for place, item in inventory.items.items():
        if item.kind != "source":
            continue
        plans, key = f"{place.rsplit('/', 2)[0]}/plans/", item.recorded("facts").get("plan")
        for plan in [f"{plans}{key}"] if key else _decoded_before(inventory, item, plans):
            found[plan] = max(found.get(plan, ""), _made_at(item))
    return found


def _decoded_before(inventory: Inventory, record: Item, plans: str) -> list[str]:
    """The plans that a record which names none may have been made from: earlier versions named none.

    Those of the same settings and listing, all of whose parts were decoded before it. A plan that still lacks parts is none of them, so
    that an ingestion that can be continued stays one.
    """
    found = []
    for place, plan in inventory.items.items():
        if plan.kind != "ingest_plan" or not place.startswith(plans):
            continue
        facts, config = plan.recorded("facts"), record.recorded("config")
        same = all(name in config and config[name] == value for name, value in plan.recorded("config").items())
        listed = record.recorded("facts").get("listing", {}) == facts.get("listing", {})
        parts = [inventory.items.get(part_place(place, number)) for number in range(len(facts.get("parts", ())))]
        if same and listed and parts and all(part is not None and part.whole and _made_at(part) <= _made_at(record) for part in parts):
            found.append(place)
    return found


def _made_at(item: Item) -> str:
    """When an artifact was published, in a form that sorts."""
    return str((item.content or {}).get("created_at", ""))


def _is_used(inventory: Inventory, run: Item, by: Mapping[str, set[str]]) -> bool:
    """Whether a run is finished, and something beside it was made from its synthetic set."""
    return is_finished(inventory, run) and any(run_of(each) != run.place for each in by[f"{run.place}/{SYNTHETIC}"])
