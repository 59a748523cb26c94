"""Whoever works with clips reads of clips: on the terminal, on pages and in errors; and of images where samples are images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clip_data import held, source_of
from PIL import Image

from bilp.config import DistillConfig, EvaluateConfig, ReselectConfig
from bilp.config.network import FRAME_MEAN
from bilp.data import ingest
from bilp.data.contents import counted
from bilp.distill import start_run
from bilp.errors import ConfigError, Diverged, MissingArtifact
from bilp.text.page_templates import template_of
from bilp.text.sample_words import speaking_of, spoken
from flows.units.table import distill_run, evaluate_baseline

SMALL = (
    *("--ingest.resolution", "16", "--ingest.frames", "4", "--ingest.sampling", "window", "--ingest.stride", "1", "--ingest.clips", "2"),
    *("--score.trials", "2", "--score.epochs", "3"),
)
RUN = (
    *("--ipc", "1", "--keep", "0.7", "--beta", "0.2", "--arms", "unpruned,static,bilp", "--distill.iterations", "2"),
    *("--distill.rounds", "2", "--distill.batch_real", "4", "--evaluate.seeds", "2", "--evaluate.epochs", "2"),
    *("--evaluate.full_epochs", "1", "--reselect.candidates_per_class", "4", "--ingest.label_noise.kind", "symmetric"),
    *("--ingest.label_noise.share", "0.2"),
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("An image of many images.", "A clip of many clips."),
        ("Images (image): every image, no image-folder", "Clips (clip): every clip, no image-folder"),
        ("images/1.png of image.tar, data:image/png, #image", "images/1.png of image.tar, data:image/png, #image"),
        ("background-image, imagery", "background-image, imagery"),
    ],
)
def test_sentences_are_told_with_the_noun_of_samples(said: str, told: str) -> None:
    assert spoken(said) == said == spoken(said, "image") and spoken(said, "clip") == told
    with speaking_of("clip"):
        assert spoken(said) == told and counted(2, "test image") == "2 test clips"
    assert spoken(said) == said


def test_templates_speak_of_samples_and_names_stay() -> None:
    def text(name: str) -> str:
        return template_of("sections/source.html.j2", ("bilp.report",), lambda value: value).render(
            source={"place": name, "stored": "stored", "lines": [name]}
        )

    assert "Real images" in text("my images") and "my images" in text("my images")
    with speaking_of("clip"):
        assert "Real clips" in text("my images") and "Real images" not in text("my images") and "my images" in text("my images")


def frame_folders(root: Path) -> None:
    """Three classes of clips that are directories of frames."""
    random = np.random.default_rng(0)
    for split, videos in (("train", 6), ("test", 3)):
        for label, name in enumerate(("run", "walk", "jump")):
            for video in range(videos):
                folder = root / split / name / f"{split}_{video}"
                folder.mkdir(parents=True)
                for frame in range(6):
                    Image.fromarray((random.integers(0, 100, (20, 24, 3)) + 50 * label).astype(np.uint8)).save(folder / f"{frame}.png")


def typed(*words: str) -> str:
    """What a command writes on both streams."""
    done = subprocess.run([sys.executable, "-m", "bilp", *words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def spoken_of_images(text: str) -> list[str]:
    """Where a text or page speaks of images, less what is no prose: styles, scripts and data."""
    for other in (r"<style.*?</style>", r"<script.*?</script>", r"data:[^\"')\s]+", r"--tmp\S+"):
        text = re.sub(other, " ", text, flags=re.DOTALL)
    return [text[max(0, found.start() - 60) : found.end() + 30] for found in re.finditer(r"\bimages?\b", text, re.IGNORECASE)]


@pytest.mark.slow
def test_what_a_worker_carries_out_speaks_of_clips(tmp_path: Path) -> None:
    """A unit as its process runs it: nobody around it has read a configuration that says what the samples are."""
    root, network = str(tmp_path), {"name": FRAME_MEAN, "width": 4, "depth": 2}
    arrays = held(frames=2, side=8)
    dataset_uri = ingest(source_of(arrays), root)
    settings = EvaluateConfig.model_validate({"networks": [network], "epochs": 1})
    with pytest.raises(ConfigError, match=re.escape("baseline random needs ipc = 7 training clips per class")):
        evaluate_baseline(dataset_uri=dataset_uri, baseline="random", ipc=7, config=settings, root=root)
    steep = {"ipc": 1, "iterations": 2, "rounds": 1, "batch_real": 4, "network": network, "augment": [], "learning_rate": 1e30}
    distill = DistillConfig.model_validate(DistillConfig.model_construct().model_dump() | steep)
    run_uri = start_run(dataset_uri, None, distill, ReselectConfig(beta=0.0), root)
    with pytest.raises(Diverged) as diverged:
        distill_run(run_uri=run_uri, root=root)
    assert "The learning rate of the clips is 1e+30" in str(diverged.value) and spoken_of_images(str(diverged.value)) == []
    missing = f"{root}/datasets/gone/0123456789abcdef"
    with pytest.raises(MissingArtifact, match="gone"):
        evaluate_baseline(dataset_uri=missing, baseline="random", ipc=1, config=settings, root=root)


@pytest.mark.slow
def test_a_pipeline_on_clips_never_speaks_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame_folders(tmp_path / "clips")
    monkeypatch.setenv("BILP_STORAGE", str(tmp_path / "store"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    source = ("--dataset", "video_folder", "--ingest.uri", str(tmp_path / "clips"))
    printed = typed("run", *source, *SMALL, *RUN)
    assert "18 training and 18 test clips of 3 classes" in printed and "Accuracy on real test clips" in printed
    assert "Random real clips" in printed and spoken_of_images(printed) == []
    (page,) = (tmp_path / "store" / "reports").glob("*/report.html")
    text = page.read_text()
    assert (
        "Synthetic clips" in text
        and "tested on 9 real videos that no set contains, each by the mean probabilities of its clips (18 in all)" in text
    )
    assert spoken_of_images(text) == []
    listed = typed("suspects", *source, *SMALL, "--to", str(tmp_path / "found"))
    assert spoken_of_images(listed) == [] and "clips" in listed
    assert spoken_of_images((tmp_path / "found" / "suspects.html").read_text()) == []
    assert spoken_of_images(typed("plan", *source, *SMALL, *RUN)) == []
