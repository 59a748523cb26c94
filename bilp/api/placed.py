"""What all results have in common: they know where they lie, and may be given wherever a path or URI is."""

from __future__ import annotations

import os
from pathlib import Path

from bilp.artifacts import layout
from bilp.errors import ConfigError, IncompatibleArtifact, MissingArtifact
from bilp.results.find import find
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri


class Result(os.PathLike[str]):
    """Something that is stored."""

    def __init__(self, uri: str) -> None:
        """`uri` is where it lies."""
        self.uri = uri
        """Where it lies: an absolute path, or s3://..."""

    def __fspath__(self) -> str:
        return self.uri

    @property
    def path(self) -> Path:
        """Where it lies on this machine. Raises ConfigError for what lies on S3: it has a `uri` alone."""
        if "://" in self.uri:
            raise ConfigError(f"{self.uri} is no path of this machine: use .uri")
        return Path(self.uri)

    @property
    def place(self) -> str:
        """Where it lies in its storage."""
        return layout.place_of(self.uri)

    @property
    def root(self) -> str:
        """The storage that it lies in. Raises IncompatibleArtifact for what lies in none, as a copy of a single folder does."""
        root = layout.root_of(self.uri)
        if root is None:
            raise IncompatibleArtifact(
                f"{self.uri} lies in no storage: give what lies below one, such as <root>/{self.uri.rsplit('/', 1)[-1]}"
            )
        return root


def located(given: Uri, root: Uri | None, kinds: tuple[str, ...]) -> str:
    """The URI of what is meant by a path, a URI, a place in the storage, a key or the beginning of one.

    Raises MissingArtifact if there is no such thing, and ConfigError for a key that several have and for what is none of these.
    """
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"a value of type {type(given).__name__} is none of {', '.join(kinds)}: give a result, a path, a URI or a key")
    uri = as_uri(given)
    if isinstance(given, os.PathLike) or "://" in given or given.startswith("/") or objects.exists(uri):
        return uri
    return find(given, root, kinds).uri


def require(given: object, kind: str, call: str) -> None:
    """Raise MissingArtifact, which names the call that makes one, if nothing is given."""
    if given is None:
        raise MissingArtifact(f"{kind} is needed here: {call} makes it")
