"""Compare what lies in a storage with what was published: every checksum, and what each thing says that it was made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bilp.artifacts import signing
from bilp.artifacts.artifact import content_key
from bilp.artifacts.manifest_file import MANIFEST, checked_facts, read_manifest
from bilp.artifacts.run_layout import INPUTS, NAMED_BY_KEY
from bilp.errors import BilpError, MissingArtifact, StorageError
from bilp.maintenance.garbage import ROOTS
from bilp.maintenance.inventory import Inventory, Item, place_in, take_inventory
from bilp.maintenance.recognized import HALF
from bilp.maintenance.references import References, closure, depending_on, references
from bilp.progress import Progress, silent
from bilp.results.find import newer_version
from bilp.results.places import RUN, TRAININGS, key_of
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri

THREADS = 8
"""Files that are read at the same time: on S3 each waits for its answers, and a disk reads ahead."""
LARGEST_FIRST = 1 << 20
"""Bytes of progress of a file that is smaller: opening it takes time, too."""


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was published."""

    kind: str
    place: str
    what: str
    """What is wrong with it."""
    remedy: str
    """What repairs it."""
    used_by: tuple[str, ...]
    """Pages, reproductions and runs that depend on it."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison found."""

    root: str
    artifacts: int
    """Artifacts, runs and folders of trainings that were looked at."""
    files: int
    size: int
    """Bytes that were read and compared."""
    signed: bool
    """Whether signatures were checked as well."""
    problems: tuple[Problem, ...]
    half: tuple[str, ...]
    """Places of what was never finished, or half removed: nothing refers to it."""
    foreign: tuple[str, ...]
    """Files that are none of ours."""


def verify(root: Uri, places: Collection[str] = (), progress: Progress = silent) -> Verdict:
    """Compare everything in a storage, or `places` and what they need, with its manifests and records.

    `progress` counts MiB of files. Raises MissingArtifact if there is no storage, and ConfigError for a key that is none.
    """
    signed = bool(signing.keys())
    inventory = take_inventory(as_uri(root))
    of = references(inventory)
    wanted = closure(of, _within(inventory, places)) if places else set(inventory.items)
    items = [item for place, item in inventory.items.items() if place in wanted and item.kind != HALF]
    whole = [item for item in items if item.whole]
    problems = [_problem(inventory, of, item, what) for item, what in _told(inventory, whole)]
    unreadable = {problem.place for problem in problems}  # what a manifest says that is wrong itself is no checksum
    problems += [_problem(inventory, of, item, what) for item in whole for what in _lacking(inventory, item)]
    files = [(item, name) for item in whole for name in item.recorded("files") if item.place not in unreadable]
    size = 0
    for item, what in _compared(inventory, files, progress):
        if isinstance(what, int):
            size += what
        else:
            problems.append(_problem(inventory, of, item, what))
    return Verdict(
        root=inventory.root,
        artifacts=len(whole),
        files=len(files),
        size=size,
        signed=signed,
        problems=tuple(sorted(problems, key=lambda each: (each.place, each.what))),
        half=tuple(item.place for item in inventory.items.values() if not item.whole or item.kind == HALF) if not places else (),
        foreign=tuple(inventory.foreign) if not places else (),
    )


def _within(inventory: Inventory, places: Collection[str]) -> list[str]:
    return [place for place in inventory.items if any(f"{place}/".startswith(f"{each}/") for each in places)]


def _told(inventory: Inventory, items: Sequence[Item]) -> Iterator[tuple[Item, str]]:
    """What is wrong with manifests, records and trainings themselves."""
    with ThreadPoolExecutor(THREADS) as pool:
        for item, wrong in zip(items, pool.map(lambda item: _wrong(inventory, item), items), strict=True):
            yield from ((item, what) for what in wrong)


def _wrong(inventory: Inventory, item: Item) -> list[str]:
    folder = inventory.uri(item.place)
    if item.kind == TRAININGS:
        return [what for name in sorted(item.files) for what in _wrong_document(folder, name, _check_trainings)]
    if item.kind == RUN:
        return _wrong_document(folder, str(item.document), lambda data, uri: _check_record(data, key_of(item.place)))

    def check(data: bytes, uri: str) -> None:
        manifest = read_manifest(data, uri)
        if manifest.kind != item.kind:
            raise ValueError(f"it is of kind {manifest.kind} where a {item.kind} belongs")
        checked_facts(manifest, uri)

    return _wrong_document(folder, MANIFEST, check)


