"""A public data set in whichever of its layouts lies at an address: the same classes, names and pictures from each of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.class_lists import class_list
from bilp.data.contents import Contents, Group, SplitName, counted, lost, quoted
from bilp.data.items import Items
from bilp.data.listing import plain
from bilp.data.sources.asked_classes import Asked, asked_classes, class_ids
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.hub_copy import row_groups
from bilp.data.sources.imagenet.downsampled import pixel_groups
from bilp.data.sources.layouts import Found, Layout, View, chosen, digest, glanced, listed, viewed
from bilp.data.sources.parquet.file_names import is_parquet
from bilp.data.sources.stored_groups import stored_groups
from bilp.errors import DataError
from bilp.registry import resolve
from bilp.storage.ranges import is_remote


@dataclass(frozen=True)
class Published:
    """What is known of a data set: the list of its classes, the layouts in which people have it, and its pictures by split."""

    classes: str
    layouts: tuple[Layout, ...]
    images: Mapping[SplitName, int]


class PublicSet:
    """Pictures of a public data set, or of a part of its classes."""

    published: Published

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the directory that holds any of the layouts, a path or s3://...; `config.classes` chooses among the classes."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = config.source
        self._config = config

    def signature(self) -> str:
        """Digest of every file's path, size and stamp, of what lies elsewhere and counts, and of the classes that a file asks for."""
        return self._signature

    @cached_property
    def _signature(self) -> str:
        asked = self._asked
        more = hashlib.sha256("\n".join(asked.names).encode(errors="surrogateescape")).hexdigest()
        return digest(self._view, self.name, (more, *self._elsewhere(self._view)))

    def read(self) -> Contents:
        """Classes and items of both splits. Raises DataError for no known layout, labels that do not fit, and classes without images."""
        view = self._view
        layout = chosen(view, self.published.layouts, SOURCES[self.name].title)
        if self._config.resolution is None and layout.sizes_differ:
            raise DataError(f"{view.where}: the images differ in size: set ingest.resolution to the side that all are brought to (64, say)")
        view.note(f"layout: {layout.name}")
        found = layout.read(view)
        order = self._order(found, view)
        items = {split: gathered.items(order) for split, gathered in found.items()}
        self._tell(found, items, view)
        if self.name == self.published.classes and not self._asked.names:
            for split, gathered in found.items():
                view.count_rest(split, self.published.images[split], len(gathered))
        absent = view.absent_of(order)
        ignored = view.listing.note()
        return Contents(
            tuple(self._names[class_id] for class_id in order),
            items,
            class_ids=order,
            notes=(*view.notes, *([ignored] if ignored else [])),
            facts={
                "source_layout": layout.name,
                **listed(items),
                "missing": lost(absent),
                "orientation": SOURCES[self.name].orientation,
            },
            absent=absent,
        )

    def layout_at_a_glance(self) -> str:
        """The name of the layout, by a look at some of the names there. Raises DataError if it is none that is known."""
        if is_remote(self.uri):
            return "told once it is listed"
        return chosen(glanced(self.uri), self.published.layouts, SOURCES[self.name].title).name

    def groups(self, items: Items) -> Iterator[Group]:
        """The pictures of these items, each read where it lies."""
        if items.files and items.files[0].endswith(".npz"):
            return pixel_groups(self.uri, items)
        if items.files and is_parquet(items.files[0]):
            return row_groups(self.uri, items)
        return stored_groups(self.uri, items)

    def _elsewhere(self, view: View) -> Sequence[str]:
        """What lies outside of the listing and counts."""
        return ()

    @cached_property
    def _view(self) -> View:
        return viewed(self.uri)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self._config.classes)

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name of each class, with its id where several have that name."""
        listed = class_list(self.published.classes)
        count = Counter(listed.values())
        return {class_id: f"{name} ({class_id})" if count[name] > 1 else name for class_id, name in listed.items()}

    def _order(self, found: Found, view: View) -> tuple[str, ...]:
        """The ids of the classes that are taken, in order: those asked for, those of the part that the source is named after, or all."""
        there = found["train"].classes
        unknown = sorted(there - set(self._names))
        if unknown:
            view.note(f"passed over {quoted(unknown)}: no classes of {SOURCES[self.name].title}")
        wanted = class_ids(self._asked, class_list(self.published.classes), SOURCES[self.name].title)
        wanted = wanted or (tuple(class_list(self.name)) if self.name != self.published.classes else ())
        if not wanted:
            self._tell_untrained(found, view)
            return tuple(class_id for class_id in self._names if class_id in there)
        for split, gathered in found.items():
            if lacking := [class_id for class_id in wanted if class_id not in gathered.classes]:
                kind = "training" if split == "train" else split
                raise DataError(f"{view.where}: no {kind} images of {quoted([f'{each} {self._names[each]}' for each in lacking])}")
        return wanted

    def _tell_untrained(self, found: Found, view: View) -> None:
        """Say which classes of the test images are left out because no training image has them, as of a tar that was cut off."""
        untrained = sorted((found["test"].classes if "test" in found else set()) & set(self._names) - found["train"].classes)
        if untrained:
            lost = counted(len(untrained), "class", "classes")
            view.note(f"left out the test images of {lost} without training images: {quoted(untrained)}")

    def _tell(self, found: Mapping[SplitName, Gathered], items: Mapping[SplitName, Items], view: View) -> None:
        """Say what differs from the published set, which copies do, and whether canonical names are lacking."""
        for split, part in items.items():
            published = self.published.images[split]
            whole = len(found[split].classes) == len(self._names) and len(part) == len(found[split])
            if whole and len(part) != published:
                view.note(f"{counted(len(part), f'{split} image')}, the published set has {published:,}")
            if part.stems is None:
                view.note(f"{split}: the images have no canonical names, so that their order is that of the source")


def layout_of(config: IngestConfig) -> str:
    """In which of its layouts a public data set lies, by a look at some of the names there; raises DataError for none that is known."""
    source = resolve(SOURCES[config.source].opener)(config)
    assert isinstance(source, PublicSet)
    return source.layout_at_a_glance()
