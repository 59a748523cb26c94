"""From what somebody types (a key, the beginning of one, a path, a URI) to what it is in a storage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bilp import __version__
from bilp.artifacts import layout
from bilp.artifacts.manifest_file import MANIFEST, Manifest, read_manifest
from bilp.artifacts.run_layout import RECORD
from bilp.errors import ConfigError, DamagedArtifact, IncompatibleArtifact, MissingArtifact, StorageError
from bilp.results.places import KEY, KEYED, RUN, TRAININGS, WILD, Place, enclosing, fits, key_of
from bilp.storage import objects, strict_json
from bilp.storage.objects import Uri, as_uri
from bilp.storage.verification import again
from bilp.text.escaping import shortened

SHORTEST = 2
"""Digits of a key that must be typed."""
LISTED = 12
"""Candidates that an error lists."""
LONGEST = 80
"""Characters of what was typed that an error repeats."""
THREADS = 8
"""Listings that are asked for at the same time: on S3 each waits for an answer."""

_PREFIX = re.compile(f"[0-9a-f]{{{SHORTEST},16}}")
_RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Found:
    """Something in a storage."""

    kind: str
    """Kind of the artifact, 'run' for a run, 'trainings' for finished trainings of evaluations."""
    key: str
    """Its content key; for what has a number beside it, that of the folder that it lies in."""
    place: str
    """Where it lies, relative to the root."""
    root: str
    """The storage root."""

    @property
    def uri(self) -> str:
        """Where it lies."""
        return objects.join(self.root, self.place)


def find(typed: Uri, root: Uri | None = None, kinds: Collection[str] | None = None) -> Found:
    """What somebody means by a key, at least SHORTEST digits of its beginning, or a path or URI of a thing's folder or of a file in it.

    Raises ConfigError for what is none of these and for what several things are meant by, MissingArtifact if there is no such thing, or
    only parts of one, IncompatibleArtifact if a newer version of bilp wrote it, and DamagedArtifact if its manifest or record
    cannot be read.

    Args:
        typed: what was typed; paths may be relative to the storage or to the working directory.
        root: storage root, by default BILP_STORAGE. A URI that leads into another storage is followed there.
        kinds: the kinds that are meant, by default all of them.
    """
    found = locate(typed, root, kinds)
    require_whole(found)
    return found


def locate(typed: Uri, root: Uri | None = None, kinds: Collection[str] | None = None) -> Found:
    """As `find`, also of what is only half there, damaged or of a newer version: to remove it, for instance."""
    root = objects.storage_root() if root is None else as_uri(root)
    text = str(typed).strip()
    found = _at_place(text, root) if "/" in text else _of_key(text, root, kinds)
    if kinds is not None and found.kind not in kinds:
        raise ConfigError(f"{typed} is of kind {found.kind}, and one of {', '.join(sorted(kinds))} is needed here")
    return found


def candidates(prefix: str, root: Uri, kinds: Collection[str] | None = None) -> list[Found]:
    """Everything in a storage whose key begins with `prefix` ('' for all that has a key), whole or not, in the order of its place."""
    root = as_uri(root)
    wanted = [place for place in KEYED if kinds is None or place.kind in kinds]
    with ThreadPoolExecutor(THREADS) as pool:
        listings = [_places_of(pattern, prefix, root, pool) for pattern in wanted]
        found = [
            Found(pattern.kind, key_of(place), place, root) for pattern, places in zip(wanted, listings, strict=True) for place in places
        ]
    return sorted(found, key=lambda each: each.place)


def require_whole(found: Found) -> None:
    """Raise the error that `find` raises, unless the manifest or the record of a thing is there and can be read by this version."""
    if found.kind == TRAININGS:
        return
    name = RECORD if found.kind == RUN else MANIFEST
    where = objects.join(found.uri, name)
    try:
        data = objects.read(where, expected=True, most=strict_json.LARGEST)
    except MissingArtifact:
        if not objects.exists(found.uri):
            raise MissingArtifact(f"there is no {found.kind} at {found.uri}: bilp ls lists what there is") from None
        raise MissingArtifact(
            f"the {found.kind} at {found.uri} is not whole ({name} is missing: half written or half deleted): "
            "run the command that made it again, or bilp gc takes the rest away"
        ) from None
    kind = RUN if _is_record(found, data, where) else _manifest(found, data, where).kind
    if kind != found.kind:
        raise DamagedArtifact(f"{where} is of kind {kind!r} where a {found.kind} belongs: move or delete {found.uri}")


def _is_record(found: Found, data: bytes, where: str) -> bool:
    """Whether a run is meant. Raises DamagedArtifact for a record that is none."""
    if found.kind != RUN:
        return False
    try:
        key = strict_json.parse(data)["key"]
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedArtifact(f"{where} is not the record of a run ({error}): {again(found.uri)}") from error
    if key != found.key:
        raise DamagedArtifact(f"{where} is the record of the run {key!r}: move or delete {found.uri}")
    return True


def _manifest(found: Found, data: bytes, where: str) -> Manifest:
    """The manifest, whoever wrote it; raises IncompatibleArtifact for what only a later version can read."""
    try:
        return read_manifest(data, found.uri)
    except DamagedArtifact:
        if (version := newer_version(data)) is None:
            raise
        raise IncompatibleArtifact(
            f"{where} was written by bilp {version}, this is bilp {__version__}: install bilp {version} or later"
        ) from None


def newer_version(manifest: bytes) -> str | None:
    """The version of bilp that wrote a manifest, if it is a later release than this one."""
    try:
        stated = strict_json.parse(manifest)["provenance"]["bilp"]
        theirs = _RELEASE.match(stated)
    except (ValueError, TypeError, LookupError):
        return None
    ours = _RELEASE.match(__version__)
    later = theirs and ours and tuple(map(int, theirs.groups())) > tuple(map(int, ours.groups()))
    return str(stated) if later else None


def _of_key(text: str, root: str, kinds: Collection[str] | None) -> Found:
    prefix = text.lower()
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{shortened(text, LONGEST)!r} is no key: give {SHORTEST} to 16 of its hexadecimal digits, or a path such as reports/KEY; "
            "bilp ls lists the keys"
        )
    found = candidates(prefix, root, kinds)
    if not found:
        what = " or ".join(sorted(kinds)) if kinds else "nothing"
        raise MissingArtifact(
            f"{what if not kinds else f'no {what}'} in {root} has a key that begins with {prefix}: bilp ls lists the keys"
        )
    if len(found) > 1:
        more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
        listed = ", ".join(f"{each.kind} {each.place}" for each in found[:LISTED])
        raise ConfigError(f"{text} may be {listed}{more}: give more digits, or the path")
    return found[0]


def _at_place(text: str, root: str) -> Found:
    absolute = "://" in text or text.startswith("/")
    tried = []
    for uri in ([] if absolute else [_below(root, text)]) + [as_uri(text)]:
        found = None if uri is None else _located(uri)
        if found is not None and (absolute or objects.exists(found.uri)):
            return found
        tried += [] if uri is None else [uri]
    raise MissingArtifact(
        f"no artifact and no run of a storage lies at {' or '.join(tried)}: give a key, or the path of a folder such as runs/KEY"
    )


def _below(root: str, text: str) -> str | None:
    try:
        return objects.join(root, text.rstrip("/"))
    except StorageError:
        return None


def _located(uri: str) -> Found | None:
    """The innermost place that a URI is or lies in."""
    names = as_uri(uri).rstrip("/").split("/")
    for length in range(len(names), 1, -1):
        folder = "/".join(names[:length])
        root = layout.root_of(folder)
        if root is not None and (inner := enclosing(layout.place_of(folder))) is not None:
            return Found(inner[0].kind, key_of(inner[1]), inner[1], root)
    return None


def _places_of(pattern: Place, prefix: str, root: str, pool: ThreadPoolExecutor) -> list[str]:
    """Places of a pattern whose key begins with `prefix`."""
    last = max(index for index, part in enumerate(pattern.parts) if part == KEY)
    places = [""]
    for part in pattern.parts[: last + 1]:
        if part in WILD:
            listed = pool.map(lambda place: objects.children(objects.join(root, place)), places)
            places = [f"{place}/{name}" for place, names in zip(places, listed, strict=True) for name in _fitting(part, names)]
        else:
            places = [f"{place}/{part}".lstrip("/") for place in places]
    rest = "/".join(pattern.parts[last + 1 :])
    return [f"{place}/{rest}" if rest else place for place in places if place.rsplit("/", 1)[1].startswith(prefix)]


def _fitting(part: str, names: list[str]) -> Iterator[str]:
    return (name for name in names if fits(part, name))
