"""The package of docs/plugins.md in the whole pipeline: installed, killed and resumed, in another version, and uninstalled.

Whatever needs it runs in processes of its own; this process never has it, as a machine where it is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import toy_package
from prefect_database import another_home

from bilp.artifacts.artifact import find, open_artifact
from bilp.artifacts.manifest_file import MANIFEST
from bilp.artifacts.signing import KEY
from bilp.config import CRITERIA, METHODS, PipelineConfig
from bilp.config.explain import problems
from bilp.distill import load_synthetic, open_run
from bilp.errors import PluginMissing
from bilp.exchange import export_set
from bilp.maintenance.sign_storage import sign_all
from bilp.registry import plugins_in

REPOSITORY = toy_package.REPOSITORY
KILLER = REPOSITORY / "tests" / "flows" / "run_and_kill.py"
TELLER = REPOSITORY / "tests" / "flows" / "run_and_tell.py"
PATIENCE = 300

SETTINGS = {
    "dataset": "toy_stripes",
    "method": "toy",
    "prune.criterion": "toy_spread",
    "keep": 0.5,
    "distill.plugin.spread": 0.25,
    "distill.network": "toy_linear",
    "distill.iterations": 6,
    "distill.rounds": 3,
    "distill.batch_real": 16,
    "score.trials": 2,
    "score.epochs": 3,
    "score.network.width": 8,
    "reselect.candidates_per_class": 12,
    "evaluate.networks": "toy_linear",
    "evaluate.seeds": 2,
    "evaluate.epochs": 4,
    "evaluate.full_epochs": 1,
}
OPTIONS = [f"--{name}={value}" for name, value in SETTINGS.items()]
OURS_ALONE = {"dataset", "score_trial", "predictions"}
LISTED = {"suspects"}
"""Without settings of the package: the parents of a list of suspects name it."""
"""Kinds of which no entry of the package is a part; the pixels alone determine a data set, whatever read them."""


@dataclass(frozen=True)
class Machine:
    """Where the package is installed in some versions, each for itself, with a storage and a Prefect home."""

    root: Path
    home: Path
    versions: dict[str, Path]

    def run(self, version: str | None, *command: str) -> subprocess.CompletedProcess[str]:
        """A program in a process of its own, with the package in this version, or without it."""
        own = {"PREFECT_HOME": str(self.home), "BILP_STORAGE": str(self.root)}
        own |= {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *([str(self.versions[version])] if version else [])])}
        environment = {name: value for name, value in os.environ.items() if name not in ("PREFECT_API_URL", "PYTHONPATH")} | own
        return subprocess.run(
            [sys.executable, *command], env=environment, cwd=self.root.parent, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def outcomes(self, version: str) -> dict[str, str]:
        """The pipeline; how each of its tasks ended."""
        file = self.root.with_name("outcomes.json")
        done = self.run(version, str(TELLER), "flows.pipeline", str(file), *OPTIONS)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(file.read_bytes())
        return found

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Every manifest by the URI of its artifact."""
        return {str(path.parent): json.loads(path.read_bytes()) for path in sorted(self.root.rglob(MANIFEST))}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Machine:
    folder = tmp_path_factory.mktemp("plugins")
    versions = {version: toy_package.install(folder / f"sources {version}", folder / version, version) for version in ("1.5", "1.6")}
    return Machine(folder / "store", another_home(template, folder / "home"), versions)


@pytest.fixture(scope="module")
def done(machine: Machine) -> Iterator[tuple[dict[str, str], dict[str, dict[str, Any]]]]:
    """Outcomes and manifests of a pipeline that was killed in a round of adaptive pruning and started again."""
    killed = machine.run("1.5", str(KILLER), "flows.pipeline", "distill bilp round 2/3", "1", *OPTIONS)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(machine.root.glob("runs/*/synthetic")), "the run before it is finished"
    yield machine.outcomes("1.5"), machine.manifests()


def facts(machine: Machine, kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(uri, manifest) for uri, manifest in machine.manifests().items() if manifest["kind"] == kind]


def test_a_killed_pipeline_goes_on_from_its_checkpoints(done: tuple[dict[str, str], dict[str, Any]]) -> None:
    outcomes, _ = done
    reached = list(outcomes).index("distill bilp round 2/3")
    assert set(list(outcomes.values())[:reached]) == {"there already"}
    assert set(list(outcomes.values())[reached:]) == {"done"}
    assert {"ingest toy_stripes", "prune by toy_spread", "reselect bilp round 1/3", "evaluate bilp 0", "report"} <= outcomes.keys()


