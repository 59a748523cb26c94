"""The login that a server makes and the folder that keeps it, who may read the files of a service, and addresses that hold a login."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_pipeline import REPOSITORY

from bilp.errors import BilpError, ConfigError, StorageError
from bilp.text.redaction import redacted
from deployments import repository, worker
from deployments.state_folder import settle
from flows.server import file_permissions, starting
from flows.server import home as prefect_home
from flows.server import login as server_login

pytestmark = pytest.mark.slow


def test_a_login_is_made_once_and_kept_for_its_owner(tmp_path: Path) -> None:
    login = server_login.provide(tmp_path)
    user, _, password = login.partition(":")
    assert user == "bilp" and len(password) > 40 and login.isascii()
    assert server_login.provide(tmp_path) == login
    file = tmp_path / "login"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    assert server_login.provide(tmp_path) != login, "others may have read it"
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    file.mkdir()
    with pytest.raises(BilpError, match="cannot be kept in .*login.*: set PREFECT_HOME to a folder where this user may write"):
        server_login.provide(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"login"}


def test_a_login_is_found_for_the_address_of_its_server_alone(tmp_path: Path) -> None:
    other, home = tmp_path / "other", tmp_path / "home"
    for folder in (other, home):
        folder.mkdir()
    server_login.provide(other)
    server_login.publish(other, "http://127.0.0.1:5000")
    login = server_login.provide(home)
    homes = (tmp_path / "nothing", other, home)
    assert server_login.find("http://127.0.0.1:4200/api", homes) is None
    server_login.publish(home, "http://127.0.0.1:4200")
    assert server_login.find("http://127.0.0.1:4200/api", homes) == login
    assert server_login.find("http://localhost:4200/api", homes) == login
    assert server_login.find("http://127.0.0.1:5000/api", homes) == server_login.provide(other)
    for url in (
        "http://127.0.0.1:4201/api",
        "http://127.0.0.2:4200/api",
        "http://[::1]:4200/api",
        "http://gpu-box:4200/api",
        "https://127.0.0.1:4200/api",
        "http://127.0.0.1/api",
        "http://127.0.0.1:x/api",
        "http://[::1:4200/api",
        "",
    ):
        assert server_login.find(url, homes) is None, url
    server_login.withdraw(home)
    assert server_login.find("http://127.0.0.1:4200/api", homes) is None
    assert server_login.provide(home) == login, "it is there for later starts"


def test_an_older_home_is_narrowed_with_all_that_it_holds(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "storage").mkdir(parents=True)
    for name in ("prefect.db", "storage/result"):
        (home / name).touch(0o644)
    (home / "storage" / "elsewhere").symlink_to(tmp_path)
    for folder in (home, home / "storage", tmp_path):
        folder.chmod(0o755)
    settle({"PREFECT_HOME": str(home)})
    assert {path.stat().st_mode & 0o777 for path in (home, home / "storage")} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in home.rglob("*") if path.is_file()} == {0o600}
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "what a link leads to is left alone"
    new = tmp_path / "a" / "new"
    settle({"PREFECT_HOME": str(new)})
    assert new.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch(0o644)
    for mode in (0o755, 0o1777, 0o710):
        tmp_path.chmod(mode)
        with pytest.raises(StorageError, match="others can look into .*: set PREFECT_HOME .*; or, if .* is nothing but that, chmod 700"):
            settle({"PREFECT_HOME": str(tmp_path)})
        assert tmp_path.stat().st_mode & 0o7777 == mode
    assert (tmp_path / "thesis.tex").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("given", ["", "9", "rwx", "01777", "-22", "0o22", "77777"])
def test_what_is_no_umask_is_refused(given: str) -> None:
    command = [sys.executable, "-m", "flows.ingest", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"BILP_UMASK": given}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert f"BILP_UMASK = {given!r} is no umask" in done.stderr


def test_workers_pass_their_umask_on_to_runs_and_keep_to_themselves_otherwise() -> None:
    before = os.umask(0o027)
    try:
        for environment, runs in (({}, 0o027), ({"BILP_UMASK": "002"}, 0o002)):
            os.umask(0o027)
            file_permissions.keep_private(environment)
            assert os.umask(0o077) == 0o077
            file_permissions.settle(environment)
            assert os.umask(0o077) == runs
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "address",
    [
        "https://robot:s3cr3t@host/x.git",
        "https://s3cr3t@host/x.git",
        "HTTPS://robot:s3cr3t@host/x.git",
        "http://robot:s3cr3t/with-slash@host/x.git",
        "https:robot:s3cr3t@host/x.git",
        "https://host/x.git?private_token=s3cr3t",
        "https://host/x.git#s3cr3t",
        "ssh://git:s3cr3t@host/x.git",
        "git+ssh://git:s3cr3t@host/x.git",
        "robot:s3cr3t@host:x.git",
        "robot:s3cr3t@host/x.git",
        "https://%72obot:s3cr3t%40@host/x.git",
    ],
)
def test_logins_to_git_are_not_registered(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BILP_REPOSITORY holds a user, a password or a token") as caught:
        repository.check(address)
    assert "s3cr3t" not in str(caught.value) and "host" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://host/x.git",
        "ssh://git@host:22/x.git",
        "git@host:group/x.git",
        "host:x.git",
        "/srv/git/a@b.git",
        "file:///srv/a@b",
        "../x",
    ],
)
def test_addresses_without_one_are(address: str) -> None:
    repository.check(address)


def test_every_program_of_the_service_refuses_such_a_repository_before_it_begins(tmp_path: Path) -> None:
    secret = {
        "BILP_REPOSITORY": "https://robot:s3cr3t@host/x.git",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_HOME": str(tmp_path),
    }
    for program in ("deployments.server", "deployments.register"):
        command = [sys.executable, "-m", program]
        done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | secret, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "BILP_REPOSITORY holds" in done.stderr and "s3cr3t" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "url",
    [
        "http://name:hunter2@host:4200/api",
        "http://hunter2@host/api",
        "name:hunter2@host:4200/api",
        "http://name:hunter2/x@host/api",
        "http://name:hunt@er2@host/api",
        "http://host/api?token=hunter2",
        "http://host/api#hunter2",
        "http://[hunter2/api",
        "http://name:hunter2",
        "http://",
    ],
)
def test_an_address_with_a_login_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="PREFECT_API_URL (holds a login|is no address)") as caught:
        server_login.check_address(url)
    assert "hunter2" not in str(caught.value)


def test_a_login_with_an_at_sign_is_hidden_to_its_end() -> None:
    line = starting.why("sqlalchemy.exc.ArgumentError: postgresql://prefect:hunt@er2@db/prefect refused\nConnect call failed", Path("home"))
    assert "er2" not in line and "db/prefect" in line
    assert redacted("s3://bucket/a@b and http://host/x", {}) == "s3://bucket/a@b and http://host/x"


def test_nobody_else_can_be_the_owner_of_a_home(tmp_path: Path) -> None:
    assert not prefect_home.is_open_to_others(tmp_path)
    if os.getuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        assert prefect_home.is_open_to_others(tmp_path)
        with pytest.raises(StorageError, match="belongs to this user"):
            settle({"PREFECT_HOME": str(tmp_path)})


def test_a_worker_waits_for_the_login_of_a_server_that_is_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path)}
    looks = iter([None, None, None, None, "user:password"])
    monkeypatch.setattr(worker, "_login", lambda environment: next(looks))
    monkeypatch.setattr(worker.time, "monotonic", itertools.count().__next__)
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: False)
    worker.await_login(environment, stop)
    assert list(looks) == [] and capsys.readouterr().err == "waiting for the server at http://127.0.0.1:9/api\n"
    worker.await_login(environment | {"PREFECT_API_URL": "http://10.0.0.1/api"}, stop)
    worker.await_login(environment | {server_login.CLIENT: "user:password"}, stop)
