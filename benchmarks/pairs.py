"""python -m benchmarks.pairs --pairs 10 --s3-pairs 10 --python .venv/bin/python --python /other/bin/python

Whether two versions of the code can work on one storage at the same time: pairs of whole pipelines on digits, started together on an
empty storage, from two checkouts that differ by a commit, one with one thread and one with two, and where several interpreters
are given (other Pythons, other versions of PyTorch) in turns with each of them.

After each pair a third run looks at what they left. A line per pair: exit statuses of the two and of the third, whether the third
wrote anything, artifacts (and how many each side made), those with a file that is missing or not what the manifest says, files
that no manifest names, files under another name than their own. Ends with status 1 unless all is as it should be. Folders are on
$TMPDIR; S3 is the server of the tests.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilp.artifacts.artifact import Artifact, find
from bilp.artifacts.manifest_file import MANIFEST
from bilp.config.nested import leaves
from bilp.errors import BilpError
from bilp.storage import objects
from bilp.storage.verification import digest
from deployments.state_folder import REPOSITORY

LIMIT = 900.0
BUCKET = "pairs"
KEYS = {"AWS_ACCESS_KEY_ID": "pairs:runs", "AWS_SECRET_ACCESS_KEY": "pairs-of-this-benchmark"}
CONFIGURATION: dict[str, Any] = {
    "dataset": "digits",
    "score": {"trials": 2, "epochs": 1, "init_epochs": 1, "network": {"width": 8}},
    "reselect": {"candidates_per_class": 12},
    "distill": {"iterations": 8, "rounds": 4, "batch_real": 16, "network": {"width": 8}},
    "evaluate": {"seeds": 2, "epochs": 4, "full_epochs": 1, "networks": [{"width": 8}]},
}
OPTIONS = [f"--{path}={value if isinstance(value, str) else json.dumps(value)}" for path, value in leaves(CONFIGURATION)]


@dataclass(frozen=True)
class Side:
    """One of a pair: a checkout, an interpreter and a number of threads."""

    checkout: Path
    python: str
    threads: int

    def start(self, root: str, home: Path, options: Sequence[str] = OPTIONS) -> subprocess.Popen[str]:
        """The pipeline in a process of its own; its output goes to a file in `home`, which does not exist yet."""
        home.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BILP_"))},
            "PREFECT_HOME": str(home / "prefect"),
            "BILP_STORAGE": root,
            "BILP_CACHE": str(home / "cache"),
            "BILP_DEVICE": "cpu",
            "OMP_NUM_THREADS": str(self.threads),
        }
        command = [self.python, "-m", "flows.pipeline", *options]
        with (home / "log").open("w") as log:
            return subprocess.Popen(command, cwd=self.checkout, env=environment, stdout=log, stderr=log, text=True)


@dataclass(frozen=True)
class Outcome:
    """What a pair left."""

    exits: tuple[int, int]
    later: int
    """Exit status of the third run."""
    wrote: bool
    """Whether the third run changed anything."""
    artifacts: int
    makers: tuple[int, ...]
    """How many of them each checkout made."""
    damaged: tuple[str, ...]
    stray: tuple[str, ...]
    renamed: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.exits == (0, 0) and self.later == 0 and not (self.wrote or self.damaged or self.stray)

    @property
    def line(self) -> str:
        """The row of the table."""
        return (
            f"exit {self.exits[0]} {self.exits[1]}, later {self.later}, wrote {'something' if self.wrote else 'nothing'}, "
            f"{self.artifacts} artifacts ({' + '.join(map(str, self.makers))}), {len(self.damaged)} damaged, "
            f"{len(self.stray)} stray, {self.renamed} renamed, {self.seconds:.0f} s"
        )


def run_pair(sides: Sequence[Side], root: str, folder: Path) -> Outcome:
    """Start both at once, wait for both, and look at the storage as a third run of the first side finds and leaves it."""
    began = time.monotonic()
    running = [side.start(root, folder / f"side-{number}") for number, side in enumerate(sides)]
    first, second = (process.wait(LIMIT) for process in running)
    before = stored(root)
    later = sides[0].start(root, folder / "later").wait(LIMIT)
    artifacts = artifacts_in(root, before)
    commits = Counter(str(artifact.manifest.provenance["commit"]) for artifact in artifacts)
    entries = [entry for artifact in artifacts for entry in artifact.manifest.files.values()]
    named = {artifact.place(name) for artifact in artifacts for name in artifact.manifest.files}
    homes = tuple(f"{artifact.uri}/" for artifact in artifacts)
    below = {f"{root}/{name}" for name in before}
    stray = [uri for uri in sorted(below - named) if uri.startswith(homes) and not uri.endswith((MANIFEST, "run.json"))]
    return Outcome(
        exits=(first, second),
        later=later,
        wrote=stored(root) != before,
        artifacts=len(artifacts),
        makers=tuple(commits.values()),
        damaged=tuple(filter(None, map(damage, artifacts))),
        stray=tuple(stray),
        renamed=sum(getattr(entry, "stored", None) is not None for entry in entries),
        seconds=time.monotonic() - began,
    )


def stored(root: str) -> dict[str, str]:
    """Digests of all files below a storage root by name, less those that tell of runs rather than results."""
    return {name: digest(objects.read(f"{root}/{name}")) for name in _names(root)}


def artifacts_in(root: str, names: Mapping[str, str]) -> list[Artifact]:
    """The artifact of every manifest."""
    found = []
    for name in sorted(names):
        if name.endswith(f"/{MANIFEST}"):
            uri = f"{root}/{name}".removesuffix(f"/{MANIFEST}")
            kind = json.loads(objects.read(f"{uri}/{MANIFEST}"))["kind"]
            artifact = find(uri, kind)
            assert artifact is not None
            found.append(artifact)
    return found


def damage(artifact: Artifact) -> str | None:
    """What is wrong with the files of an artifact, read from the storage itself."""
    try:
        artifact.check_sizes()
        for name in artifact.manifest.files:
            artifact.read(name)
    except BilpError as error:
        return str(error)
    return None


def _names(root: str, below: str = "") -> Iterator[str]:
    for name in objects.children(f"{root}/{below}".rstrip("/")):
        path = f"{below}{name}"
        try:
            objects.size(f"{root}/{path}")
        except BilpError:
            yield from _names(root, f"{path}/")
        else:
            yield path


def checkouts(folder: Path, revisions: Sequence[str]) -> list[Path]:
    """Clones of this repository, the second a commit ahead of the first by a comment unless two revisions are given."""
    made = []
    for number in range(2):
        target = folder / f"checkout-{number}"
        _git(folder, "clone", "--quiet", "--shared", str(REPOSITORY), str(target))
        _git(target, "checkout", "--quiet", "--detach", revisions[min(number, len(revisions) - 1)])
        if number and len(revisions) == 1:
            with (target / "bilp" / "seeds.py").open("a") as file:
                file.write("# A comment.\n")
            _git(target, "-c", "user.name=pairs", "-c", "user.email=pairs@localhost", "commit", "--quiet", "-am", "A comment")
        made.append(target)
    return made


def _git(folder: Path, *command: str) -> None:
    subprocess.run(["git", *command], cwd=folder, check=True)


@contextmanager
def s3_server(folder: Path) -> Iterator[None]:
    """The tests' S3 server; inside, the AWS_* variables of this process lead to its bucket."""
    import s3fs

    python = os.environ.get("BILP_SWIFT_PYTHON") or str(REPOSITORY / ".venv-s3" / "bin" / "python")
    server = [python, str(REPOSITORY / "tests" / "s3" / "swift_server.py"), "--dir", str(folder), "--port", "0", "--exit-with-parent"]
    environment = {**os.environ, **KEYS}
    with (
        (folder.parent / "s3.log").open("w") as log,
        subprocess.Popen(server, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            os.environ.update(KEYS, AWS_ENDPOINT_URL=endpoint, AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
            s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True).mkdir(BUCKET)
            yield
        finally:
            process.kill()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10, help="pairs on a folder (default %(default)s)")
    parser.add_argument("--s3-pairs", type=int, default=0, help="pairs on S3 (default %(default)s)")
    parser.add_argument("--python", action="append", default=[], help="an interpreter; may be repeated (default: this one)")
    parser.add_argument("--revision", action="append", default=[], help="of the checkouts; may be given twice (default HEAD)")
    parser.add_argument("--keep", action="store_true", help="leave storages and logs where they are")
    return parser.parse_args()


def main() -> None:
    """Run the pairs and print a line for each."""
    arguments = _arguments()
    pythons = arguments.python or [sys.executable]
    bad = 0
    with _folder(arguments.keep) as name:
        folder = Path(name)
        print(f"# below {folder}", flush=True)
        clones = checkouts(folder, arguments.revision or ["HEAD"])
        (folder / "s3").mkdir()
        with s3_server(folder / "s3") if arguments.s3_pairs else nullcontext():
            for number in range(arguments.pairs + arguments.s3_pairs):
                place = folder / f"pair-{number:02d}"
                place.mkdir()
                on_s3 = number >= arguments.pairs
                root = f"s3://{BUCKET}/{place.name}" if on_s3 else str(place / "storage")
                choice = list(itertools.combinations_with_replacement(pythons, 2))[::-1]
                chosen = choice[number % len(choice)]
                threads = (1, 2) if number % 2 == 0 else (2, 1)
                sides = [Side(*each) for each in zip(clones, chosen, threads, strict=True)]
                outcome = run_pair(sides, root, place)
                bad += not outcome.good
                told = " | ".join(f"{side.python} {side.threads} thread(s)" for side in sides)
                print(f"{number + 1:2d} {'S3' if on_s3 else 'folder'}: {outcome.line}; {told}", flush=True)
                for problem in (*outcome.damaged, *outcome.stray):
                    print(f"     {problem}", flush=True)
    print(f"{arguments.pairs + arguments.s3_pairs} pairs, {bad} not as they should be")
    sys.exit(bad > 0)


@contextmanager
def _folder(keep: bool) -> Iterator[str]:
    if keep:
        yield tempfile.mkdtemp(prefix="pairs-")
    else:
        with tempfile.TemporaryDirectory(prefix="pairs-") as name:
            yield name


if __name__ == "__main__":
    main()
