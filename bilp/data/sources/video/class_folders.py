"""A folder of clips: one directory per class, of video files or of directories of frames.

    ROOT/train/<class>/...  with  ROOT/test/<class>/...  (or validation clips)
    ROOT/train/<class>/...  or  ROOT/<class>/...  alone: a test split is held out

The directories of splits may be spelled in any usual way (`bilp.data.split_names`), or named by `train` and `test`; `held_out` for test
makes a test split out of the training clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

from bilp.config import IngestConfig
from bilp.config.sources import SOURCES
from bilp.data.clips.decoder_package import require_decoder
from bilp.data.contents import Contents, Group, SplitName, check_same_classes, dataset_name, quoted
from bilp.data.items import Items
from bilp.data.listing import Listing, list_files, plain
from bilp.data.names import class_name
from bilp.data.sources.asked_classes import Asked, asked_classes
from bilp.data.sources.folder.candidates import HELD_OUT
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.video.clip_files import clips_below, is_frame, is_video
from bilp.data.sources.video.clip_groups import clip_groups
from bilp.data.sources.video.clip_set import add_clip
from bilp.data.sources.video.windows import windows
from bilp.data.split_names import TEST_ROLES, by_role
from bilp.errors import DataError
from bilp.text.escaping import shown


class VideoFolder:
    """Clips in one directory per class."""

    def __init__(self, config: IngestConfig) -> None:
        """`config.uri` is the root of the layout, a path or s3://...; train, test and classes are read as well."""
        assert config.uri is not None
        self.uri = plain(config.uri)
        self.name = dataset_name(self.uri, "clips")
        self._config = config

    def signature(self) -> str:
        """Digest of the directories, of every file's path, size and stamp, and of the classes that a file asks for."""
        lines = [f"{entry.path}\x1f{entry.size}\x1f{entry.stamp}" for entry in self._listing.files]
        return hashlib.sha256(
            "\n".join(["video_folder", *self._listing.folders, *lines, *self._asked.counting]).encode(errors="surrogateescape")
        ).hexdigest()

    def read(self) -> Contents:
        """Classes and items. Raises DataError if the directories are no such layout, ConfigError if nothing decodes its video files."""
        if any(is_video(entry.path) for entry in self._listing.files):
            require_decoder()
        folders = self._splits()
        sides = {split: self._side(folder) for split, folder in folders.items()}
        for split, side in sides.items():
            if not side.classes:
                place = f"{shown(folders[split])}/" if folders[split] else "the top directory"
                raise DataError(f"{shown(self.uri)}: {place} holds no directory with clips: {self._expected(folders[split])}")
        wanted = tuple(map(class_name, self._asked.names))
        if "test" in sides and not wanted:
            check_same_classes(sorted(sides["train"].classes), sorted(sides["test"].classes), shown(self.uri))
        names = wanted or tuple(sorted(sides["train"].classes))
        for split, side in sides.items():
            if lacking := [name for name in names if name not in side.classes]:
                raise DataError(f"{shown(self.uri)} ({split}): no clips of {quoted(lacking)}: found {quoted(sorted(side.classes))}")
        items = windows({split: side.items(names) for split, side in sides.items()}, self._config.clips)
        ignored = self._listing.note()
        return Contents(names, items, notes=(ignored,) if ignored else (), facts={"source_layout": "class folders"})

    def _expected(self, folder: str) -> str:
        """What a directory should hold that has no classes with clips."""
        pictures = [entry.path for entry in self._listing.files_below(folder) if is_frame(entry.path)]
        if not pictures:
            return "expected train/<class>/*.mp4 or <class>/*.mp4"
        other = SOURCES[self._config.source].counterpart
        frames = "a clip of frames is a directory of its own, <class>/<clip>/<frame>.png"
        return f"it holds pictures such as {shown(pictures[0])}: {frames}; for images as samples set the source to {other}"

    def groups(self, items: Items) -> Iterator[Group]:
        """The clips, a reader each."""
        return clip_groups(self.uri, items, self._config)

    @cached_property
    def _listing(self) -> Listing:
        return list_files(self.uri)

    @cached_property
    def _asked(self) -> Asked:
        return asked_classes(self._config.classes)

    def _splits(self) -> dict[SplitName, str]:
        """The directory of each split, '' for the root."""
        there = self._listing.folders_in("")
        roles = by_role(there)
        train = self._named("train", self._config.train) or _only(roles.get("train", []), "ingest.train", self.uri)
        if self._config.test == HELD_OUT:
            return {"train": train}
        found = next((roles[role] for role in TEST_ROLES if role in roles), []) if train else []
        test = self._named("test", self._config.test) or _only(found, "ingest.test", self.uri)
        return {"train": train, "test": test} if test else {"train": train}

    def _named(self, setting: str, path: str | None) -> str:
        """The directory that a setting names. Raises DataError if there is none."""
        name = (path or "").strip("/")
        if name and name not in self._listing.folders:
            raise DataError(
                f"{shown(self.uri)}: ingest.{setting} {name!r} is no directory there: found {quoted(self._listing.folders_in(''))}"
            )
        return name

    def _side(self, folder: str) -> Gathered:
        gathered = Gathered()
        for name in self._listing.folders_in(folder):
            path = f"{folder}/{name}" if folder else name
            for clip in clips_below(self._listing, path):
                add_clip(gathered, class_name(name), clip)
        return gathered


def _only(names: list[str], setting: str, uri: str) -> str:
    """The one of these directories, '' if there is none. Raises DataError for several."""
    if len(names) > 1:
        raise DataError(f"{shown(uri)}: {quoted(names)} could each be meant: set {setting} to one of them")
    return names[0] if names else ""
