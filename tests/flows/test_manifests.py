"""What a cluster is told: container file, compose file, Kubernetes manifests and job templates, prefect.yaml."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint
from prefect.workers.base import BaseJobConfiguration, BaseVariables
from tiny_pipeline import REPOSITORY

from bilp.allocator import ENVIRONMENT
from deployments import job_templates, register, worker
from flows.units.table import UNITS

FOLDER = REPOSITORY / "deployments"
PREFECT = yaml.safe_load((FOLDER / "prefect.yaml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
IMAGE = {"BILP_IMAGE": "registry.example.org/bilp:1"}
SECRET = re.compile(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY|SIGNING_KEY|CONNECTION_URL")

DEPLOYMENT_KEYS = {
    "enforce_parameter_schema",
    "name",
    "entrypoint",
    "tags",
    "description",
    "parameters",
    "schedules",
    "concurrency_limit",
    "work_pool",
}
SERVICE_KEYS = {
    *("image", "build", "restart", "command", "environment", "ports", "depends_on", "volumes", "healthcheck"),
    *("profiles", "deploy", "shm_size", "read_only", "cap_drop", "cap_add", "security_opt", "tmpfs", "networks", "user"),
}


@cache
def loaded(entrypoint: str) -> Flow[..., Any]:
    """The flow as a worker finds it; once, for Prefect executes the file each time."""
    return load_flow_from_entrypoint(str(REPOSITORY / entrypoint))


@pytest.mark.parametrize("deployment", PREFECT["deployments"], ids=lambda item: str(item["entrypoint"]))
def test_a_deployment_names_what_there_is(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= DEPLOYMENT_KEYS, "Prefect ignores other keys in silence"
    assert deployment.get("enforce_parameter_schema", True) == ("internal" not in deployment["tags"])
    assert set(deployment["work_pool"]) == {"name", "work_queue_name", "job_variables"}
    assert deployment["work_pool"]["name"] in register.POOLS
    assert deployment["work_pool"]["work_queue_name"] in register.QUEUES
    assert set(deployment["work_pool"]["job_variables"]) == {"stream_output", "env"}
    found = loaded(deployment["entrypoint"])
    found.validate_parameters(required(found.parameters.required) | asked(found) | deployment.get("parameters", {}))
    for schedule in deployment.get("schedules", []):
        assert schedule["active"] is False, "a schedule waits until somebody switches it on"
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        found.validate_parameters(schedule["parameters"])


def asked(found: Any) -> dict[str, Any]:
    """A value for each field that a form of `start/*` cannot do without."""
    fields = {"uri": "images", "recipe": "published/dc/cifar10-ipc1"}
    names = [name for form in found.parameters.definitions.values() if form["title"].endswith("Form") for name in form.get("required", [])]
    return {"config": {name: fields[name] for name in names}} if names else {}


def required(names: list[str]) -> dict[str, Any]:
    """Something valid for each parameter that a deployment leaves to whoever starts it."""
    distillation = {"iterations": 100}  # which its method would decide in a pipeline
    values: dict[str, Any] = {
        "config": distillation if "reselect" in names else {},
        "subject": {"baseline": "random"},
        "block": {"network": 0, "first": 0, "last": 1},
        "runs": {},
        "evaluation_uris": [],
        "selection_uri": None,
        "scores_uri": None,
    }
    values |= {
        "trial": 0,
        "parts": 1,
        "ipc": 1,
        "experiment": 0,
        "baseline": "full",
        "reselect": {},
        "network": {},
        "expert": 0,
        "shard": 0,
        "number": 0,
    }
    return {name: values.get(name, "somewhere") for name in names}


@pytest.mark.parametrize("deployment", PREFECT["deployments"], ids=lambda item: str(item["entrypoint"]))
def test_its_form_explains_every_field(deployment: dict[str, Any]) -> None:
    """What the UI's form shows: a description of every field, and a lower bound of every number but seeds, which may be any."""
    form = loaded(deployment["entrypoint"]).parameters.model_dump()
    models = [form, *form["definitions"].values()]
    fields = [(name, field) for model in models for name, field in model.get("properties", {}).items()]
    assert fields
    assert [name for name, field in fields if not field.get("description")] == []
    for name, field in fields:
        for kind in (field, *field.get("anyOf", [])):
            if kind.get("type") in ("integer", "number") and not name.endswith("seed"):
                assert {"minimum", "exclusiveMinimum"} & kind.keys(), name


