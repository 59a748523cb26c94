"""How much of a storage things of each kind, data sets and pages take, and what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bilp.maintenance.garbage import ROOTS, Options, Plan, plan
from bilp.maintenance.inventory import Inventory
from bilp.maintenance.references import closure
from bilp.results.places import RUN
from bilp.storage.objects import Uri, as_uri


@dataclass(frozen=True)
class Share:
    """A page, reproduction or run, with all that it is made from."""

    kind: str
    place: str
    alone: int
    """Bytes that nothing else of its kind uses."""
    shared: int
    """Bytes that others of its kind use, too."""


@dataclass(frozen=True)
class Sizes:
    """Bytes below a storage root."""

    root: str
    total: int
    kinds: dict[str, int]
    """Largest first."""
    datasets: dict[str, int]
    """All that was made from a data set, and itself, by its name; largest first."""
    shares: tuple[Share, ...]
    """Pages and reproductions, then runs."""
    removable: int
    """What `bilp gc` would free now."""
    foreign: dict[str, int]
    """Files that are none of ours."""


def sizes(root: Uri, options: Options | None = None) -> Sizes:
    """Measure a storage. Raises MissingArtifact if there is none, and DamagedArtifact if something does not tell what it needs."""
    found = plan(as_uri(root), options or Options(), dry=True)
    inventory = found.inventory
    kinds: Counter[str] = Counter()
    for item in inventory.items.values():
        kinds[item.kind] += item.size
    return Sizes(
        root=inventory.root,
        total=inventory.size,
        kinds=dict(kinds.most_common()),
        datasets=_by_dataset(found),
        shares=(*_shares(found, ROOTS), *_shares(found, (RUN,))),
        removable=found.size,
        foreign={path: file.size for path, file in inventory.foreign.items()},
    )


def _by_dataset(found: Plan) -> dict[str, int]:
    inventory = found.inventory
    total: Counter[str] = Counter()
    for place, item in inventory.items.items():
        for name in {each.split("/")[1] for each in closure(found.of, [place]) if each.startswith("datasets/")}:
            total[name] += item.size
    return dict(total.most_common())


def _shares(found: Plan, kinds: Iterable[str]) -> list[Share]:
    inventory = found.inventory
    needed = {place: closure(found.of, [place]) for place, item in inventory.items.items() if item.kind in kinds}
    users = Counter(each for places in needed.values() for each in places)
    return [
        Share(
            inventory.items[place].kind,
            place,
            _sum(inventory, (each for each in places if users[each] == 1)),
            _sum(inventory, (each for each in places if users[each] > 1)),
        )
        for place, places in needed.items()
    ]


def _sum(inventory: Inventory, places: Iterable[str]) -> int:
    return sum(inventory.items[place].size for place in places)
