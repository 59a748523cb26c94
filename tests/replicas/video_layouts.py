"""Small copies of public sets of clips in the layouts in which people have them, with the damage that the real ones have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from replicas.clip import MP4, Coding, clip, sound
from replicas.imagenet_replica import tar_of

KINETICS = ("abseiling", "massaging person's head", "tossing coin")
TRAIN, TEST = 4, 2
"""Clips of a class."""
UCF = ("ApplyEyeMakeup", "HandstandPushups")
HMDB = ("brush_hair", "sword_exercise")
ODD_NAME = "#20_Rhythm_clap_(x)&y;z!_clap_u_nm_np1_fr_goo_0.avi"
TEMPLATES = ("Holding [something]", "Moving [something] up")


class Listed(NamedTuple):
    """A clip of Kinetics: its split, class, number in it, name and seconds."""

    split: str
    label: str
    number: int
    stem: str
    seconds: tuple[int, int]


def kinetics_clips() -> Iterator[Listed]:
    """All clips that the annotations list."""
    for label, name in enumerate(KINETICS):
        for number in range(TRAIN + TEST):
            start = 10 * number
            video = f"{'-_Z'[label]}AbcdefghI{number}"
            stem = f"{video}_{start:06}_{start + 10:06}"
            yield Listed("train" if number < TRAIN else "val", name, number, stem, (start, start + 10))


def write(path: Path, content: bytes | str) -> None:
    """A file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def content_of(listed: Listed, coding: Coding = MP4) -> bytes:
    """A clip of two to four seconds."""
    return clip(KINETICS.index(listed.label), listed.number, 2 + listed.number % 3, coding)


def kinetics_table(root: Path, folder: str = "annotations") -> None:
    """The annotations, of which the table of the validation split quotes all labels."""
    for split in ("train", "val"):
        buffer = io.StringIO()
        rows = csv.writer(buffer, quoting=csv.QUOTE_MINIMAL if split == "train" else csv.QUOTE_NONNUMERIC)
        rows.writerow(("label", "youtube_id", "time_start", "time_end", "split", "is_cc"))
        rows.writerows((each.label, each.stem[:11], *each.seconds, split, 0) for each in kinetics_clips() if each.split == split)
        write(root / folder / f"{split}.csv", buffer.getvalue())


