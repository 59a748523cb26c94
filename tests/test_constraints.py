"""What the container image installs: each package in one version with its checksums, and all that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = (REPOSITORY / "deployments" / "constraints.txt").read_text(encoding="ascii")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = re.compile(r"([a-z0-9-]+)==([0-9][\w.+!-]*) ((?:--hash=sha256:[0-9a-f]{64} ?)+)")


def pins() -> dict[str, Version]:
    lines = CONSTRAINTS.replace("\\\n", " ").splitlines()
    found = [PINNED.fullmatch(" ".join(line.split())) for line in lines if not line.startswith("#")]
    assert all(found), "nothing but versions with checksums: no address of an index, no option, no local file"
    named = {match[1]: Version(match[2]) for match in found if match}
    assert len(named) == len(found), "a package is there once"
    return named


def asked_for() -> list[Requirement]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    brought = Requirement(*extras["all"]).extras
    listed = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    listed += [text for extra in ("kubernetes", *sorted(brought)) for text in extras[extra]]
    return [Requirement(text) for text in listed]


def unmet(requirement: Requirement, pinned: dict[str, Version]) -> bool:
    pin = pinned.get(canonicalize_name(requirement.name))
    return pin is None or not requirement.specifier.contains(pin, prereleases=True)


def test_it_has_what_the_project_asks_for() -> None:
    """What this needs in turn is checked where the image is built, by `pip check`."""
    pinned = pins()
    assert [str(each) for each in asked_for() if unmet(each, pinned)] == [], "run `make constraints`"
    assert unmet(Requirement("prefect>=99"), pinned)
    assert unmet(Requirement("not-there"), pinned)


def test_pillow_and_what_else_reads_what_strangers_wrote_begins_at_versions_that_were_mended() -> None:
    """SECURITY.md names them, and why."""
    optional = [Requirement(text) for texts in PROJECT["project"]["optional-dependencies"].values() for text in texts]
    floors = {each.name: str(each.specifier) for each in (*asked_for(), *optional)}
    told = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([0-9.]+) \|", told, flags=re.MULTILINE)
    assert {"pillow", "torch", "filelock", "jinja2", "prefect"} <= {name for name, _ in rows}
    for name, version in rows:
        lowest = next(part[2:] for part in floors[name].split(",") if part.startswith(">="))
        assert Version(lowest) >= Version(version), f"{name}: SECURITY.md says that versions before {version} are not safe"


def test_the_image_installs_that_and_nothing_else() -> None:
    lines = (REPOSITORY / "deployments" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    installs = [" ".join(step.split()) for line in lines if line.startswith("RUN") for step in line.split("&&") if "pip install" in step]
    assert len(installs) == 2
    for step in installs:
        assert "--no-deps" in step
    assert "--require-hashes" in installs[0]
    assert installs[0].endswith("--requirement deployments/constraints.txt")
    assert "--no-build-isolation" in installs[1], "setuptools is one of the packages with a checksum"
    assert "pip check" in " ".join(lines), "nothing that these need is missing"


def test_secrets_that_lie_in_the_checkout_do_not_enter_the_image() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything stays outside but what is named"
    assert rules.index("deployments/*.env") > rules.index("!deployments"), "later lines win"
    copied = re.findall(r"^COPY (.*) \S+$", (REPOSITORY / "deployments" / "Containerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    top = {name.partition("/")[0] for names in copied for name in names.split()}
    assert top == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
