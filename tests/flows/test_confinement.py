"""What every container may do, on Kubernetes and with compose: found by walking all that there is, so that a new one cannot lack it."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from tiny_pipeline import REPOSITORY

from deployments import job_templates, register

FOLDER = REPOSITORY / "deployments"
Content = dict[str, Any]

COMPOSE: Content = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
IMAGE = re.compile(r"bilp|\$\{BILP_[A-Z]+_IMAGE:-[a-z/]+:[\w.-]+\}")
"""Built here, or a tag in whose place the environment file can put a digest."""
STORED = (FOLDER / "kubernetes").glob("*.yaml")
CLUSTER: list[Content] = [found for file in sorted(STORED) for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
JOBS: list[Content] = [
    job_templates.load(pool, {"BILP_IMAGE": "registry.example.org/bilp:1"})["job_configuration"]["job_manifest"] for pool in register.POOLS
]


def pods(document: Any) -> Iterator[Content]:
    """Every pod specification in a document, whatever kind it is of."""
    if isinstance(document, dict):
        if "containers" in document:
            yield document
        for value in document.values():
            yield from pods(value)
    elif isinstance(document, list):
        for item in document:
            yield from pods(item)


def pod_problems(pod: Content) -> list[str]:
    """What a pod specification lacks."""
    context = pod.get("securityContext", {})
    problems = [
        *([] if context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0 else ["may run as root"]),
        *([] if context.get("seccompProfile") == {"type": "RuntimeDefault"} else ["may call the whole kernel"]),
        *([f"shares {name} with its node" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]),
        *([f"volume {volume['name']} is of the node" for volume in pod.get("volumes", []) if "emptyDir" not in volume]),
        *([] if pod.get("serviceAccountName", "default") != "default" else ["has the rights of everybody"]),
        *([] if pod.get("automountServiceAccountToken") is (pod.get("serviceAccountName") == "bilp-worker") else ["token"]),
        *([] if pod.get("enableServiceLinks") is False else ["is told of every service"]),
    ]
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        problems += [f"{container['name']}: {problem}" for problem in container_problems(container)]
        if pod.get("restartPolicy") != "Never":
            problems += [
                f"{container['name']}: no {name}" for name in ("startupProbe", "readinessProbe", "livenessProbe") if name not in container
            ]
    return problems


def container_problems(container: Content) -> list[str]:
    """What a container of a pod lacks."""
    context, resources = container.get("securityContext", {}), container.get("resources", {})
    amounts = {kind: set(resources.get(kind, ())) for kind in ("requests", "limits")}
    return [
        *([] if context.get("allowPrivilegeEscalation") is False and not context.get("privileged") else ["may become more"]),
        *([] if context.get("readOnlyRootFilesystem") is True else ["may change its programs"]),
        *([] if context.get("capabilities") == {"drop": ["ALL"]} else ["has capabilities"]),
        *([f"no {kind}" for kind, names in amounts.items() if not {"cpu", "memory", "ephemeral-storage"} <= names]),
        *([] if container.get("imagePullPolicy") == "Always" else ["takes an image that somebody left on the node"]),
        *([] if container["image"].startswith(("registry.invalid/", "registry.example.org/")) else ["image of a stranger"]),
        *([] if {"/tmp", "/state"} <= {mount["mountPath"] for mount in container.get("volumeMounts", [])} else ["nowhere to write"]),
    ]


PODS = [pod for document in (*CLUSTER, *JOBS) for pod in pods(document)]


def test_every_pod_is_confined() -> None:
    assert len(PODS) == 3, "workers, and the jobs of two pools"
    assert [problem for pod in PODS for problem in pod_problems(pod)] == []


POD_MISTAKES: dict[str, Callable[[Content], Any]] = {
    "may run as root": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "may call the whole kernel": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "shares hostNetwork with its node": lambda pod: pod.update(hostNetwork=True),
    "volume x is of the node": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "has the rights of everybody": lambda pod: pod.pop("serviceAccountName"),
    "token": lambda pod: pod.pop("automountServiceAccountToken"),
    "is told of every service": lambda pod: pod.pop("enableServiceLinks"),
    "may become more": lambda pod: pod["containers"][-1]["securityContext"].pop("allowPrivilegeEscalation"),
    "may change its programs": lambda pod: pod["containers"][-1]["securityContext"].update(readOnlyRootFilesystem=False),
    "has capabilities": lambda pod: pod["containers"][-1]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "no limits": lambda pod: pod["containers"][-1]["resources"]["limits"].pop("memory"),
    "no requests": lambda pod: pod["containers"][-1]["resources"].pop("requests"),
    "takes an image that somebody left on the node": lambda pod: pod["containers"][-1].pop("imagePullPolicy"),
    "image of a stranger": lambda pod: pod["containers"][-1].update(image="bilp"),
    "nowhere to write": lambda pod: pod["containers"][-1].pop("volumeMounts"),
}


@pytest.mark.parametrize("mistake", POD_MISTAKES)
def test_what_a_pod_lacks_is_noticed(mistake: str) -> None:
    for pod in PODS:
        changed = copy.deepcopy(pod)
        POD_MISTAKES[mistake](changed)
        assert any(mistake in problem for problem in pod_problems(changed)), pod


def test_the_namespace_lets_nobody_in_and_only_named_traffic_out() -> None:
    policies = [document["spec"] for document in CLUSTER if document["kind"] == "NetworkPolicy"]
    everybody = [policy for policy in policies if policy["podSelector"] == {}]
    assert [policy["policyTypes"] for policy in everybody] == [["Ingress", "Egress"]]
    assert all(policy.get("ingress", []) == [] for policy in policies)
    for rule in (rule for policy in policies for rule in policy["egress"]):
        assert rule["to"] and rule["ports"], "an empty list is everything"
        assert {port["port"] for port in rule["ports"]} in ({53}, {443}, {6443})
        for block in (target["ipBlock"] for target in rule["to"] if "ipBlock" in target):
            assert block["except"] == ["169.254.0.0/16"], "where a cloud hands out the credentials of its machines"


def test_the_cluster_refuses_what_a_template_might_be_changed_to() -> None:
    (namespace,) = [document for document in CLUSTER if document["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (kustomization,) = [document for document in CLUSTER if document["kind"] == "Kustomization"]
    assert (
        kustomization["namespace"] == namespace["metadata"]["name"] == JOBS[0]["metadata"]["namespace"] == JOBS[1]["metadata"]["namespace"]
    )
    files = {file.name for file in (FOLDER / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files, "what is not named there is not applied"
    assert [image["name"] for image in kustomization["images"]] == [job_templates.PLACEHOLDER]
    kinds = {document["kind"] for document in CLUSTER}
    assert kinds.isdisjoint({"ClusterRole", "ClusterRoleBinding", "Secret"})
    assert "*" not in json.dumps([document["rules"] for document in CLUSTER if document["kind"] == "Role"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, which builds a kustomization without a cluster")
def test_kustomize_builds_it() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(FOLDER / "kubernetes")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    documents = list(yaml.safe_load_all(built.stdout))
    assert {document["metadata"].get("namespace", "bilp") for document in documents} == {"bilp"}
    assert [problem for document in documents for pod in pods(document) for problem in pod_problems(pod)] == []


def service_problems(name: str, service: Content) -> list[str]:
    """What a service of the compose file lacks."""
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    own = name in ("cpu-worker", "gpu-worker", "server", "bucket")  # the image sets a user of its own
    writable = {place.split(":")[0] for place in service.get("tmpfs", [])} | {volume.split(":")[1] for volume in service.get("volumes", [])}
    return [
        *([] if service.get("cap_drop") == ["ALL"] else ["has capabilities"]),
        *([] if service.get("security_opt") == ["no-new-privileges:true"] else ["may become more"]),
        *([] if service.get("read_only") is True else ["may change its programs"]),
        *([] if "/tmp" in writable else ["nowhere to write"]),
        *([] if own or "user" in service or name == "objects" else ["may run as root"]),
        *([] if {"cpus", "memory", "pids"} <= set(limits) else ["no limits"]),
        *([] if "healthcheck" in service else ["nobody knows whether it lives"]),
        *([] if service.get("networks") else ["is in the network of everybody"]),
        *([] if not service.get("privileged") and "network_mode" not in service and "pid" not in service else ["shares with its host"]),
        *([] if IMAGE.fullmatch(service["image"]) else ["image cannot be named by its digest"]),
    ]


SERVICE_MISTAKES: dict[str, Callable[[Content], Any]] = {
    "has capabilities": lambda service: service.pop("cap_drop"),
    "may become more": lambda service: service.pop("security_opt"),
    "may change its programs": lambda service: service.pop("read_only"),
    "nowhere to write": lambda service: (service.pop("tmpfs", None), service.pop("volumes", None)),
    "no limits": lambda service: service["deploy"]["resources"]["limits"].pop("memory"),
    "nobody knows whether it lives": lambda service: service.pop("healthcheck"),
    "is in the network of everybody": lambda service: service.pop("networks"),
    "shares with its host": lambda service: service.update(privileged=True),
    "image cannot be named by its digest": lambda service: service.update(image="postgres:16"),
}


def test_every_service_is_confined() -> None:
    assert {name: problems for name, service in COMPOSE["services"].items() if (problems := service_problems(name, service))} == {}


@pytest.mark.parametrize("mistake", SERVICE_MISTAKES)
def test_what_a_service_lacks_is_noticed(mistake: str) -> None:
    for name, service in COMPOSE["services"].items():
        changed = copy.deepcopy(service)
        SERVICE_MISTAKES[mistake](changed)
        assert mistake in service_problems(name, changed), name
    assert "may run as root" in service_problems("another", {"image": "bilp"})


def test_capabilities_are_given_back_to_the_store_alone() -> None:
    given = {name: service["cap_add"] for name, service in COMPOSE["services"].items() if "cap_add" in service}
    assert given == {"objects": ["CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"]}, "it gives its volume to a user and becomes that user"


def test_each_network_has_who_needs_it_and_only_one_leads_outside() -> None:
    members: dict[str, set[str]] = {name: set() for name in COMPOSE["networks"]}
    for name, service in COMPOSE["services"].items():
        for network in service["networks"]:
            members[network].add(name)
    assert members == {
        "database": {"database", "server"},
        "api": {"server", "cpu-worker", "gpu-worker"},
        "storage": {"objects", "bucket", "cpu-worker", "gpu-worker"},
        "outside": {"server", "cpu-worker"},
    }
    assert {name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")} == {"outside"}
    bound = COMPOSE["services"]["objects"]["command"]
    assert {"-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(bound), "its inner services know no login"


def test_each_service_has_the_secrets_that_it_needs_and_no_others() -> None:
    known = {
        name: set(re.findall(r"\$\{(BILP_\w+)", json.dumps(service.get("environment", {}))))
        for name, service in COMPOSE["services"].items()
    }
    store = {"BILP_S3_KEY", "BILP_S3_SECRET"}
    assert known == {
        "database": {"BILP_DATABASE_PASSWORD"},
        "server": {"BILP_DATABASE_PASSWORD", "BILP_SERVER_LOGIN"},
        "objects": store,
        "bucket": store,
        "cpu-worker": store | {"BILP_SERVER_LOGIN", "BILP_SIGNING_KEY"},
        "gpu-worker": store | {"BILP_SERVER_LOGIN", "BILP_SIGNING_KEY"},
    }
