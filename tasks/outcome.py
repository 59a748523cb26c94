"""Was the artifact that a stage returned made by this very run, or did it lie there complete?"""

from __future__ import annotations

from datetime import datetime

from bilp.artifacts.artifact import published_at
from bilp.storage import objects

# Manifests tell the second of their publication. Within one second this process remembers what it has met.
_met: dict[str, str] = {}


def published_since(uri: str, began: datetime) -> bool:
    """Whether the artifact at the URI, or the one that the file there belongs to, was published after `began`.

    A run has a record instead of a manifest; it counts as there before as soon as work was done in it.
    """
    created = published_at(uri) or published_at(uri.rpartition("/")[0])
    if created is None:
        return len(objects.children(uri)) < 2
    met_before = _met.get(uri) == created
    _met[uri] = created
    return not met_before and datetime.fromisoformat(created) >= began.replace(microsecond=0)