def test_prefects_own_model_reads_the_file() -> None:
    read = PrefectYamlModel.model_validate(PREFECT)
    assert len(read.deployments) == len(PREFECT["deployments"])
    assert set(PREFECT) == {"name", "pull", "definitions", "deployments"}


def test_every_run_keeps_freed_memory_from_its_start() -> None:
    for item in PREFECT["deployments"]:
        assert ENVIRONMENT.items() <= item["work_pool"]["job_variables"]["env"].items()


def test_what_trains_networks_is_routed_to_gpus_and_nothing_else() -> None:
    pool = {item["entrypoint"]: item["work_pool"]["name"] for item in PREFECT["deployments"]}
    gpu = {entrypoint for entrypoint, name in pool.items() if name == "gpu"}
    names = {loaded(entrypoint).name for entrypoint in gpu}
    assert names == {*UNITS, "distill"}
    for item in PREFECT["deployments"]:
        execution = item["work_pool"]["job_variables"]["env"]["BILP_EXECUTION"]
        assert execution == ("local" if item["work_pool"]["name"] == "gpu" else "workers")


def test_a_machine_has_one_worker_for_each_gpu() -> None:
    workers = worker.plan(worker.POOLS, ["0", "3"], "box", 5, {})
    assert [(found.pool, found.limit, found.environment["CUDA_VISIBLE_DEVICES"]) for found in workers] == [
        ("cpu", 5, ""),
        ("gpu", 1, "0"),
        ("gpu", 1, "3"),
    ]
    assert len({found.name for found in workers}) == 3
    assert [found.environment for found in worker.plan(["gpu"], [], "box", 5, {})] == [{"CUDA_VISIBLE_DEVICES": "", "BILP_DEVICE": "cpu"}]


def test_workers_of_gpus_compute_there_deterministically_and_what_is_planned_is_for_them() -> None:
    """A variable that somebody has set goes first; without a GPU, settings are those of a CPU."""

    def told(gpus: list[str], **given: str) -> list[tuple[str | None, ...]]:
        names = ("BILP_DEVICE", "BILP_ARITHMETIC", "CUBLAS_WORKSPACE_CONFIG")
        return [tuple(found.environment.get(name) for name in names) for found in worker.plan(worker.POOLS, gpus, "box", 5, given)]

    assert told(["0"]) == [("cpu", "papers", None), ("cuda", None, ":4096:8")]
    assert told([]) == [("cpu", None, None), ("cpu", None, None)]
    assert told(["0"], BILP_DEVICE="cpu")[0] == ("cpu", None, None), "as in a rehearsal"
    assert told(["0"], BILP_ARITHMETIC="tf32", CUBLAS_WORKSPACE_CONFIG=":16:8") == [("cpu", "tf32", None), ("cuda", None, ":16:8")]


def test_the_compose_file_keeps_to_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_compose_file_hangs_together() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"database", "server", "objects", "bucket", "cpu-worker", "gpu-worker"}
    for service in services.values():
        assert set(service) <= SERVICE_KEYS
        assert set(service.get("depends_on", [])) <= set(services)
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in COMPOSE["volumes"]
        for published in service.get("ports", []):
            assert published.startswith("127.0.0.1:")
    example = (FOLDER / "compose.env.example").read_text(encoding="utf-8")
    asked, optional = (set(re.findall(rf"\$\{{(\w+):{mark}", json.dumps(COMPOSE))) for mark in (r"\?", "-"))
    assert asked == set(re.findall(r"^(\w+)=$", example, flags=re.MULTILINE)), "every variable is in the example, without a value"
    assert optional == set(re.findall(r"^# (\w+)=", example, flags=re.MULTILINE)), "those that may stay away are comments"


def settings(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str):
                yield name, value
            yield from settings(value)
    elif isinstance(node, list):
        for item in node:
            yield from settings(item)