def test_everything_that_the_package_had_a_part_in_names_it(machine: Machine, done: tuple[dict[str, str], dict[str, Any]]) -> None:
    _, manifests = done
    part = {uri: plugins_in(manifest["config"]) for uri, manifest in manifests.items()}
    named = {uri for uri, found in part.items() if found == {"bilp-toy": "1.5"}}
    assert {manifests[uri]["kind"] for uri in manifests.keys() - named} == OURS_ALONE | LISTED | {"score_summary"}
    assert named == {uri for uri, manifest in manifests.items() if manifest["provenance"].get("bilp-toy") == "1.5"}
    ours, theirs = (sorted(uri for uri, _ in facts(machine, "score_summary") if (uri in named) is own) for own in (False, True))
    assert len(ours) == len(theirs) == 1, "scores by the package's criterion lie beside those of our own"


def test_adaptive_pruning_measured_effects_through_the_defaults_of_a_matching(
    machine: Machine, done: tuple[dict[str, str], dict[str, Any]]
) -> None:
    reselections = [manifest["facts"] for _, manifest in facts(machine, "reselect")]
    assert len(reselections) == 3
    assert all(0 < each["dropped_share"] < 1 and each["score"] == "ite" for each in reselections)


def test_the_page_says_what_the_entries_say(machine: Machine, done: tuple[dict[str, str], dict[str, Any]]) -> None:
    (page,) = machine.root.glob("reports/*/report.html")
    text = page.read_text(encoding="utf-8")
    for words in ("Stripes, moment matching (toy), 1 image per class", "how much its loss varies from pass to pass", "bilp-toy"):
        assert words in text
    assert "--distill.plugin.spread 0.25" in text
    assert "{'name'" not in text
    assert '{"name": "toy"' not in text


def test_settings_forms_and_units_know_it_and_its_code_is_imported_for_those_who_ask(machine: Machine) -> None:
    program = """
import sys
import bilp.config
from bilp.config import NetworkConfig, PipelineConfig
assert not any(name.startswith("bilp_toy") for name in sys.modules), "settings alone need names alone"
PipelineConfig(); NetworkConfig(name="mlp")
assert not any(name.startswith("bilp_toy") for name in sys.modules), "other entries need none of this package"
import json
from flows.pipeline import pipeline
form = json.dumps(pipeline.parameters.model_dump(mode="json"))
known = json.dumps(PipelineConfig.model_json_schema())
assert "torch" not in sys.modules or "bilp_toy.matching" not in sys.modules
sys.stdout.write(json.dumps([[name in text for name in sys.argv[1:]] for text in (form, known)]))
"""
    names = ['"toy"', '"toy_spread"', '"toy_stripes"', '"toy_linear"', "Weight of the second moments"]
    asked = machine.run("1.5", "-c", program, *names)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == [[True] * len(names)] * 2
    explained = machine.run("1.5", "-m", "flows.pipeline", *OPTIONS, "--explain")
    rows = {line.split()[0]: line.split()[1:] for line in explained.stdout.splitlines()}
    assert rows["distill.method"] == ["toy", "dial", "method"]
    assert rows["distill.plugin.spread"] == ["0.25", "given"]
    assert rows["distill.learning_rate"][:4] == ["1.0", "method", "toy", "at"]


def test_another_version_computes_anew_what_the_package_had_a_part_in_and_nothing_else(
    machine: Machine, done: tuple[dict[str, str], dict[str, dict[str, Any]]]
) -> None:
    _, before = done
    outcomes = machine.outcomes("1.6")
    assert {label for label, outcome in outcomes.items() if outcome == "there already"} == {
        "score trial 0",
        "score trial 1",
        "summarize 2 trials",
    }
    after = machine.manifests()
    assert {uri: after[uri] for uri in before} == before
    new = [manifest for uri, manifest in after.items() if uri not in before]
    assert {manifest["kind"] for manifest in new} == {manifest["kind"] for manifest in before.values()} - OURS_ALONE
    assert all(manifest["provenance"]["bilp-toy"] == "1.6" for manifest in new if manifest["kind"] not in LISTED)


