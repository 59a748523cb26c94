"""Removing things from a storage so that nothing half is ever taken for whole, wherever this is killed and whoever works beside it.

* What needs others goes before them: at any moment everything that is there has what it needs.
* Of each thing its manifest, or the record of a run, goes first. Without it nothing is there, whatever files lie around.
* Right before that it is looked whether somebody has used it since the storage was listed (`bilp.artifacts.usage`), has published it, or
  holds its lease; then it stays, with all that it needs. Who finds it between that look and the next request, and wants its
  files afterwards, is told that they are gone, and computes them again when the same command is repeated.
* A publisher that came upon the files of a thing whose manifest was just taken away may name some that are removed now. So whoever
  removed them looks once more, and takes away a manifest that names what is not there.
* What is going to be removed is written down before, so that the next removal can resume it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from bilp.artifacts.artifact import is_whole
from bilp.errors import DamagedArtifact, MissingArtifact
from bilp.maintenance.garbage import Options, Plan, condemned, plan
from bilp.maintenance.inventory import THREADS, Inventory, Item
from bilp.maintenance.recognized import HALF, JOURNAL, LEASES
from bilp.maintenance.references import References, closure, plan_of, run_of
from bilp.progress import Progress, silent
from bilp.results.places import RUN, TRAININGS
from bilp.storage import objects

# What needs others stands before them; of a kind the deeper place is removed first.
ORDER = (
    *(HALF, "study", "study_part", "report", "suspects", "critical", "search", "reproduction", "robustness", "evaluation", TRAININGS),
    *("synthetic", "reselect", "round_state", "round", RUN, "pretrained_network", "expert_buffer", "expert", "teacher", "selection"),
    *("score_summary", "score_growth", "score_trial", "predictions", "trial_networks", "source", "truth", "dataset"),
    *("ingest_part", "ingest_plan"),
)


@dataclass
class Removed:
    """What a removal did."""

    places: list[str] = field(default_factory=list)
    size: int = 0
    """Bytes that were freed."""
    spared: set[str] = field(default_factory=set)
    """What stays because somebody used it meanwhile, with what it needs."""


def collect(found: Plan, options: Options, progress: Progress = silent) -> Removed:
    """Remove what a plan said, as far as it still holds: the storage is listed once more, so what was made meanwhile counts."""
    again = plan(found.inventory.root, options)
    return remove(again.inventory, again.of, [item for item in again.removed if item.place in found.places], progress)


def remove(inventory: Inventory, of: References, items: Sequence[Item], progress: Progress = silent) -> Removed:
    """Remove items of a storage.

    Args:
        inventory: the storage as it was listed.
        of: who needs whom in it.
        items: what is removed; nothing else needs it.
        progress: counts them.
    """
    done = Removed()
    if not items:
        objects.delete(objects.join(inventory.root, JOURNAL))
        return done
    _note(inventory.root, items)
    looked = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for wave in _waves(items):
            for item, gone in zip(wave, pool.map(lambda item: _remove(inventory, item, done.spared), wave), strict=True):
                if gone:
                    done.places.append(item.place)
                    done.size += item.size
                else:
                    done.spared |= closure(of, [item.place])
                looked += 1
                progress(looked, len(items), item.place)
    objects.delete(objects.join(inventory.root, JOURNAL))
    return done


def _note(root: str, items: Iterable[Item]) -> None:
    places = sorted({item.place for item in items} | condemned(root))
    objects.write(objects.join(root, JOURNAL), json.dumps({"places": places}, indent=1).encode())


def _waves(items: Iterable[Item]) -> list[list[Item]]:
    """Items that may be removed at the same time."""

    def turn(item: Item) -> tuple[int, int]:
        return ORDER.index(item.kind), -item.place.count("/")

    return [list(wave) for _, wave in groupby(sorted(items, key=turn), key=turn)]


def _remove(inventory: Inventory, item: Item, spared: set[str]) -> bool:
    """Remove one item; False if it has to stay."""
    around = inventory.items.get(run_of(item.place) or plan_of(item.place) or "")
    if item.place in spared or any(_is_used(inventory, each) for each in (item, around) if each is not None):
        return False
    folder = inventory.uri(item.place)
    if item.document is not None and item.whole:
        objects.delete(objects.join(folder, item.document))
    there = set(objects.listing(folder))
    if there <= item.files.keys():
        objects.delete(folder)
        objects.tidy(folder.rpartition("/")[0])
    else:  # beside what belongs to something that stays, or to the user
        for name in sorted(there & item.files.keys()):
            objects.delete(objects.join(folder, name))
        objects.tidy(folder)
    _take_back(item, folder)
    objects.delete(objects.join(inventory.root, f"{LEASES}{item.place}"))
    return True


def _is_used(inventory: Inventory, item: Item) -> bool:
    """Whether anybody used, published or claimed an item since it was listed."""
    claims = {name for name in objects.children(objects.join(inventory.root, f"{LEASES}{item.place}")) if "." in name}
    if claims != inventory.leases.get(item.place, {}).keys():
        return True
    folder = inventory.uri(item.place)
    if item.kind == TRAININGS:
        return objects.listing(folder) != item.files | item.foreign
    if item.document is None:
        return False
    try:
        at = objects.written_at(objects.join(folder, item.document))
    except MissingArtifact:
        return False
    listed = item.files[item.document].at if item.whole else -1.0
    return at != (listed if at % 1 else int(listed))  # S3 tells whole seconds of an object, and often more in a listing


def _take_back(item: Item, folder: str) -> None:
    if item.document is None or item.kind == RUN:
        return
    try:
        is_whole(folder)
    except DamagedArtifact:
        objects.delete(objects.join(folder, item.document))
