"""Clips in tars, which are read where they lie: nothing is unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bilp.data.droppings import is_dropping
from bilp.data.listing import Entry
from bilp.data.sources.layouts import View
from bilp.data.sources.video.clip_files import ClipFile, is_video
from bilp.data.tar import is_tar
from bilp.data.tar_indexes import indexes
from bilp.text.escaping import shown


def tars(entries: Sequence[Entry]) -> list[Entry]:
    """Those files that are tars, compressed or not, by their names."""
    return [entry for entry in entries if is_tar(entry.path)]


def clips_in_tars(view: View, entries: Sequence[Entry]) -> Iterator[ClipFile]:
    """The clips at any depth within tars, in their order; the view is told what of a tar cannot be read."""
    for entry, index in zip(entries, indexes(view.uri, [entry.path for entry in entries]), strict=True):
        for member in index.members:
            name = member.name.rpartition("/")[2]
            if is_video(name) and not is_dropping(name):
                yield ClipFile(entry.path, name.rpartition(".")[0], member.size, member.offset, f"{entry.path}/{member.name}")
        for problem in index.problems:
            view.note(f"{shown(f'{entry.path}/{problem.name}'.rstrip('/'))}: {problem.reason}")
