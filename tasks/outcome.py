"""Was the artefact that a stage returned made by this very run, or did it lie there complete?"""

from __future__ import annotations

import json
from datetime import datetime

from bilp import storage
from bilp.errors import MissingArtefact
from bilp.manifest import MANIFEST

# Manifests tell the second of their publication. Within one second this process remembers what it has met.
_met: dict[str, str] = {}


def published_since(uri: str, began: datetime) -> bool:
    """Whether the artefact at the URI, or the one that the file there belongs to, was published after `began`.

    A run has a record instead of a manifest; it counts as there before as soon as work was done in it.
    """
    created = _created(uri) or _created(uri.rpartition("/")[0])
    if created is None:
        return len(storage.children(uri)) < 2
    met_before = _met.get(uri) == created
    _met[uri] = created
    return not met_before and datetime.fromisoformat(created) >= began.replace(microsecond=0)


def _created(uri: str) -> str | None:
    try:
        return str(json.loads(storage.read(storage.join(uri, MANIFEST)))["created_at"])
    except MissingArtefact:
        return None
