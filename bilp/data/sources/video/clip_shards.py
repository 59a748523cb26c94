"""Clips of webdatasets: tars of <key>.mp4 (or .webm, ...) with its class in <key>.cls or in `label` of <key>.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bilp.data.clips.decoder_package import require_decoder
from bilp.data.contents import Contents, Group, SplitName
from bilp.data.items import Items
from bilp.data.listing import Entry
from bilp.data.sources.gathered import Gathered
from bilp.data.sources.layouts import Found, View
from bilp.data.sources.shard_samples import CLIPS, samples, shards_by_role
from bilp.data.sources.video.clip_groups import clip_groups
from bilp.data.sources.video.windows import windows
from bilp.data.sources.webdataset import WebDataset
from bilp.data.split_names import TEST_ROLES
from bilp.data.tar import Problem


class ClipShards(WebDataset):
    """Clips in tars."""

    media = CLIPS
    kind, one = "clip", "a clip"

    def read(self) -> Contents:
        """As of pictures; raises ConfigError, too, if nothing decodes clips."""
        require_decoder()
        return super().read()

    def groups(self, items: Items) -> Iterator[Group]:
        """The clips of these items, each shard read from front to back."""
        return clip_groups(self.uri, items, self.config)

    def taken(self, found: dict[SplitName, Items]) -> dict[SplitName, Items]:
        """Of a test clip as many windows as are asked for."""
        return windows(found, self.config.clips)


def clips_of_shards(view: View, class_of: Callable[[str], str]) -> Found:
    """Both splits of shards of a public set, whose clips are known by their keys unless these are mere numbers.

    `class_of` gives the class of what a label says. The test clips are those of the first split for tests that has labels.
    """
    roles = shards_by_role(view)
    found: dict[SplitName, Gathered] = {"train": _split(view, roles["train"], "train", class_of)}
    for role in TEST_ROLES:
        if role not in roles:
            continue
        test = _split(view, roles[role], "test", class_of)
        if len(test):
            found["test"] = test
            break
        view.note(f"passed over the {role} shards: no clip has a label")
    return found


def _split(view: View, shards: Sequence[Entry], split: SplitName, class_of: Callable[[str], str]) -> Gathered:
    found, unlabeled = Gathered(), list[str]()
    for entry, sample in samples(view, shards, CLIPS):
        origin = f"{entry.path}/{sample.name if isinstance(sample, Problem) else sample.member.name}".rstrip("/")
        if isinstance(sample, Problem):
            view.lacks(split, origin, sample.reason)
        elif sample.label is None:
            unlabeled.append(origin)
        else:
            span = (sample.member.offset, sample.member.size)
            name = sample.key.rpartition("/")[2]
            found.add(class_of(sample.label), entry.path, stem="" if name.isdecimal() else name, span=span, origin=origin)
    if len(found) or split == "train":
        for origin in unlabeled:
            view.lacks(split, origin, "has no label: neither .cls nor label in .json")
    return found
