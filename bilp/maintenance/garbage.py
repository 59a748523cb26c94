"""What of a storage can be removed: what no page, reproduction, imported or resized set reaches, and nobody works on or used of late."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from bilp.artifacts.run_layout import SYNTHETIC
from bilp.errors import DamagedArtifact, StorageRefused
from bilp.maintenance.inventory import Inventory, Item, same_folders, take_inventory
from bilp.maintenance.recognized import JOURNAL
from bilp.maintenance.references import References, closure, parts_of_nothing, references
from bilp.results.places import ALONE
from bilp.storage import objects, strict_json
from bilp.storage.backend import Written

DAY = 86400.0
"""Seconds for which everything stays that was written or used."""
LEASE_SILENCE = 3600.0
"""Seconds after its last sign of life for which a lease that nobody released keeps what it stands for, however short the age asked for."""
ROOTS = ("report", "reproduction", "critical", "study", "study_part")
"""Kinds that stay, with all that they are made from; imported and resized sets do as well."""


@dataclass(frozen=True)
class Options:
    """What stays besides what pages and reproductions reach."""

    older_than: float = DAY
    """Seconds since anything of a thing was written or used, below which it stays."""
    keep: tuple[str, ...] = ()
    """Places that stay, with all that they need."""
    unfinished: bool = False
    """Whether unfinished work is removed as well."""


@dataclass(frozen=True)
class Plan:
    """What is removed, and what stays and why."""

    inventory: Inventory
    of: References
    removed: tuple[Item, ...]
    """In the order of their places."""
    reached: frozenset[str]
    """What pages, reproductions, imported and resized sets and `keep` reach."""
    unfinished: frozenset[str]
    """What stays because it is unfinished, with what it needs."""
    recent: frozenset[str]
    """What stays because somebody works on it, or because it was written or used of late, with what it needs."""
    places: frozenset[str] = field(init=False)
    """Places of what is removed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", frozenset(item.place for item in self.removed))

    @property
    def size(self) -> int:
        """Bytes that are freed."""
        return sum(item.size for item in self.removed)


def plan(root: str, options: Options, dry: bool = False) -> Plan:
    """What can be removed from a storage now. Raises MissingArtifact, and DamagedArtifact if something does not tell what it needs."""
    inventory = take_inventory(root)
    now = clock(inventory, dry)
    require_readable(inventory)
    of = references(inventory)
    items = inventory.items
    roots = {place for place, item in items.items() if _is_root(item)} | set(options.keep)
    begun = parts_of_nothing(inventory, of) - condemned(root) if not options.unfinished else set()
    recent = {place for place, item in items.items() if now - item.at < options.older_than} | _leased(inventory, now, options.older_than)
    reached = closure(of, roots)
    unfinished, lately = closure(of, begun) - reached, closure(of, recent) - reached
    kept = reached | unfinished | lately
    kept |= same_folders(inventory, items.keys() - kept, kept)
    removed = tuple(item for place, item in items.items() if place not in kept)
    return Plan(inventory, of, removed, frozenset(reached), frozenset(unfinished), frozenset(lately))


def clock(inventory: Inventory, dry: bool) -> float:
    """What time it is by the clock of the storage, which is the one that its files' times are of.

    A file is written for that, unless this is a `dry` run of somebody who may not: then it is as late as the newest file says.
    """
    probe = objects.join(inventory.root, f".clock-{uuid.uuid4().hex}.0.0.tmp")
    try:
        objects.write(probe, b"")
        try:
            return objects.written_at(probe)
        finally:
            objects.delete(probe)
    except StorageRefused:
        if not dry:
            raise
        return max((item.at for item in inventory.items.values()), default=0.0)


def require_readable(inventory: Inventory) -> None:
    """Raise DamagedArtifact for a manifest or record that cannot be read: what it needs must stay, and nobody knows what that is."""
    for item in inventory.items.values():
        if item.problem:
            raise DamagedArtifact(
                f"{inventory.uri(item.place)} does not tell what it needs ({item.problem}), so nothing is removed: "
                f"remove it with bilp rm {item.place} --force, or use the version of bilp that wrote it"
            )


def condemned(root: str) -> set[str]:
    """What an earlier removal that was interrupted had set out to remove."""
    where = objects.join(root, JOURNAL)
    if not objects.exists(where):
        return set()
    try:
        found = strict_json.parse(objects.read(where, most=strict_json.LARGEST))["places"]
        return {place for place in found if isinstance(place, str)}
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedArtifact(f"{where} cannot be read ({error}): delete it") from error


def _is_root(item: Item) -> bool:
    return item.whole and (item.kind in ROOTS or (item.kind == SYNTHETIC and item.place.split("/")[0] in ALONE))


def _leased(inventory: Inventory, now: float, older_than: float) -> set[str]:
    """What somebody works on, and what that lies in or holds."""
    places: set[str] = set()
    for place, files in inventory.leases.items():
        if is_held(files, now, max(older_than, LEASE_SILENCE)):
            places |= {each for each in inventory.items if f"{each}/".startswith(f"{place}/") or place.startswith(f"{each}/")}
    return places


def is_held(files: Mapping[str, Written], now: float, silence: float) -> bool:
    """Whether the lease of these files still stands: its newest claim was not released, and gave a sign of life within so many seconds."""
    claims = [name.partition(".")[0] for name in files if name.endswith(".json")]
    newest = max(claims, default="", key=lambda name: (len(name), name))
    return bool(newest) and f"{newest}.released" not in files and now - max(file.at for file in files.values()) < silence