def test_without_the_package_its_results_are_listed_read_exported_and_signed(
    machine: Machine, done: tuple[dict[str, str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifests = done
    for uri, manifest in manifests.items():
        artifact = find(uri, manifest["kind"], manifest["key"])
        assert artifact is not None
        artifact.check_content()
    synthetic = next(uri for uri, manifest in manifests.items() if manifest["kind"] == "synthetic")
    assert open_artifact(synthetic, "synthetic").fact("method") == "toy"
    assert load_synthetic(synthetic)[0].shape == (2, 1, 8, 8)
    assert export_set(synthetic, "parquet", str(tmp_path / "exported"))
    copy = tmp_path / "store"
    shutil.copytree(machine.root, copy)
    monkeypatch.setenv(KEY, "ab" * 32)
    assert len(sign_all(str(copy))) >= len(manifests) + len(list(copy.glob("runs/*/_run.json")))
    assert open_artifact(synthetic.replace(str(machine.root), str(copy)), "synthetic").fact("method") == "toy"


def test_without_the_package_what_needs_it_is_refused_in_one_line(
    machine: Machine, done: tuple[dict[str, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manifests = done
    assert "toy" not in METHODS
    assert "toy_spread" not in CRITERIA
    run = next(uri for uri, manifest in manifests.items() if manifest["kind"] == "synthetic").removesuffix("/synthetic")
    with pytest.raises(PluginMissing, match="_run.json: method 'toy' of package bilp-toy 1.5 is not installed: install it") as caught:
        open_run(run)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError) as wrong:
        PipelineConfig.model_validate({"method": "toy"})
    assert len(problems(wrong.value, {"method": "toy"})) == 1  # type: ignore[arg-type]

    refused = machine.run(None, "-m", "flows.pipeline", *OPTIONS)
    assert refused.returncode == 2
    assert all(line.startswith("python -m flows.pipeline: error: ") for line in refused.stderr.splitlines())
    assert machine.manifests().keys() >= manifests.keys()


@pytest.fixture(scope="module")
def submitted(machine: Machine, done: tuple[dict[str, str], dict[str, Any]]) -> dict[str, Any]:
    """Arguments of a unit as a pipeline of a process with the package submits them to a worker."""
    program = """
import json, sys
from bilp.config import EvaluateConfig
from flows.units.table import evaluate_baseline
config = EvaluateConfig(networks=("toy_linear",), seeds=2)
call = evaluate_baseline.call(sys.argv[2], dataset_uri=sys.argv[1], baseline="random", ipc=1, config=config)
print(json.dumps(call.parameters))
"""
    dataset = next(uri for uri, manifest in done[1].items() if manifest["kind"] == "dataset")
    asked = machine.run("1.5", "-c", program, dataset, str(machine.root))
    assert asked.returncode == 0, asked.stderr
    arguments: dict[str, Any] = json.loads(asked.stdout)
    return arguments


@pytest.mark.parametrize(
    ("version", "said"), [(None, "is not installed: install it"), ("1.6", "and 1.6 is installed: install that version")]
)
def test_a_worker_that_lacks_the_package_or_has_another_version_refuses_a_unit_in_one_line(
    version: str | None, said: str, machine: Machine, submitted: dict[str, Any], done: tuple[dict[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    """One unit is told the settings, the other a run of which nothing is done yet."""
    _, manifests = done
    finished = next(Path(uri).parent for uri, manifest in manifests.items() if manifest["kind"] == "synthetic")
    begun = tmp_path / "store" / finished.relative_to(machine.root)
    begun.mkdir(parents=True)
    shutil.copy(finished / "_run.json", begun)
    program = """
import json, sys
from flows.units.table import distill_run, evaluate_baseline
run, root = sys.argv[2:]
for unit, arguments in ((evaluate_baseline, json.loads(sys.argv[1])), (distill_run, {"run_uri": run, "root": root})):
    try:
        unit(**arguments)
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""
    asked = machine.run(version, "-c", program, json.dumps(submitted), str(begun), str(tmp_path / "store"))
    assert asked.returncode == 0, asked.stderr
    told = [json.loads(line) for line in asked.stdout.splitlines() if line.startswith("[")]
    assert [name for name, _ in told] == ["PluginMissing", "PluginMissing"]
    assert all(said in text and "\n" not in text for _, text in told)
    assert told[0][1].startswith("network 'toy_linear' of package bilp-toy 1.5 ")
    assert "method 'toy' of package bilp-toy 1.5 " in told[1][1]
