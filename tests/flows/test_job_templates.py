"""What who starts a run on Kubernetes can choose: resources and settings, and neither image nor command nor secrets nor namespace."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.exceptions import PrefectHTTPStatusError

from bilp.errors import ConfigError
from deployments import job_templates, register
from flows.local.server import reachable

pytestmark = pytest.mark.slow

IMAGE = "registry.example.org/team/bilp@sha256:" + "0" * 64
CHOSEN = {"name", "env", "labels", "cpu", "memory", "disk", "gpus", "shared_memory", "finished_job_ttl", "stream_output"}
CHOSEN |= {"job_watch_timeout_seconds", "pod_watch_timeout_seconds"}


def template(pool: str, image: str = IMAGE) -> dict[str, Any]:
    return job_templates.load(pool, {"BILP_IMAGE": image})


@pytest.mark.parametrize("pool", register.POOLS)
def test_what_can_be_chosen_is_harmless_and_all_the_rest_is_fixed(pool: str) -> None:
    found = template(pool)
    assert set(found["variables"]["properties"]) <= CHOSEN
    assert found["variables"]["additionalProperties"] is False
    fixed = json.dumps(found["job_configuration"])
    assert "registry.invalid" not in fixed
    assert fixed.count(IMAGE) == 1
    assert found["job_configuration"]["namespace"] == "bilp"
    assert "command" not in found["job_configuration"], "the worker decides"
    assert {"image", "command", "args", "namespace", "secret", "service_account_name"}.isdisjoint(found["variables"]["properties"])


@pytest.mark.parametrize(
    "image", ["", "bilp", "bilp:1", "registry.example.org/bilp latest", "https://registry.example.org/bilp", "UPPER/bilp"]
)
def test_an_image_that_some_registry_might_serve_by_chance_is_refused(image: str) -> None:
    with pytest.raises(ConfigError, match=r"BILP_IMAGE = .* names no image of a registry"):
        template("gpu", image)


@pytest.mark.parametrize("image", ["registry.example.org/bilp", "localhost:5000/bilp:1.0", "ghcr.io/team/bilp:v1@sha256:" + "a" * 64])
def test_an_image_of_a_registry_is_taken(image: str) -> None:
    assert image in json.dumps(template("cpu", image))


def test_a_server_refuses_runs_that_choose_more_and_gets_its_templates_back(prefect_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools have names of their own: those of the deployments belong to other tests of this server."""
    monkeypatch.setattr(register, "POOLS", {"templates-cpu": "", "templates-gpu": ""})
    load = job_templates.load
    monkeypatch.setattr(job_templates, "load", lambda name, environment: load(name.removeprefix("templates-"), environment))
    monkeypatch.setenv("BILP_IMAGE", IMAGE)
    expected = load("gpu", {"BILP_IMAGE": IMAGE})
    with reachable(), get_client(sync_client=True) as client:
        register.pools(client, "kubernetes")
        pool = client.read_work_pool("templates-gpu")
        assert pool.base_job_template == expected
        flow = client.create_flow_from_name("templates")
        for wrong in ({"image": "evil"}, {"command": "sh"}, {"namespace": "kube-system"}, {"secret": "other"}, {"gpus": 0}):
            with pytest.raises(PrefectHTTPStatusError, match=f"{next(iter(wrong))}|minimum"):
                client.create_deployment(flow, "wrong", work_pool_name="templates-gpu", job_variables=wrong)
        made = client.create_deployment(flow, "right", work_pool_name="templates-gpu", job_variables={"gpus": 2, "memory": "32Gi"})
        with pytest.raises(PrefectHTTPStatusError, match="image"):
            client.create_flow_run_from_deployment(made, job_variables={"image": "evil"})
        opened = copy.deepcopy(expected)
        opened["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["hostNetwork"] = True
        client.update_work_pool("templates-gpu", WorkPoolUpdate(base_job_template=opened))
        register.pools(client, "kubernetes")
        assert client.read_work_pool("templates-gpu").base_job_template == expected, "registering brings it up to date"
