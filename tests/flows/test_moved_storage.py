"""A storage that was renamed, copied elsewhere or made read-only answers as it did where it was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from moved_storage import copy, read_only
from test_methods_pipeline import tiny
from tiny_pipeline import TINY, Finished, files, outcomes, synthetic_sets

from bilp.artifacts.artifact import open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.config import PipelineConfig
from bilp.errors import DamagedArtifact, StorageRefused
from bilp.storage.objects import join, read
from flows import program
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

CONFIG = PipelineConfig.model_validate(TINY)


@pytest.fixture(scope="module")
def imitated(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Finished:
    """A pipeline by a method whose runs name the experts that they imitate."""
    root = str(tmp_path_factory.mktemp("imitated") / "store")
    with outcomes() as first:
        report = pipeline(tiny("mtt", arms=["unpruned"]), root)
    return Finished(root, report, first)


def answers(config: PipelineConfig, root: str, made: Finished) -> None:
    """The whole pipeline finds everything, ends with the same page, and shows it."""
    with outcomes() as ran:
        report = pipeline(config, root)
    assert ran == made.again
    assert report == join(root, made.report.removeprefix(made.root).lstrip("/"))
    assert read(report) == read(made.report) if Path(made.report).exists() else True
    program.show_report(report)


def test_a_renamed_folder_answers(finished: Finished, imitated: Finished, tmp_path: Path) -> None:
    for name, config, made in (("one", CONFIG, finished), ("two", tiny("mtt", arms=["unpruned"]), imitated)):
        moved = str(tmp_path / name)
        shutil.copytree(made.root, tmp_path / "copy")
        (tmp_path / "copy").rename(moved)
        before = files(moved)
        answers(config, moved, made)
        assert files(moved) == before
        assert made.root not in "".join(content.decode("latin-1") for path, (_, content) in before.items() if path.endswith("json"))


def test_a_page_shows_places_below_the_root_alone(finished: Finished) -> None:
    page = read(finished.report).decode()
    assert finished.root not in page
    assert "<code>datasets/digits/" in page


def test_parents_are_found_in_the_moved_storage(imitated: Finished, tmp_path: Path) -> None:
    shutil.copytree(imitated.root, tmp_path / "moved")
    (manifest,) = (tmp_path / "moved" / "runs").glob("*/synthetic/_manifest.json")
    synthetic = open_artifact(str(manifest.parent), "synthetic")
    assert set(synthetic.parents) == {"run", "dataset", "experts"}
    for uri in synthetic.parents.values():
        assert uri.startswith(str(tmp_path / "moved"))
        assert Path(uri).is_dir()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_manifests_that_name_absolute_places_are_understood(finished: Finished, tmp_path: Path, scheme: str) -> None:
    """As they were written before: with the root under which the storage was made, which is there no more."""
    moved = str(tmp_path / "moved")
    shutil.copytree(finished.root, moved)
    for path in Path(moved).rglob(MANIFEST):
        content: dict[str, Any] = json.loads(path.read_bytes())
        content["parents"] = {role: f"{scheme}/gone/storage/{place}" for role, place in content["parents"].items()}
        path.write_text(json.dumps(content))
    answers(CONFIG, moved, finished)


@pytest.mark.slow
@pytest.mark.s3
def test_copied_to_s3_and_back_it_answers(finished: Finished, s3_root: str, tmp_path: Path) -> None:
    copy(finished.root, s3_root)
    answers(CONFIG, s3_root, finished)
    back = str(tmp_path / "back")
    copy(s3_root, back)
    answers(CONFIG, back, finished)


def test_a_read_only_storage_that_holds_every_result_answers(finished: Finished, tmp_path: Path) -> None:
    root = str(tmp_path / "published")
    shutil.copytree(finished.root, root)
    with read_only(root) as attempts:
        answers(CONFIG, root, finished)
    assert attempts == []


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [({"seed": 1}, "score_trial at .*/trials/000"), ({"keep": 0.6}, "selection at .*"), ({"arms": ["unpruned", "static"]}, "run at .*")],
)
def test_what_a_read_only_storage_lacks_is_told_in_one_line(
    finished: Finished, tmp_path: Path, changes: dict[str, Any], lacking: str
) -> None:
    root = str(tmp_path / "published")
    shutil.copytree(finished.root, root)
    why = rf"{root} cannot be written to \(Read-only file system\): give this user read and write permission there, or set BILP_STORAGE"
    with (
        read_only(root) as attempts,
        pytest.raises(StorageRefused, match=f"^there is no {lacking}.* yet, and nothing can be published: {why}"),
    ):
        pipeline(PipelineConfig.model_validate(TINY | changes), root)
    assert len(attempts) <= CONFIG.score.trials, "each unit asked once, and not again and again"


# In the order in which a run meets them.
DAMAGE = [
    ("datasets/*/*/train-0000*", "shorter"),
    ("scores/*/*/trials/0001/losses.parquet", "shorter"),
    ("scores/*/*/summary/*/summary.parquet", "other"),
    ("selections/*/selection.parquet", "other"),
    ("runs/*/rounds/0003/reselect/ite.parquet", "shorter"),
    ("runs/*/rounds/0002/checkpoint.safetensors", "gone"),
    ("runs/*/synthetic/synthetic.safetensors", "other"),
    ("evaluations/*/evaluation.parquet", "other"),
    ("reports/*/report.html", "other"),
]


def test_a_run_names_what_is_damaged_and_computes_it_again_once_it_is_deleted(finished: Finished, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(finished.root, root)
    deleted: Path | None = None
    for pattern, damage in DAMAGE:
        if deleted is not None:
            shutil.rmtree(deleted)
        file = sorted(root.glob(pattern))[-1]
        content = file.read_bytes()
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(content[:-1] if damage == "shorter" else bytes([content[0] ^ 1]) + content[1:])
        told = {"gone": "is missing", "shorter": f"has {len(content) - 1} bytes instead of {len(content)}", "other": "is damaged"}[damage]
        deleted = file.parent
        with pytest.raises(
            DamagedArtifact, match=rf"^{file} {told}.* delete {deleted}, and the same command will compute it again(\nwhile doing: .*)?$"
        ):
            pipeline(CONFIG, str(root))
    assert deleted is not None
    shutil.rmtree(deleted)
    with outcomes() as mended:
        report = pipeline(CONFIG, str(root))
    assert {label for label, outcome in mended.items() if outcome == "done"} == {"report"}
    program.show_report(report)
    assert synthetic_sets(root) == synthetic_sets(finished.root)