def _wrong_document(folder: str, name: str, check: Callable[[bytes, str], None]) -> list[str]:
    """What is wrong with a document that may be signed. Where asking again may tell something else, that is done first."""
    where = objects.join(folder, name)
    for last in (False, True):
        data = b""
        try:
            data = objects.read(where, expected=True, most=strict_json.LARGEST)
            check(data, folder)
            inner, _, last_name = name.rpartition("/")
            signing.check(data, objects.join(folder, inner) if inner else folder, last_name)
            return []
        except (BilpError, ValueError, TypeError, LookupError, AttributeError) as error:
            if last or not objects.look_again(where):
                newer = newer_version(data)
                return [f"{name}: written by bilp {newer}, which this version cannot read" if newer else f"{name}: {error}"]
    return []


def _check_trainings(data: bytes, folder: str) -> None:
    content = strict_json.parse(data)
    # As `bilp.evaluate.training_cache` makes it, which needs PyTorch; a test compares them.
    # What was not recorded is not in the digest: files of before it have none.
    later = {"course", "top_k", "top_k_accuracy", "best_top_k_accuracy"}
    trainings = [{name: value for name, value in each.items() if name not in later or value is not None} for each in content["trainings"]]
    if content["digest"] != content_key("trainings", 1, trainings=trainings):
        raise ValueError("it holds other trainings than were written")


def _check_record(data: bytes, key: str) -> None:
    content: dict[str, Any] = strict_json.parse(data)
    if content["key"] != key:
        raise ValueError(f"it is the record of run {content['key']!r}")
    for role, digest in ((role, digest) for role, digest in content["parents"].items() if role in NAMED_BY_KEY):
        if str(content[role]).rstrip("/").rpartition("/")[2] != digest:
            raise ValueError(f"its {role} lies at {content[role]!r}, where {digest} is expected")


def _lacking(inventory: Inventory, item: Item) -> Iterator[str]:
    """What something says that it was made from, and that is not there."""
    content = item.content or {}
    named = [(role, content.get(role)) for role in INPUTS] if item.kind == RUN else item.recorded("parents").items()
    for role, recorded in named:
        if not isinstance(recorded, str) or not recorded:
            continue
        place = place_in(inventory, recorded)
        if place is None and not _elsewhere(recorded):
            yield f"its {role} at {recorded} is missing"
        elif place is not None and not inventory.items[place].whole:
            yield f"its {role} at {place} is half written or half removed"


def _elsewhere(place: str) -> bool:
    """Whether a recorded place is outside of the storage, and there."""
    if not place.startswith("/") and "://" not in place:
        return False
    try:
        return objects.exists(place)
    except StorageError:
        return False


def _compared(inventory: Inventory, files: Sequence[tuple[Item, str]], progress: Progress) -> Iterator[tuple[Item, str | int]]:
    """For each file the bytes that were compared, or what is wrong with it."""
    total = sum(_weight(item, name) for item, name in files)
    done = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for (item, name), found in zip(files, pool.map(lambda each: _compare(inventory, *each), files), strict=True):
            done += _weight(item, name)
            progress(done >> 20, max(total >> 20, 1), item.place)
            yield item, found


def _entry(item: Item, name: str) -> tuple[str, str, int]:
    entry = item.recorded("files")[name]
    return str(entry.get("stored") or name), str(entry.get("sha256")), int(entry.get("size", 0))


def _weight(item: Item, name: str) -> int:
    return max(_entry(item, name)[2], LARGEST_FIRST)


def _compare(inventory: Inventory, item: Item, name: str) -> str | int:
    stored, sha256, size = _entry(item, name)
    listed = item.files.get(stored)
    try:
        where = objects.join(inventory.uri(item.place), stored)
        if listed is not None and listed.size != size and not objects.look_again(where):
            return f"{stored} has {listed.size:,} bytes instead of {size:,}"
        if objects.holds(where, sha256, size) or (objects.look_again(where) and objects.holds(where, sha256, size)):
            return size
    except MissingArtifact:
        return f"{stored} is missing"
    except StorageError as error:
        return f"{stored} cannot be read: {error}"
    return f"{stored} is not what was published (its checksum or its size differs)"


def _problem(inventory: Inventory, of: References, item: Item, what: str) -> Problem:
    used = [place for place in depending_on(of, item.place) if inventory.items[place].kind in (*ROOTS, RUN)]
    used.sort(key=lambda place: (inventory.items[place].kind == RUN, place))
    remedy = f"bilp rm {item.place} --force, then run the command that made it again"
    if "cannot read" in what:
        remedy = "use that version"
    elif what.startswith("its "):
        remedy = "run the command that made it again"
    return Problem(item.kind, item.place, what, remedy, tuple(used))
