"""Pictures, tables, folders, published sets and score lists of others, damaged and edited: refused in one line, or a result that is one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from fuzz_world import CLASSES, PRUNE, SIDE, TRAIN, World
from judging import Conclude, Tally, judge, listing, run_cases
from mutations import as_json, damaged, edited, edited_table
from PIL import Image
from reading import Result, selected, sound_dataset, sound_selection, sound_synthetic, use_dataset, use_set

from bilp.data import read_source
from bilp.data.ingestion import dataset_of
from bilp.exchange import import_set
from bilp.pruning.prune import prune

Change = Callable[[Path, Random], dict[str, Any]]
Use = Callable[[Path, str, dict[str, Any]], Result]


def cases_of(world: World, folder: Path, change: Change, use: Use, sound: Callable[[Any], str | None]) -> Callable[[Random, Tally], None]:
    """Cases on the sources of the world: links to them, one change, and a use that writes to a storage beside them.

    Args:
        world: Whose sources and data set are used.
        folder: Where cases are made.
        change: Changes the files in a folder and returns settings.
        use: What is done with the files, given a storage and the settings.
        sound: What is wrong with the result, if anything.
    """
    before = folder / "unchanged"
    shutil.copytree(world.files, before)
    try:
        original: object = use(before, str(folder / "original"), {})
    except FileNotFoundError:  # a kind that has no original
        original = None
    outside = listing(folder)

    def run(random: Random, tally: Tally) -> None:
        place = folder / "case"
        shutil.copytree(world.files, place / "files", copy_function=os.link)
        try:
            settings = change(place / "files", random)
            files = sorted(listing(place / "files"))
            judge(lambda: use(place / "files", str(place / "store"), settings), original, sound, tally, f"{settings} {files[:40]}")
            assert sorted(listing(place / "files")) == files
            assert {path.split("/")[0] for path in listing(place)} <= {"files", "store"}
        finally:
            shutil.rmtree(place)
        assert listing(folder) == outside

    return run


def rewritten(file: Path, content: bytes) -> None:
    file.unlink()  # it is a link to the world's
    file.write_bytes(content)


# --- images -------------------------------------------------------------------------------------------------------------------------


def ingested(files: Path, root: str, settings: dict[str, Any]) -> Result:
    settings = {"source": "folder", "uri": str(files / "pictures"), "resolution": SIDE, **settings}
    record = read_source(settings, root)
    return use_dataset_at(dataset_of(record, settings))


def ingested_tables(files: Path, root: str, settings: dict[str, Any]) -> Result:
    return ingested(files, root, {"source": "parquet", "uri": str(files / "tables"), **settings})


def use_dataset_at(uri: str) -> Result:
    place = Path(uri)
    return use_dataset(World(place.parent, place.parent, place.name, "", "", "", "", "", "", "", "", ()))


def a_damaged_picture(files: Path, random: Random) -> dict[str, Any]:
    for file in random.sample(sorted((files / "pictures").rglob("*.*")), 2):
        rewritten(file, damaged(file.read_bytes(), random))
    return {"on_corrupt": random.choice(["skip", "skip", "refuse"])}


def another_picture(files: Path, random: Random) -> dict[str, Any]:
    """A picture of any size and mode in any format, under any suffix."""
    size = random.choice([(1, 1), (8, 8), (1, 300), (300, 1), (0, 0), (64, 3)])
    mode = random.choice(["1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "LA", "YCbCr"])
    form = random.choice(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "EPS", "PDF", "DDS", "TGA", "PCX", "SGI"])
    file = random.choice(sorted((files / "pictures").rglob("*.*")))
    file.unlink()
    try:
        Image.new(mode, size).save(file, form)
    except (OSError, ValueError, KeyError, SystemError):  # no such picture can be made
        file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    if random.random() < 0.5:
        file.rename(file.with_name(random.choice(["x.eps", "x.svg", "x", "x.PNG", "\x1b[31m.png", "\u202egnp.jpg"])))
    return {"on_corrupt": random.choice(["skip", "refuse"]), "color": random.choice(["auto", "gray", "rgb"])}


NAMES = [
    "cat",
    "Cat",
    "\x1b[31m",
    "a\nb",
    "..x",
    "...",
    "train",
    "test",
    "x" * 200,
    "\udce9",
    "e\u0301",
    "\u00e9",
    " ",
    "#",
    "[red]",
    "0",
    "-1",
]


def another_tree(files: Path, random: Random) -> dict[str, Any]:
    """Folders of other names, in each other, empty, linked in circles; pipes and devices among the pictures."""
    pictures = files / "pictures"
    for _ in range(random.randint(1, 4)):
        folders = sorted(path for path in pictures.rglob("*") if path.is_dir() and not path.is_symlink()) or [pictures]
        folder, name = random.choice(folders), random.choice(NAMES)
        target = folder.parent / name
        kind = random.choice(["rename", "rename", "empty", "circle", "pipe", "zero", "nowhere", "remove", "inside"])
        if target.exists() or target.is_symlink():
            continue
        if kind == "rename":
            folder.rename(target)
        elif kind == "remove":
            shutil.rmtree(folder)
        elif kind == "empty":
            target.mkdir()
        elif kind == "inside":
            (folder / name).mkdir(exist_ok=True)
        elif kind == "pipe":
            os.mkfifo(folder / "pipe.png") if not (folder / "pipe.png").exists() else None
        else:
            target.symlink_to({"circle": pictures, "zero": "/dev/zero", "nowhere": "/nowhere/at/all"}[kind])
    return {"on_corrupt": random.choice(["skip", "refuse"])}


def a_damaged_table(files: Path, random: Random) -> dict[str, Any]:
    file = random.choice(sorted((files / "tables").iterdir()))
    rewritten(file, damaged(file.read_bytes(), random))
    return {"on_corrupt": random.choice(["skip", "refuse"])}


def another_table(files: Path, random: Random) -> dict[str, Any]:
    file = random.choice(sorted((files / "tables").iterdir()))
    rewritten(file, edited_table(file.read_bytes(), random))
    if random.random() < 0.3:
        file.rename(
            file.with_name(random.choice(["x.parquet", "train-00001-of-00001.parquet", "test.parquet", "\x1b.parquet", "a\nb.parquet"]))
        )
    return {"on_corrupt": random.choice(["skip", "refuse"])}


IMAGES: dict[str, tuple[Change, Use, int]] = {
    "picture: bytes": (a_damaged_picture, ingested, 40),
    "picture: another": (another_picture, ingested, 30),
    "folder": (another_tree, ingested, 40),
    "Parquet source: bytes": (a_damaged_table, ingested_tables, 40),
    "Parquet source: content": (another_table, ingested_tables, 40),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_sources_of_images(kind: str, world: World, tmp_path: Path, conclude: Conclude) -> None:
    change, use, cases = IMAGES[kind]
    conclude(run_cases(kind, cases, cases_of(world, tmp_path, change, use, sound_dataset)))


# --- published sets -----------------------------------------------------------------------------------------------------------------


def a_damaged_set(files: Path, random: Random) -> dict[str, Any]:
    file = files / random.choice(["dc.pt", "images.pt", "labels.pt", "idc.pt"])
    rewritten(file, damaged(file.read_bytes(), random))
    return {"file": "images.pt" if file.name == "labels.pt" else file.name}


def a_damaged_frepo_set(files: Path, random: Random) -> dict[str, Any]:
    file = files / random.choice(["checkpoint", "step.npz"])
    rewritten(file, damaged(file.read_bytes(), random))
    return {"file": file.name}


def another_set(files: Path, random: Random) -> dict[str, Any]:
    """Tensors with one thing about them changed: shape, type, values, or the container that they lie in."""
    images: Any = torch.zeros(4, 1, SIDE, SIDE)
    labels: Any = torch.tensor([0, 0, 1, 1])
    container: Any = None
    kind = random.choice(["shape", "type", "value", "labels", "container", "claimed", "nothing"])
    if kind == "shape":
        images = torch.zeros(
            random.choice([(0, 1, 8, 8), (4, 3, 8, 8), (4, 8, 8), (4, 1, 2, 2), (4, 0, 0, 0), (4,), (5, 1, 8, 8), (4, 1, 8, 8, 1)])
        )
    elif kind == "type":
        images = images.to(random.choice([torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.complex64, torch.bool]))
    elif kind == "value":
        images[0, 0, 0, 0] = random.choice([-1.0, float("nan"), float("inf"), 1e30, -1e38])
    elif kind == "labels":
        others: list[Any] = [
            [0, 0, 1, 2],
            [0, 0, 0, 1],
            [-1, 0, 1, 1],
            [0.0, 0.0, 1.0, 1.0],
            [True, False, True, False],
            [0, 1],
            [[0, 0, 1, 1]],
            [1, 0, 1, 0],
        ]
        labels = torch.tensor(random.choice(others))
    elif kind == "claimed":  # a few bytes in the file
        images = torch.zeros(1).expand(random.choice([4, 10**9, 10**12]), 1, SIDE, SIDE)
    elif kind == "container":
        wrong: list[Any] = [
            [labels, images],
            (images,),
            {"data": []},
            {"data": [[images]]},
            {"data": {"0": images}},
            images,
            labels,
            [[[]]],
        ]
        wrong += [
            {"images": images},
            None,
            "text",
            [images.to_sparse(), labels],
            [torch.nn.Parameter(images), labels],
            [images.permute(0, 1, 3, 2), labels],
        ]
        container = random.choice(wrong)
    (files / "idc.pt").unlink()
    torch.save(container if kind == "container" else random.choice([[images, labels], {"data": [[images, labels]]}]), files / "idc.pt")
    return {"file": "idc.pt", "experiment": random.choice([0, 0, 0, 1, 10**6])}


def imported(world: World) -> Use:
    def use(files: Path, root: str, settings: dict[str, Any]) -> Result:
        options = {"pixels": "dataset", **settings, "file": str(files / settings.get("file", "dc.pt"))}
        return use_set(import_set(world.uri(world.dataset), options, root))

    return use


def gray(world: World, folder: Path) -> World:
    """The same world with a gray data set, which the published sets are made for."""
    record = read_source({"source": "folder", "uri": str(world.files / "pictures"), "color": "gray"}, str(folder / "gray"))
    place = Path(dataset_of(record, {"source": "folder", "uri": str(world.files / "pictures")}))
    return World(place.parent, world.files, place.name, "", "", "", "", "", "", "", "", ())


PUBLISHED = {".pt: bytes": a_damaged_set, ".pt: content": another_set, "FRePo: bytes": a_damaged_frepo_set}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_sets(kind: str, world: World, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, conclude: Conclude) -> None:
    gray_world = gray(world, tmp_path_factory.mktemp("gray"))
    conclude(run_cases(kind, 60, cases_of(gray_world, tmp_path, PUBLISHED[kind], imported(gray_world), sound_synthetic)))


# --- score lists --------------------------------------------------------------------------------------------------------------------


def another_list(files: Path, random: Random) -> dict[str, Any]:
    content = (files / "scores.json").read_bytes()
    new = damaged(content, random) if random.random() < 0.4 else as_json(edited(json.loads(content), random))
    rewritten(files / "scores.json", new)
    return {}


def test_score_lists(world: World, tmp_path: Path, conclude: Conclude) -> None:
    assert TRAIN * len(CLASSES) == len(np.atleast_1d(json.loads((world.files / "scores.json").read_bytes())))

    def use(files: Path, root: str, settings: dict[str, Any]) -> Result:
        config = PRUNE.model_copy(update={"criterion": "external", "score_list": str(files / "scores.json")})
        return selected(prune(world.uri(world.dataset), None, config, root))

    conclude(run_cases("score list", 60, cases_of(world, tmp_path, another_list, use, sound_selection)))
