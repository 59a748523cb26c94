"""The whole pipeline with a signing key: what others wrote is refused, whatever it is, and the key appears nowhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_programs import in_this_process
from tiny_pipeline import TINY, Finished, options, outcomes, synthetic_sets

from bilp.artifacts.signing import KEY
from bilp.config import PipelineConfig
from bilp.errors import UntrustedArtifact
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

SECRET = "5e" * 32
CONFIG = PipelineConfig.model_validate(TINY | {"arms": ["bilp"], "evaluate": TINY["evaluate"] | {"baselines": []}})
SIGNED = ("_manifest.json", "_run.json", "trainings/*/*/*.json")


def documents(root: str) -> list[Path]:
    return sorted(path for pattern in SIGNED for path in Path(root).rglob(pattern))


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.fixture(scope="module")
def signed(shared_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = str(tmp_path_factory.mktemp("signed") / "store")
    with pytest.MonkeyPatch.context() as patch, outcomes() as first:
        patch.setenv(KEY, SECRET)
        report = pipeline(CONFIG, root)
    return Finished(root, report, first)


def test_with_a_key_the_results_are_the_same_and_everything_that_decides_is_signed(
    signed: Finished, finished: Finished, prefect_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, without = synthetic_sets(signed.root), synthetic_sets(finished.root)
    assert len(made) == 1
    assert made.items() <= without.items()
    assert all(len(content(path)["signature"]) == 64 for path in documents(signed.root))
    assert not any("signature" in content(path) for path in documents(finished.root))
    for place in (Path(signed.root), prefect_home):
        holding = [str(file) for file in place.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
        assert holding == [], "the key is in no file, Prefect's database included"
    monkeypatch.setenv(KEY, SECRET)
    with outcomes() as again:
        assert pipeline(CONFIG, signed.root) == signed.report
    assert again == signed.again


@pytest.mark.parametrize(
    "kind",
    ["datasets/digits/sources/*/_manifest.json", "runs/*/_run.json", "runs/*/synthetic/_manifest.json", "evaluations/*/_manifest.json"],
)
def test_what_a_writer_without_the_key_put_there_ends_the_pipeline(
    signed: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    root = str(tmp_path / "store")
    shutil.copytree(signed.root, root)
    forged = sorted(Path(root).glob(kind))[0]
    forged.write_bytes(json.dumps({name: value for name, value in content(forged).items() if name != "signature"}).encode())
    monkeypatch.setenv(KEY, SECRET)
    with pytest.raises(UntrustedArtifact, match=str(forged)):
        pipeline(CONFIG, root)


def test_what_lay_there_before_the_key_is_used_once_its_owner_signs_it(
    copied: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    assert in_this_process("flows.pipeline", options(TINY), copied.root, monkeypatch) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "carries no signature" in told
    assert "bilp sign --storage" in told
    assert in_this_process("flows.sign", ["--storage", copied.root], copied.root, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:-1]) == [str(path) for path in documents(copied.root)]
    assert lines[-1] == f"signed {len(documents(copied.root))}"
    with outcomes() as again:
        pipeline(PipelineConfig.model_validate(TINY), copied.root)
    assert again == copied.again
    assert in_this_process("flows.sign", ["--storage", copied.root], copied.root, monkeypatch) == 0
    assert "already" in capsys.readouterr().out
