"""Fixtures for tests against a real S3 store: OpenStack Swift in one process, started once per test session.

`root` runs a test on a local folder and on S3; `s3_root` runs it on S3 alone. Both give an empty place of their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SERVER = REPOSITORY / "tests" / "s3" / "swift_server.py"
START_LIMIT_SECONDS = 60

_prefixes = itertools.count()


@dataclass(frozen=True)
class S3Server:
    """A running store; `bucket` is usable, `forgetful_bucket` ignores the condition of conditional writes."""

    endpoint: str
    access_key: str = "test:tester"
    secret: str = "test-secret"
    bucket: str = "artifacts"
    forgetful_bucket: str = "forgetful"

    def environment(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret}


def swift_python() -> Path:
    """The interpreter that has Swift; the test run fails, rather than skips, without it."""
    python = Path(os.environ.get("BILP_SWIFT_PYTHON") or REPOSITORY / ".venv-s3" / "bin" / "python")
    if not python.exists():
        pytest.fail(
            f"no interpreter with OpenStack Swift at {python}: run `make test` (or python3 -m venv .venv-s3 && "
            '.venv-s3/bin/pip install swift==2.38.3), set BILP_SWIFT_PYTHON, or leave these tests out with -m "not s3"',
            pytrace=False,
        )
    return python


def _await_ready(process: subprocess.Popen[str], log: Path) -> str:
    """The endpoint, which the server prints once it listens."""
    assert process.stdout is not None
    endpoint = process.stdout.readline().strip()
    if not endpoint:
        process.wait(START_LIMIT_SECONDS)
        pytest.fail(f"the S3 server did not start (exit {process.returncode}):\n{log.read_text()[-3000:]}", pytrace=False)
    return endpoint


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server and its two buckets; gone when the tests are, however they end."""
    python, folder = swift_python(), tmp_path_factory.mktemp("s3-server")
    log, plan = folder / "server.log", S3Server("")
    command: list[str | Path] = [
        python,
        SERVER,
        "--dir",
        folder / "data",
        "--port",
        "0",
        "--forgetful-bucket",
        plan.forgetful_bucket,
        "--exit-with-parent",
    ]
    keys = {"AWS_ACCESS_KEY_ID": plan.access_key, "AWS_SECRET_ACCESS_KEY": plan.secret}
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **keys}) as process,
    ):
        try:
            server = S3Server(_await_ready(process, log))
            _make_buckets(server)
            yield server
        finally:
            process.kill()


def _make_buckets(server: S3Server) -> None:
    import s3fs

    files = s3fs.S3FileSystem(
        endpoint_url=server.endpoint, key=server.access_key, secret=server.secret, skip_instance_cache=True, use_listings_cache=False
    )
    for bucket in (server.bucket, server.forgetful_bucket):
        files.mkdir(bucket)


@pytest.fixture
def s3_environment(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The usual variables point to the server, nothing else of the user's AWS set-up counts, and the cache is fresh."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    # The same values in every test, so that all of them share one client.
    settings = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "BILP_CACHE": str(tmp_path / "cache")}
    for name, value in {**settings, **s3_server.environment()}.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def s3_root(s3_environment: S3Server) -> str:
    """An empty s3:// URI."""
    return f"s3://{s3_environment.bucket}/test-{os.getpid()}-{next(_prefixes)}"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "store")
    uri: str = request.getfixturevalue("s3_root")
    return uri
