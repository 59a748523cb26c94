"""The manifest as a file: what is in it, and the checks that reading it makes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from bilp.artifacts import layout
from bilp.artifacts.facts import Facts, facts_of
from bilp.config.base import Frozen
from bilp.errors import DamagedArtifact
from bilp.storage import strict_json
from bilp.storage.verification import again

# The underscore makes Parquet readers (pandas, DuckDB, Athena) pass over it when they read a folder.
MANIFEST = "_manifest.json"

LONGEST_NAME = 1024
"""Bytes of a file's name; object storage takes no longer key."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(\d{3})?)?(Z|[+-]\d\d:\d\d)")
_KEY = re.compile("[0-9a-f]{16}")
_MOMENT: TypeAdapter[Any] = TypeAdapter(AwareDatetime)


def _moment(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError("a date and time with its offset from UTC is expected, such as 2026-01-31T12:00:00+00:00")
    _MOMENT.validate_python(text)
    return text


def _file_name(name: str) -> str:
    if len(name) > LONGEST_NAME or name == MANIFEST or not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise ValueError("a name below the artifact is expected, of letters, digits, '.', '_' and '-', with '/' between folders")
    return name


def _place(text: str) -> str:
    if "\0" in text:
        raise ValueError("no path and no address holds NUL")
    return text


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(_file_name)]
Place = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_place)]


class FileEntry(Frozen):
    """What a file must be."""

    sha256: Digest
    """Checksum of the content, in hexadecimal digits."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    stored: FileName | None = None
    """Name that it lies under, where that is not its own (see `bilp.artifacts.publication`)."""


class Manifest(Frozen):
    """What an artifact is, where it comes from and what its files must be."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    """Stage that made it, such as 'selection'."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """Content key of everything that determines it."""
    created_at: Annotated[str, AfterValidator(_moment)]
    """When it was published (UTC, ISO 8601); the only place where a clock enters an artifact."""
    parents: dict[str, Place]
    """Inputs: role, and place relative to the storage root, or absolute URI of what does not lie below it."""
    config: dict[str, Any]
    """Settings of the stage."""
    facts: dict[str, Any]
    """What whoever opens it may rely on: class names and their order, shape, normalization, counts."""
    files: dict[FileName, FileEntry]
    """Every file below the artifact's URI except the manifest."""
    provenance: dict[str, Any]
    """What made it: see `bilp.artifacts.provenance`."""
    signature: Annotated[str, Field(max_length=200)] | None = None
    """Signature of all the rest and of its place (see `bilp.artifacts.signing`), where one is stored."""

    @model_validator(mode="after")
    def _different_files(self) -> Self:
        """Some file systems take capital and small letters for the same."""
        if len({(entry.stored or name).lower() for name, entry in self.files.items()}) < len(self.files):
            raise ValueError("files have names that differ in capital letters alone")
        return self


def read_manifest(data: bytes, uri: str) -> Manifest:
    """The manifest of the artifact at `uri`. Raises DamagedArtifact, with the reason and the remedy, if `data` is none."""
    try:
        return strict_json.read(data, Manifest, strict=True)
    except ValueError as error:
        raise DamagedArtifact(f"{uri}/{MANIFEST} cannot be read ({len(data)} bytes, {error}): {remedy(uri)}") from error


def checked_facts(manifest: Manifest, uri: str) -> Facts | None:
    """The facts of the artifact at `uri`, of the model of its kind; None for a kind that no stage here publishes.

    Raises DamagedArtifact if they cannot be those of its kind and key, or the artifact lies in the folder of another key.
    """
    try:
        facts = facts_of(manifest.kind, manifest.key, manifest.facts)
    except ValueError as error:
        reason = strict_json.first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise DamagedArtifact(f"{uri}/{MANIFEST} states what no {manifest.kind} can be (facts: {reason}): {remedy(uri)}") from error
    folder = uri.rpartition("/")[2]
    if _KEY.fullmatch(folder) and folder != manifest.key and layout.root_of(uri) is not None:
        raise DamagedArtifact(f"{uri} holds the artifact of key {manifest.key}: move it to the folder of that name, or delete it")
    return facts


def remedy(uri: str) -> str:
    """What to do about an artifact whose manifest this version does not understand."""
    return f"{again(uri)}, or open it with the version of bilp that wrote it"
