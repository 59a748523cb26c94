"""A whole run on folders with names that are instructions to terminals, Rich, Markdown or browsers: it ends, and they are only names."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from page_reader import Page
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from tiny_pipeline import TINY

from bilp.artifacts.artifact import open_artifact
from bilp.config import PipelineConfig
from bilp.data import open_dataset
from bilp.evaluate import summary
from bilp.storage import objects
from bilp.text.escaping import shown
from flows import program
from flows.pipeline import pipeline
from tasks import terminal

pytestmark = pytest.mark.slow

NAMES = [
    b"\x1b[31mred\x1b[0m",
    b"![x](http:evil.example)",
    b"[red]:cat:",
    b"<img src=x onerror=alert(1)>",
    "cat\u202egpj".encode(),
    b"`a|b`\n# head",
    b"v\xe4cka",
]
MARK = "\x1b[7m[link=x]"  # in names of files and of the place


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Four 8 x 8 pictures a class for training and two for testing, and one that is none."""
    root = tmp_path / f"place {MARK}"
    pixels = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in NAMES:
            folder = root / split / os.fsdecode(name)
            folder.mkdir(parents=True)
            for number in range(count):
                picture = pixels.integers(0, 255, (8, 8), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{MARK.replace('/', '')}{number}.png", format="PNG")
    (root / "train" / os.fsdecode(NAMES[0]) / f"{MARK}bad.png").write_bytes(b"no picture")
    return root


def artifacts(*keys: str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=list(keys))), limit=200)
    return sorted(found, key=lambda artifact: str(artifact.created))


def kinds(markdown: str) -> set[str]:
    """What a renderer makes of Markdown, text and what holds it aside."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    found = {child.type for token in tokens for child in token.children or []} | {token.type for token in tokens}
    plain = {"text", "text_special", "inline", "softbreak"}
    return {kind.removesuffix("_open").removesuffix("_close") for kind in found - plain} - {
        "paragraph",
        "heading",
        "list_item",
        "bullet_list",
    }


def test_hostile_names_are_only_names(
    odd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = terminal.Screen()
    told = io.StringIO()
    monkeypatch.setattr(screen, "_file", told)
    monkeypatch.setattr(terminal, "_display", terminal.Display(screen))
    settings = {"dataset": "folder", "ingest": {"uri": str(odd_folder), "on_corrupt": "skip"}, "report": {"max_classes": len(NAMES)}}
    root = str(tmp_path / "store")
    report = pipeline(PipelineConfig.model_validate(TINY | settings), root)

    parents = open_artifact(report.rpartition("/")[0], "report").parents
    dataset = open_dataset(parents["dataset"])
    assert "<img src=x onerror=alert(1)>" in dataset.class_names
    lines = told.getvalue().splitlines()
    assert lines and all(shown(line) == line for line in lines)
    assert any("1 file skipped" in line for line in lines)
    program.show_report(report)
    printed = capsys.readouterr()
    assert all(shown(line) == line for line in (printed.out + printed.err).splitlines())
    assert len(summary([uri for role, uri in parents.items() if role.startswith("evaluation ")])) > 1

    page = Page(objects.read(report).decode())
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not page.all("script")
    for name in dataset.class_names:
        assert shown(name) in page.text

    (kept,) = [found for found in artifacts("kept-per-class") if root in str(found.description)]
    cells = [row["class"] for row in json.loads(str(kept.data))]
    assert len(cells) == len(NAMES)
    assert all(kinds(f"{cell}\n\n{kept.description}") == set() for cell in cells)
    source, synthetic = artifacts("source")[-1], artifacts("synthetic-set")[-1]
    assert kinds(str(source.data)) == set()
    assert "place" in str(source.data)
    assert kinds(str(synthetic.data)) == {"image"}, "the picture of the set"
    assert str(synthetic.data).count("](data:image/png;base64,") == 1


def test_a_wrong_file_with_a_hostile_name_is_one_line(odd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"dataset": "folder", "ingest": {"uri": str(odd_folder)}}
    with pytest.raises(SystemExit):
        program.guarded("program", lambda: pipeline(PipelineConfig.model_validate(TINY | settings), str(tmp_path / "store")), sys.exit)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("program: error: ")]
    assert len(errors) == 1
    assert "1 image cannot be used" in errors[0]
    assert shown(errors[0]) == errors[0]
