"""A pipeline that has nothing to do is found only if carrying it out again would end the same way, and write nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_pipeline import NETWORK, run_pipeline, small_config

from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.run_layout import RECORD
from bilp.config import PipelineConfig
from bilp.errors import BilpError
from bilp.results import unchanged
from bilp.results.unchanged import Finished

pytestmark = pytest.mark.slow

SIDE, PER_CLASS = 8, 12

TOLD = {"rows": [], "sentence": "as the page says", "repeated": False}


@dataclass
class Case:
    """A pipeline on an image folder, what it is given, and the files below its root."""

    folder: Path
    root: str
    given: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    page: Path = Path()

    @property
    def config(self) -> PipelineConfig:
        settings: dict[str, Any] = {
            "dataset": "folder",
            "ingest": {"uri": str(self.folder), "resolution": SIDE},
            "reselect": {"candidates_per_class": 6},
            "distill": {"iterations": 2, "rounds": 2, "batch_real": 4, "network": NETWORK},
            "evaluate": {"networks": [NETWORK], "seeds": 2, "epochs": 1, "full_epochs": 1},
            "score": {"trials": 1, "epochs": 1, "init_epochs": 1, "network": NETWORK},
        }
        return small_config(**(settings | self.given))

    def asked(self) -> unchanged.Question | None:
        return unchanged.question(self.config, self.root, {"BILP_X": "1", **self.variables})

    def fast(self) -> Finished | None:
        """What is found without looking at any artifact."""
        return unchanged.finished(self.asked())

    def slow(self) -> tuple[str, bool]:
        """The reference: the report that the pipeline ends with, and whether it wrote anything; an error is its text."""
        before = self.files()
        try:
            report = run_pipeline(self.config, self.root).page()
        except BilpError as error:
            return str(error), False
        return report, self.files() != before

    def remembered(self) -> str:
        """Carry the pipeline out, and remember it; the report."""
        with unchanged.remembering(self.asked(), self.config) as ended:
            report = run_pipeline(self.config, self.root).page()
            ended.append(Finished(report, ("a line",), TOLD))
        return report

    def files(self) -> dict[str, tuple[int, int]]:
        """When each file was written, and its size; the time of a manifest and of a run's record is that of its last use."""
        paths = [path for path in Path(self.root).rglob("*") if path.is_file()]
        used = (MANIFEST, RECORD)
        return {str(path): (0 if path.name in used else path.stat().st_mtime_ns, path.stat().st_size) for path in paths}

    def one(self, pattern: str) -> Path:
        """A file of the storage."""
        return sorted(Path(self.root).glob(pattern))[0]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image folder, a storage and a cache, in which the pipeline ran once and was remembered."""
    base = tmp_path_factory.mktemp("unchanged")
    for number in range(2 * PER_CLASS):
        picture(base / "images" / ("cat", "dog")[number % 2] / f"{number:02d}.png", number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BILP_CACHE", str(base / "cache"))
        yield base


@pytest.fixture
def case(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """The pipeline, remembered; afterwards, everything is as it was before."""
    monkeypatch.setenv("BILP_CACHE", str(made / "cache"))
    case = Case(made / "images", str(made / "storage"))
    case.page = Path(case.remembered())  # restored images have other times, hence another record of the source and another page
    for name in ("images", "storage"):
        shutil.copytree(made / name, made / "kept" / name, dirs_exist_ok=False)
    yield case
    for name in ("images", "storage"):
        shutil.rmtree(made / name)
        (made / "kept" / name).rename(made / name)


def flip(path: Path) -> None:
    """Change one byte in place, and leave size and time of modification as they were."""
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


CHANGES: dict[str, Callable[[Case], object]] = {
    "nothing": lambda case: None,
    "an image is another": lambda case: picture(case.folder / "cat" / "00.png", 99),
    "an image is another, of the same size and time": lambda case: flip(case.folder / "cat" / "00.png"),
    "an image is added": lambda case: picture(case.folder / "dog" / "98.png", 98),
    "an image is gone": lambda case: (case.folder / "dog" / "01.png").unlink(),
    "a class is added": lambda case: [picture(case.folder / "eel" / f"{number}.png", 50 + number) for number in range(PER_CLASS)],
    "an image is renamed": lambda case: (case.folder / "cat" / "00.png").rename(case.folder / "cat" / "0x.png"),
    "a setting": lambda case: case.given.update(keep=0.6),
    "a setting of the page": lambda case: case.given.update(report={"samples_per_class": 2}),
    "the same value, now given": lambda case: case.given.update(seed=0),
    "an arm": lambda case: case.given.update(arms=("unpruned",)),
    "a variable": lambda case: case.variables.update(BILP_DEVICE="cpu"),
    "a file of the set of images": lambda case: flip(case.one("datasets/*/*/train-*.arrow")),
    "a trial is damaged": lambda case: flip(case.one("scores/*/*/trials/*/*.parquet")),
    "a trial is gone": lambda case: shutil.rmtree(case.one("scores/*/*/trials/*")),
    "a manifest of the summary is gone": lambda case: case.one("scores/*/*/summary/*/_manifest.json").unlink(),
    "the selection is gone": lambda case: shutil.rmtree(case.one("selections/*")),
    "the record of a run is gone": lambda case: case.one("runs/*/_run.json").unlink(),
    "a checkpoint is shorter": lambda case: os.truncate(case.one("runs/*/rounds/0002/checkpoint.safetensors"), 100),
    "a synthetic set is gone": lambda case: shutil.rmtree(case.one("runs/*/synthetic")),
    "an evaluation is damaged": lambda case: flip(case.one("evaluations/*/evaluation.parquet")),
    "the page is damaged": lambda case: flip(case.page),
    "the page is gone": lambda case: case.page.unlink(),
    "a manifest of the page is gone": lambda case: case.page.with_name("_manifest.json").unlink(),
    "the page is written again": lambda case: rewrite(case.page),
    "everything is gone": lambda case: shutil.rmtree(case.root),
    "something that does not take part": lambda case: (Path(case.root) / "reports" / "index.html").write_text("x"),
}
FOUND = {"nothing", "something that does not take part"}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_found_is_what_carrying_it_out_would_end_with(case: Case, change: str) -> None:
    CHANGES[change](case)
    fast = case.fast()
    report, wrote = case.slow()
    assert fast is None or (fast.report, False) == (report, wrote)
    assert (fast is not None) == (change in FOUND)


def test_another_storage_is_another_question(case: Case) -> None:
    shutil.copytree(case.root, f"{case.root}-copy")
    assert Case(case.folder, f"{case.root}-copy").fast() is None
    shutil.rmtree(f"{case.root}-copy")


def test_other_code_other_versions_and_other_keys_are_other_questions(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.fast() is not None
    monkeypatch.setattr(unchanged, "_version", lambda package: "0.0")
    unchanged.program.cache_clear()
    assert case.fast() is None
    monkeypatch.undo()
    unchanged.program.cache_clear()
    monkeypatch.setenv("BILP_CACHE", str(case.folder.parent / "cache"))
    real = list(unchanged._code())
    monkeypatch.setattr(unchanged, "_code", lambda: iter([*real[:-1], (real[-1][0], real[-1][1] + b"\n")]))
    unchanged.program.cache_clear()
    assert case.fast() is None
    monkeypatch.undo()
    unchanged.program.cache_clear()
    monkeypatch.setenv("BILP_CACHE", str(case.folder.parent / "cache"))
    assert case.fast() is not None
    monkeypatch.setenv("BILP_SIGNING_KEY", "ab" * 32)
    assert case.fast() is None


def test_what_changes_while_a_pipeline_runs_is_not_remembered(case: Case) -> None:
    case.given.update(keep=0.6)
    with unchanged.remembering(case.asked(), case.config) as ended:
        report = run_pipeline(case.config, case.root).page()
        flip(case.one("evaluations/*/evaluation.parquet"))
        ended.append(Finished(report, (), TOLD))
    assert case.fast() is None


def test_a_pipeline_that_fails_is_not_remembered(case: Case) -> None:
    case.given.update(keep=0.6)
    with pytest.raises(KeyError), unchanged.remembering(case.asked(), case.config) as ended:
        ended.append(Finished(run_pipeline(case.config, case.root).page(), (), TOLD))
        raise KeyError
    assert case.fast() is None


def test_a_cache_that_somebody_else_could_write_is_not_believed(case: Case) -> None:
    cache = Path(os.environ["BILP_CACHE"])
    assert case.fast() == Finished(case.slow()[0], ("a line",), TOLD)
    cache.chmod(0o777)
    assert case.fast() is None
    cache.chmod(0o700)


def test_a_note_that_is_broken_is_no_note(case: Case) -> None:
    for note in Path(os.environ["BILP_CACHE"]).rglob("*.note"):
        note.write_bytes(b'{"lines": [], "files": 3}')
    assert case.fast() is None
