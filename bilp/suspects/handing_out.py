"""The files of a list of suspects, copied to where its reader is."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass

from bilp.artifacts.artifact import open_artifact
from bilp.storage import objects
from bilp.storage.objects import Uri, as_uri
from bilp.storage.verification import digest
from bilp.suspects.csv_files import after_decisions
from bilp.suspects.stage import CORRECTIONS, KIND, LIST, PAGE, SHEET


@dataclass(frozen=True)
class HandedOut:
    """URIs of the files."""

    page: str
    sheet: str
    table: str
    corrections: str
    kept: bool
    """Whether there was a file of corrections with other content already; it stays, and the new template lies beside it."""


def hand_out(uri: Uri, to: Uri, decided: str | None = None) -> HandedOut:
    """Copy the files for people of the list at `uri` into the folder `to`, a path or s3://...

    `decided` is the file of corrections that was applied to the data set: what it decides stands at the top of the new template, so that
    the template can be handed in in its place.

    Both CSV files begin with the mark of UTF-8 there: without it, Excel takes their letters for those of another encoding.
    What an earlier list left there is replaced; corrections that somebody may have edited are not. Raises MissingArtifact without a list.
    """
    artifact, folder = open_artifact(as_uri(uri), KIND), as_uri(to)
    for name in (PAGE, SHEET):
        objects.write(objects.join(folder, name), artifact.read(name))
    objects.write(objects.join(folder, LIST), BOM_UTF8 + artifact.read(LIST))
    rows = artifact.read(CORRECTIONS)
    template = BOM_UTF8 + (rows if decided is None else after_decisions(rows, decided))
    place = objects.join(folder, CORRECTIONS)
    kept = objects.exists(place) and digest(objects.read(place)) != digest(template)
    if kept:
        stem, _, suffix = CORRECTIONS.rpartition(".")
        place = objects.join(folder, f"{stem}-{artifact.manifest.key}.{suffix}")
    if not objects.exists(place):
        objects.write(place, template)
    page, sheet, table = (objects.join(folder, name) for name in (PAGE, SHEET, LIST))
    return HandedOut(page, sheet, table, place, kept)
