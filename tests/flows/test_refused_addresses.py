"""Addresses that hold a login: nothing of them is in the terminal, in Prefect's database, in logs or in any other file of a refused run."""

from __future__ import annotations

import copy
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect_database import another_home
from tiny_pipeline import REPOSITORY

from bilp.errors import ImpossibleUri
from flows.ingest import ingest
from flows.local import server
from flows.pipeline import pipeline

pytestmark = pytest.mark.slow

KEY, WORD = "AKIAHIDDENKEY", "hidden/word+of-s3"
LOGIN = f"s3://{KEY}:{WORD}@bucket/prefix"
SIGNED = f"https://bucket.s3.amazonaws.com/a.parquet?X-Amz-Credential={KEY}&X-Amz-Signature=hidden-word"


def refused(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A pipeline in whose environment such an address is; everything that it leaves is below `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL",) and not name.startswith("AWS_")}
    places = {"PREFECT_HOME": folder / "home", "BILP_STORAGE": folder / "store", "BILP_CACHE": folder / "cache", "TMPDIR": folder / "tmp"}
    (folder / "tmp").mkdir()
    return subprocess.run(
        [sys.executable, "-m", "flows.pipeline", "--dataset", "digits"],
        cwd=folder,
        env=kept
        | {name: str(place) for name, place in places.items()}
        | {"HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def traces(folder: Path, done: subprocess.CompletedProcess[str]) -> list[str]:
    """Where something of the address is found: in what was said, or in a file of any kind."""
    texts = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    texts |= {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    return [name for name, content in texts.items() if any(part.encode() in content for part in (KEY, "hidden"))]


TYPED = [
    ("flows.pipeline", ["--ingest.source", "folder", "--ingest.uri", LOGIN], "--ingest.uri"),
    ("flows.pipeline", ["--ingest.source=parquet", f"--ingest.uri={SIGNED}"], "--ingest.uri"),
    ("flows.pipeline", ["--ingest.urii", LOGIN, "--ipc", "none"], "--ingest.urii"),
    ("flows.pipeline", [f"--dataset={LOGIN}"], "--dataset"),
    ("flows.pipeline", [LOGIN], "an argument"),
    ("flows.pipeline", ["--recipe", "own.yaml"], "ingest.uri"),
    ("flows.ingest", ["--explain", "--ingest.uri", LOGIN], "--ingest.uri"),
    ("flows.import_set", ["--file", LOGIN, "--dataset", "digits"], "--file"),
    ("flows.resize", ["--synthetic", LOGIN, "--ipc", "1"], "--synthetic"),
    ("flows.export", ["--synthetic", "runs/key", "--to", "folder", "--out", LOGIN], "--out"),
    ("flows.export", [LOGIN], "an argument"),
    ("flows.sign", [f"--storage={SIGNED}"], "--storage"),
    ("flows.sign", [LOGIN], "an argument"),
    ("flows.reproduce", [LOGIN], "an argument"),
]


def test_nothing_that_is_typed_is_repeated_or_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for program, arguments, named in TYPED:
        (tmp_path / "own.yaml").write_text(f"dataset: folder\ningest: {{uri: '{LOGIN}'}}\n")
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as ended, warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is imported already
            runpy.run_module(program, run_name="__main__")
        (tmp_path / "own.yaml").unlink()
        printed, said = capsys.readouterr()
        assert (ended.value.code, printed) == (2, "")
        assert said.startswith(f"python -m {program}: error: {named}: this address holds "), said
        assert said.count("\n") == 1
        assert KEY not in said
        assert "hidden" not in said
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "environment",
    [
        {"BILP_STORAGE": LOGIN},
        {"BILP_STORAGE": "s3://bucket/prefix", "AWS_ENDPOINT_URL": f"http://{KEY}:hidden@127.0.0.1:9"},
    ],
    ids=lambda environment: "-".join(environment),
)
def test_nothing_of_the_environment_is_repeated_or_kept(tmp_path: Path, template: Path, environment: dict[str, str]) -> None:
    another_home(template, tmp_path / "home")
    done = refused(tmp_path, **environment)
    assert done.returncode == 1, done.stderr
    assert "holds a login, so it is not repeated here" in done.stderr
    assert (tmp_path / "home" / "prefect.db").exists()
    assert traces(tmp_path, done) == []


@pytest.mark.parametrize(
    "parameters",
    [{"config": {"dataset": "folder", "ingest": {"uri": LOGIN}}}, {"root": LOGIN}, {"root": Path(LOGIN)}, {"config": {"datasett": SIGNED}}],
)
def test_a_flow_refuses_before_prefect_hears_of_it(
    parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a server was asked for")

    monkeypatch.setattr(server, "reachable", never)
    for attempt in (lambda: pipeline(**parameters), lambda: pipeline.validate_parameters(parameters)):
        with pytest.raises(ImpossibleUri) as caught:
            attempt()
        assert "hidden" not in str(caught.value).lower()
    assert "hidden" not in caplog.text.lower()


@pytest.mark.parametrize("address", [LOGIN, SIGNED, f"s3:/{KEY}:{WORD}@bucket", "https://example.org/x?sig=hidden"])
def test_a_form_is_refused_before_a_run_is_made(address: str) -> None:
    """By Prefect's server, which would keep what was handed in."""
    forms: list[tuple[Any, dict[str, Any]]] = [
        (pipeline, {"config": {"dataset": "folder", "ingest": {"uri": address}}}),
        (pipeline, {"config": {}, "root": address}),
        (ingest, {"config": {"source": "folder", "uri": address}}),
    ]
    for flow, parameters in forms:
        schema = parameter_schema(flow).model_dump_for_openapi()
        assert list(validate(parameters, copy.deepcopy(schema)))
    right = {"config": {"dataset": "folder", "ingest": {"uri": "s3://bucket/photos@2x"}}, "root": "/data/store"}
    assert list(validate(right, copy.deepcopy(parameter_schema(pipeline).model_dump_for_openapi()))) == []