def kubernetes() -> list[dict[str, Any]]:
    """Every document for a cluster."""
    files = sorted((FOLDER / "kubernetes").glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def test_no_secret_has_a_value_in_any_manifest() -> None:
    for content in (COMPOSE, PREFECT, *kubernetes()):
        for name, value in settings(content):
            if SECRET.search(name):
                assert "${" in value, f"{name} has a value"


def test_the_container_file_copies_what_there_is_and_runs_as_nobody_special() -> None:
    lines = (FOLDER / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert {step for step, _ in steps} == {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
    copied = [name for step, rest in steps if step == "COPY" for name in shlex.split(rest)[:-1]]
    assert all((REPOSITORY / name).exists() for name in copied)
    assert {"bilp", "tasks", "flows", "recipes", "deployments", "pyproject.toml"} <= set(copied)
    assert [rest for step, rest in steps if step == "USER"] == ["1000"], "a number, which Kubernetes can tell from root"
    assert not [rest for step, rest in steps if step in ("ENV", "ARG") and SECRET.search(rest)]


@pytest.mark.parametrize(("pool", "gpus"), [("gpu", 2), ("cpu", 0)])
def test_a_job_template_becomes_a_job(pool: str, gpus: int) -> None:
    """Prefect itself fills the template in, as its Kubernetes worker does."""

    class Configuration(BaseJobConfiguration):
        namespace: str
        job_manifest: dict[str, Any]
        pod_watch_timeout_seconds: int
        stream_output: bool

    template = job_templates.load(pool, IMAGE)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])
    assert set(BaseVariables.model_fields) - {"command"} <= used

    job = Configuration(**_filled(template, {"gpus": gpus} if gpus else {})).job_manifest
    assert (job["apiVersion"], job["kind"], job["spec"]["backoffLimit"]) == ("batch/v1", "Job", 0)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE["BILP_IMAGE"]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == (gpus or None)
    assert container["envFrom"] == [{"secretRef": {"name": "bilp-service"}}], "secrets reach a run as environment alone"
    assert {mount["name"] for mount in container.get("volumeMounts", [])} == {volume["name"] for volume in pod.get("volumes", [])}


def test_jobs_and_workers_keep_to_the_schema_of_kubernetes() -> None:
    command = ["prefect", "flow-run", "execute"]  # the worker adds the command and makes a list of the environment
    values = {"name": "run", "env": [{"name": "A", "value": "b"}]}
    jobs = [_filled(job_templates.load(pool, IMAGE), values)["job_manifest"] for pool in register.POOLS]
    for job in jobs:
        job["spec"]["template"]["spec"]["containers"][0]["args"] = command
    for document in (*jobs, *(document for document in kubernetes() if document["kind"] != "Kustomization")):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(jobs[0] | {"spec": {"template": {}, "gpus": 1}}, kubernetes_validate.latest_version(), strict=True)


def _filled(template: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    from prefect.utilities.templating import apply_values

    defaults = {name: item["default"] for name, item in template["variables"]["properties"].items() if "default" in item}
    filled: dict[str, Any] = apply_values(template["job_configuration"], defaults | values)
    return filled


def test_the_worker_on_kubernetes_may_do_what_it_needs() -> None:
    documents = list(yaml.safe_load_all((FOLDER / "kubernetes" / "worker.yaml").read_text(encoding="utf-8")))
    assert {document["kind"] for document in documents} == {"ServiceAccount", "Role", "RoleBinding", "Deployment"}
    by_kind = {document["kind"]: document for document in documents}
    accounts = [document["metadata"]["name"] for document in documents if document["kind"] == "ServiceAccount"]
    assert accounts == ["bilp-worker", "bilp-run"]
    assert by_kind["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "bilp-worker"}], "and runs may do nothing"
    assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
    rights = {(resource, verb) for rule in by_kind["Role"]["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert rights == {
        *(("jobs", verb) for verb in ("get", "list", "watch", "create", "delete")),
        *((resource, verb) for resource in ("pods", "pods/log") for verb in ("get", "list", "watch")),
    }
    pod = by_kind["Deployment"]["spec"]["template"]
    assert pod["metadata"]["labels"] == by_kind["Deployment"]["spec"]["selector"]["matchLabels"]
    assert pod["spec"]["serviceAccountName"] == "bilp-worker"
    assert {container["command"][4] for container in pod["spec"]["containers"]} == set(register.POOLS)
    for container in pod["spec"]["containers"]:
        settings = {item["name"]: item for item in container["env"]}
        assert "envFrom" not in container, "workers have no use for the keys of the object storage"
        assert {item["valueFrom"]["secretKeyRef"]["key"] for item in container["env"] if "valueFrom" in item} == {
            "PREFECT_API_URL",
            "PREFECT_API_AUTH_STRING",
        }
        reference = [settings[f"PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_{part}"]["value"] for part in ("NAME", "KEY")]
        assert reference == ["bilp-service", "PREFECT_API_AUTH_STRING"], "the login is not written into jobs"
        assert settings["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"]["value"] == "bilp", "which is where the role reaches"


def test_the_page_names_files_that_exist() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"deployments/[\w./-]+\w", page):
        assert (REPOSITORY / name).exists() or Path(name).suffix == ".env", name
