"""What something in a storage consists of and comes from, in lines: for a report, a run, or an artifact of any kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bilp.artifacts import layout
from bilp.artifacts.artifact import Artifact, manifest_kind, open_artifact
from bilp.artifacts.facts import SelectionFacts
from bilp.artifacts.report_places import KIND
from bilp.artifacts.run_layout import RECORD
from bilp.config.arm_entries import UNPRUNED
from bilp.report.comparison import judgment
from bilp.report.wording import arm_words, data_size
from bilp.results import cells
from bilp.results.find import Found
from bilp.results.places import RUN, TRAININGS
from bilp.results.result import Result
from bilp.results.stored import result_at
from bilp.storage import objects, strict_json

LONGEST = 300
"""Characters of a fact or a setting that are shown."""


def described(found: Found) -> dict[str, Any]:
    """Everything that is known of it, as JSON holds it. Raises as `bilp.results.find.find`."""
    told: dict[str, Any] = {"kind": found.kind, "key": found.key, "uri": found.uri}
    if found.kind == TRAININGS:
        sizes = objects.objects(found.uri)
        return told | {"files": {name: version.size for name, version in sorted(sizes.items())}}
    if found.kind in (KIND, RUN):
        result = result_at(found)
        told |= cells.as_json(result) | {"config": dict(result.config)}
    if found.kind == RUN:
        return told
    artifact = open_artifact(found.uri, found.kind)
    return told | _of_artifact(artifact)


def lines(found: Found) -> list[str]:
    """The same for people, the weightiest first."""
    told = described(found)
    head = [f"{found.kind} {found.key}", f"  {found.uri}"]
    if found.kind in (KIND, RUN):
        head += _of_result(result_at(found), _of_scores(found))
    groups = {name: told[name] for name in ("facts", "parents", "files", "provenance") if told.get(name)}
    if found.kind == KIND:
        groups.pop("facts", None)  # told above
    elif "config" in told:
        groups["settings"] = told["config"]
    return head + [line for name, values in groups.items() for line in (f"{name}:", *_listed(values))]


def _of_artifact(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "created": manifest.created_at,
        "size": sum(entry.size for entry in manifest.files.values()),
        "facts": dict(manifest.facts),
        "parents": dict(artifact.parents),
        "files": {name: {"sha256": entry.sha256, "size": entry.size} for name, entry in manifest.files.items()},
        "config": dict(manifest.config),
        "provenance": dict(manifest.provenance),
    }


def _of_result(result: Result, scores: str) -> list[str]:
    told = [
        ("what", cells.subject(result)),
        ("status", result.status),
        ("published", f"{cells.when(result)} UTC" if result.created else ""),
    ]
    told += [("differs in", cells.differences(result.changed)), ("size", cells.size(result) if result.size is not None else "")]
    told.append(("scores", scores))
    several = len(cells.networks([result])) > 1
    for each in result.results:
        words = f"{cells.accuracy(each)} (n {each.accuracy.n})"
        if each.difference is not None:
            words += f", {cells.difference(each)} to {arm_words(UNPRUNED).title}: {judgment(each.difference)}"
        if each.gain is not None:
            words += f", {cells.gain(each)} over random"
        told.append((cells.arm(each, several), words.replace("\u00a0", " ")))
    width = max(len(name) for name, _ in told)
    return [f"  {name:{width}}  {words}" for name, words in told if words]


def _of_scores(found: Found) -> str:
    """Which version of growing data, or which entry of an atlas, the selection of a report or a run was made by; empty for others."""
    if found.kind == RUN:
        place = strict_json.parse(objects.read(objects.join(found.uri, RECORD))).get("selection")
        uri = layout.resolve(place, found.root) if place else None
    else:
        uri = open_artifact(found.uri, found.kind).parents.get("selection")
    if uri is None or manifest_kind(uri) != "selection":
        return ""
    facts = open_artifact(uri, "selection").stated(SelectionFacts)
    if facts.atlas is not None:
        return f"of the entry {facts.atlas.entry} of an atlas: {facts.atlas.title}"
    return "" if facts.scores_version is None else f"version {facts.scores_version} of those of a growing data set"


def _listed(values: Mapping[str, Any]) -> list[str]:
    width = max(len(name) for name in values)
    return [f"  {name:{width}}  {_short(value)}" for name, value in values.items()]


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() == {"sha256", "size"}:
        return f"{data_size(value['size']):>8}  {value['sha256'][:16]}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