def kinetics_flat(root: Path, damaged: bool = False) -> None:
    """As it is distributed: a directory for each split, and annotations.

    With damage: of the first class, clip 0 is missing, 1 empty, 2 has no index, and one is of sound alone; clip 3 of the second class is
    damaged and has a replacement; clip 0 of the third lasts 0.4 s, and of clip 1 the times in the name differ; one file is not listed.
    """
    kinetics_table(root)
    for each in kinetics_clips():
        write(root / each.split / f"{each.stem}.mp4", content_of(each))
    if not damaged:
        return
    first, second, third = ([each for each in kinetics_clips() if each.label == label] for label in KINETICS)
    paths = {each: root / each.split / f"{each.stem}.mp4" for each in kinetics_clips()}
    paths[first[0]].unlink()
    paths[first[1]].write_bytes(b"")
    whole = paths[first[2]].read_bytes()
    paths[first[2]].write_bytes(whole[: len(whole) // 2])
    paths[first[4]].write_bytes(sound())
    paths[second[3]].write_bytes(b"damaged")
    write(root / "replacement" / "replacement_for_corrupted_k400" / paths[second[3]].name, content_of(second[3]))
    paths[third[0]].write_bytes(clip(2, 0, 0.4))
    paths[third[1]].rename(root / "train" / f"{third[1].stem[:11]}_000011_000021.mp4")
    write(root / "train" / "unlisted0AA_000000_000010.mp4", content_of(first[3]))


def kinetics_class_folders(root: Path, blank: str = " ", names: tuple[str, str] = ("train", "val")) -> None:
    """A directory for each class, its blanks written as `blank`."""
    for each in kinetics_clips():
        folder = names[0] if each.split == "train" else names[1]
        write(root / folder / each.label.replace(" ", blank) / f"{each.stem}.mp4", content_of(each))


def kinetics_lists(root: Path, elsewhere: str = "") -> None:
    """Lists of path and class beside directories of classes; `elsewhere` is where the clips lay when the lists were written."""
    kinetics_class_folders(root, "_", ("videos_train", "videos_val"))
    for split, folder in (("train", "videos_train"), ("val", "videos_val")):
        lines = [
            f"{elsewhere}{folder if elsewhere else ''}{'/' if elsewhere else ''}{each.label.replace(' ', '_')}/{each.stem}.mp4 "
            f"{KINETICS.index(each.label)}"
            for each in kinetics_clips()
            if each.split == split
        ]
        write(root / f"kinetics400_{split}_list_videos.txt", "\n".join([*lines, "17"]) + "\n")


def kinetics_tars(root: Path) -> None:
    """Tars as they are distributed, each with half of a split and its clips in no order; one is not compressed, whatever its name says.

    Clip 3 of the second class is damaged in its tar, and has a replacement in another.
    """
    kinetics_table(root)
    for split in ("train", "val"):
        clips = [each for each in reversed(list(kinetics_clips())) if each.split == split]
        for part in range(2):
            files = [(f"./{each.stem}.mp4", b"damaged" if is_replaced(each) else content_of(each)) for each in clips[part::2]]
            whole = tar_of([*files, ("./._notes.mp4", b"x"), ("./readme.txt", b"x")])
            write(root / split / f"part_{part}.tar.gz", whole if part else gzip.compress(whole, 1))
    (replaced,) = filter(is_replaced, kinetics_clips())
    place = root / "replacement" / "replacement_for_corrupted_k400.tgz"
    write(place, gzip.compress(tar_of([(f"replacement_for_corrupted_k400/{replaced.stem}.mp4", content_of(replaced))])))


def is_replaced(listed: Listed) -> bool:
    """Whether it is the clip that the tars have a replacement of."""
    return (listed.label, listed.number) == (KINETICS[1], 3)


def kinetics_shards(root: Path, label: str = "cls") -> None:
    """A webdataset, two shards of training clips and one of validation clips; the class is in .cls or in .json."""
    for split, shards in (("train", 2), ("val", 1)):
        clips = [each for each in kinetics_clips() if each.split == split]
        for shard in range(shards):
            files: list[tuple[str, bytes]] = []
            for each in clips[shard::shards]:
                said = each.label.replace(" ", "_") if label == "cls" else json.dumps({"label": each.label, "duration": 10})
                files += [(f"{each.stem}.mp4", content_of(each)), (f"{each.stem}.{label}", said.encode())]
            write(root / f"k400-{split}-{shard:06}.tar", tar_of(files))


def kinetics_frames(root: Path, frames: int = 12) -> None:
    """Directories of frames, numbered from 1 without zeros in front, and annotations."""
    kinetics_table(root)
    for each in kinetics_clips():
        for number in range(frames):
            pixels = np.full((18, 24, 3), 10 + 20 * number, dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            write(root / each.split / each.stem / f"{number + 1}.png", buffer.getvalue())


def ucf101(root: Path, content: bytes, lists: bool = True) -> None:
    """Two classes with one clip in each of groups 1, 2, 8 and 9, and the first division; its files end lines as on Windows."""
    write(root / "ucfTrainTestlist" / "readme.txt", "lists\r\n")
    train, test = list[str](), list[str]()
    for label, name in enumerate(UCF, 1):
        spelled = name.replace("HandstandPushups", "HandStandPushups")
        for group in (1, 2, 8, 9):
            file = f"{name}/v_{spelled}_g{group:02}_c01.avi"
            write(root / "UCF-101" / file, content)
            (test if group < 8 else train).append(file if group < 8 else f"{file} {label}")
    if lists:
        folder = root / "ucfTrainTestlist"
        write(folder / "classInd.txt", "".join(f"{number} {name}\r\n" for number, name in enumerate(UCF, 1)))
        write(folder / "trainlist01.txt", "\r\n".join(train) + "\r\n")
        write(folder / "testlist01.txt", "\r\n".join(test) + "\r\n")


def hmdb51(root: Path, content: bytes) -> None:
    """Two classes of five clips, of which two are training clips, two test clips and one neither."""
    for label in HMDB:
        names = [f"{label}_{number}.avi" for number in range(4)] + [ODD_NAME]
        for name in names:
            write(root / label / name, content)
        parts = (1, 2, 0, 2, 1)
        lines = "".join(f"{name} {part} \n" for name, part in zip(names, parts, strict=True))
        write(root / "testTrainMulti_7030_splits" / f"{label}_test_split1.txt", lines)


LONG = "something-something-v2-"


def ssv2(root: Path, content: bytes, clips: str = "20bn-something-something-v2/{}.webm", prefix: str = LONG) -> None:
    """Two templates with three training and two validation clips each, and test clips without labels."""
    home = root if prefix else root / "labels"
    names = {template.replace("[", "").replace("]", ""): str(number) for number, template in enumerate(reversed(TEMPLATES))}
    write(home / f"{prefix}labels.json", json.dumps(names))
    listed: dict[str, list[dict[str, object]]] = {"train": [], "validation": []}
    for label, template in enumerate(TEMPLATES):
        for number in range(5):
            clip_id = str(100 * (label + 1) + number)
            write(root / clips.format(clip_id), content)
            sentence = template.lower().replace("[something]", "a blue cup")
            entry: dict[str, object] = {"id": clip_id, "label": sentence, "template": template, "placeholders": ["a blue cup"]}
            listed["train" if number < 3 else "validation"].append(entry)
    for split, entries in listed.items():
        write(home / f"{prefix}{split}.json", json.dumps(entries))
    write(home / f"{prefix}test.json", json.dumps([{"id": "9"}]))
