"""A public set of clips in whichever of its layouts lies at an address: the same classes, names and clips from each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.clips.decoder_package import require_decoder
from bilp.data.contents import Contents, Group, SplitName, counted, lost, quoted
from bilp.data.items import UNKNOWN, Items
from bilp.data.listing import plain
from bilp.data.sources.asked_classes import Asked, asked_classes, class_ids
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, Layout, View, chosen, digest, listed, viewed
from bilp.data.sources.video.clip_files import ClipFile, is_video
from bilp.data.sources.video.clip_groups import clip_groups
from bilp.data.sources.video.windows import windows
from bilp.data.tar import is_tar
from bilp.errors import DataError


class ClipSet(ABC):
    """Clips of a public set, or of a part of its classes. A subclass says in which layouts people have it."""

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the directory that holds any of the layouts, a path or s3://...; `config.classes` chooses among the classes."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = config.source
        self.config = config

    @property
    @abstractmethod
    def layouts(self) -> tuple[Layout, ...]:
        """The forms in which people have this set, those first that are recognized by more."""

    def miss(self, view: View) -> str:
        """What a layout that nearly fits lacks, and what to do about it; '' where none does."""
        return ""

    def order(self, found: Found) -> Sequence[str]:
        """Its classes in label order, without those of which there are no training clips; by default sorted."""
        return sorted(found["train"].classes)

    def signature(self) -> str:
        """Digest of every file's path, size and stamp, and of the classes that a file asks for."""
        return digest(self._view, self.name, self._asked.names)

    def read(self) -> Contents:
        """Classes and items of both splits. Raises DataError for no known layout, labels that do not fit, and classes without clips, and
        ConfigError if there are video files and nothing that decodes them."""
        view = self._view
        title = SOURCES[self.name].title
        if any(is_video(entry.path) for entry in view.listing.files):
            require_decoder()
        layout = chosen(view, self.layouts, title, self.miss)
        view.note(f"layout: {layout.name}")
        found = layout.read(view)
        if any(is_tar(path) for gathered in found.values() for path in gathered.files):
            require_decoder()
        order = self._taken(tuple(self.order(found)), found, title)
        items = {split: gathered.items(order) for split, gathered in found.items()}
        absent = view.absent_of(order)
        if absent:
            there, missing = sum(map(len, items.values())), lost(absent)
            view.note(f"{there:,} of {counted(there + missing, 'listed clip')} are there: {missing:,} missing")
        ignored = view.listing.note()
        facts = {"source_layout": layout.name, **listed(items), "missing": lost(absent)}
        taken = windows(items, self.config.clips)
        return Contents(order, taken, notes=(*view.notes, *([ignored] if ignored else [])), facts=facts, absent=absent)

    def groups(self, items: Items) -> Iterator[Group]:
        """The clips, a reader each."""
        return clip_groups(self.uri, items, self.config)

    @cached_property
    def _view(self) -> View:
        return viewed(self.uri)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self.config.classes)

    def _taken(self, there: tuple[str, ...], found: Mapping[SplitName, Gathered], title: str) -> tuple[str, ...]:
        """The classes that are taken: those asked for, or all."""
        wanted = class_ids(self._asked, {name: name for name in there}, title) or there
        for split, gathered in found.items():
            if lacking := [name for name in wanted if name not in gathered.classes]:
                kind = "training" if split == "train" else split
                raise DataError(f"{self._view.where}: no {kind} clips of {quoted(lacking)}: add some, or leave them out of ingest.classes")
        return wanted


def add_clip(gathered: Gathered, label: str, clip: ClipFile, stem: str = "") -> None:
    """One more clip of a class."""
    gathered.add(label, clip.path, stem=stem or clip.stem, span=(clip.offset, clip.size if clip.size >= 0 else UNKNOWN), origin=clip.origin)
