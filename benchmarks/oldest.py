"""python -m benchmarks.oldest check

Whether the lower bounds of pyproject.toml are versions that the tests have passed with, as `tests/oldest.txt` says.

`check` ends with status 1 and one line for each bound that is not (`make lint`). `constraints` prints what pip has to install to test
them, `record` writes the file, from the environment that it runs in; both are for `benchmarks/oldest.sh`.
"""

from __future__ import annotations

import platform
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RECORD = REPOSITORY / "tests" / "oldest.txt"
PACKAGES = ("torch", "torchvision")
"""Whose oldest versions are tested: what changes from one to the next are results, or whether there is one."""
HEADER = "# The oldest versions with which the tests passed; written by benchmarks/oldest.sh, compared with pyproject.toml by `make lint`."


def bounds(pyproject: str) -> dict[str, str]:
    """The lower bound of each of the packages, from the text of pyproject.toml. Raises ValueError if one has none."""
    found = {}
    for requirement in tomllib.loads(pyproject)["project"]["dependencies"]:
        name, _, rest = re.match(r"([A-Za-z0-9_.-]+)(\[[^]]*\])?(.*)", requirement).groups()  # type: ignore[union-attr]
        lower = re.search(r">=\s*([0-9.]+)", rest)
        if name in PACKAGES and lower:
            found[name] = lower[1]
    missing = [name for name in PACKAGES if name not in found]
    if missing:
        raise ValueError(f"pyproject.toml gives no lower bound (>=) of {', '.join(missing)}")
    return found


def passed_versions(record: str) -> dict[str, str]:
    """The versions that a record names."""
    lines = [line.split(maxsplit=1) for line in record.splitlines() if line and not line.startswith("#")]
    return {name: value for name, value in lines if name in PACKAGES}


def disagreements(bound: Mapping[str, str], passed: Mapping[str, str]) -> list[str]:
    """A line for every package whose bound is not the release that was tested: 2.11 is tested by 2.11.0 and by 2.11.1, not by 2.12.0."""
    return [
        f"pyproject.toml allows {name} from {lower} on, but {RECORD.name} says that {passed.get(name, 'nothing')} was tested: "
        "run benchmarks/oldest.sh, or set the bound to what was tested"
        for name, lower in bound.items()
        if not f"{passed.get(name, '').partition('+')[0]}.".startswith(f"{lower}.")
    ]


def recorded(outcome: str, tests: Sequence[str]) -> str:
    """The record of a run in this environment: `outcome` is the last line that pytest printed."""
    counts = ", ".join(re.findall(r"\d+ (?:passed|skipped)", outcome))
    if not counts or re.search(r"failed|error", outcome):
        raise ValueError(f"no record of a run that ended so: {outcome}")
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    return "\n".join([HEADER, *versions, f"python {platform.python_version()}", f"outcome {counts}: {' '.join(tests)}", ""])


def main(arguments: Sequence[str]) -> None:
    bound = bounds((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    match arguments:
        case ["check"]:
            wrong = disagreements(bound, passed_versions(RECORD.read_text(encoding="utf-8")))
            sys.exit("\n".join(wrong) or None)
        case ["constraints"]:
            print("\n".join(f"{name}=={lower}.*" for name, lower in bound.items()))
        case ["record", outcome, *tests]:
            RECORD.write_text(recorded(outcome, tests), encoding="utf-8")
        case _:
            sys.exit("usage: python -m benchmarks.oldest check | constraints | record OUTCOME TESTS...")


if __name__ == "__main__":
    main(sys.argv[1:])
