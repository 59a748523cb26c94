"""Remove what somebody names, and what nothing else uses, unless others need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bilp.errors import ConfigError, MissingArtifact
from bilp.maintenance.garbage import LEASE_SILENCE, ROOTS, clock, is_held, require_readable
from bilp.maintenance.inventory import Inventory, Item, take_inventory
from bilp.maintenance.recognized import HALF
from bilp.maintenance.references import References, closure, depending_on, references
from bilp.results.find import Found
from bilp.results.places import ALONE

NAMED = 6
"""Dependents that an error names."""


@dataclass(frozen=True)
class Discard:
    """What would be removed."""

    inventory: Inventory
    of: References
    items: tuple[Item, ...]
    lacking: tuple[str, ...]
    """Places of what would lack something afterwards."""


def discard(named: Sequence[Found], unused: bool = False, force: bool = False) -> Discard:
    """What is removed with things of one storage; `unused`: also what they need and nothing else uses.

    Raises ConfigError, unless by `force`, if others depend on it, and in any case if somebody works on it, MissingArtifact if nothing
    lies there, and DamagedArtifact if something else does not tell what it needs.
    """
    roots = {found.root for found in named}
    if len(roots) != 1:
        raise ConfigError(f"one storage at a time: these lie in {' and '.join(sorted(roots))}")
    inventory = take_inventory(next(iter(roots)))
    of = references(inventory)
    own = {place for place in inventory.items for found in named if place == found.place or place.startswith(f"{found.place}/")}
    for found in named:
        if not any(f"{place}/".startswith(f"{found.place}/") for place in own):
            raise MissingArtifact(f"there is no {found.kind} at {found.uri}: bilp ls lists what there is")
    lacking = sorted({each for found in named for each in depending_on(of, found.place)} - own)
    if not force:
        require_readable(_without(inventory, own))
        if lacking:
            more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            raise ConfigError(
                f"{', '.join(found.place for found in named)} is needed by {', '.join(_weightiest(inventory, lacking)[:NAMED])}{more}: "
                "remove these first, or give --force"
            )
    gone = own | (_only_for(inventory, of, own) if unused else set())
    _refuse_held(inventory, gone)
    return Discard(inventory, of, tuple(item for place, item in inventory.items.items() if place in gone), tuple(lacking))


def _only_for(inventory: Inventory, of: References, own: set[str]) -> set[str]:
    """What is needed for nothing but `own`; pages, imported and resized sets are there for themselves."""
    below = closure(of, own)
    others = [place for place, item in inventory.items.items() if place not in below or (_stays(item) and place not in own)]
    return below - closure(of, others) - own


def _stays(item: Item) -> bool:
    return item.kind in (*ROOTS, HALF) or item.place.split("/")[0] in ALONE


def _weightiest(inventory: Inventory, places: Sequence[str]) -> list[str]:
    """Pages first: they are what people know."""
    return sorted(places, key=lambda place: (inventory.items[place].kind not in ROOTS, place))


def _without(inventory: Inventory, places: set[str]) -> Inventory:
    return Inventory(inventory.root, {place: item for place, item in inventory.items.items() if place not in places}, {}, {})


def _refuse_held(inventory: Inventory, places: set[str]) -> None:
    concerned = [place for place in inventory.leases if any(f"{place}/".startswith(f"{each}/") for each in places)]
    if concerned:
        now = clock(inventory, dry=True)
        held = [place for place in concerned if is_held(inventory.leases[place], now, LEASE_SILENCE)]
        if held:
            raise ConfigError(f"somebody works on {held[0]}: stop that run first, or wait until it is through")
