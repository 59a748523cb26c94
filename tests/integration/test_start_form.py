"""The form of `start/digits` in a real browser: opened, measured, filled in and submitted; the run completes on a worker."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devtools import Page, opened
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun

from drill.rehearsal import Service
from flows.server import login

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.service, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open a form in")]

TALLEST = 3000
"""Pixels of a form that nobody has unfolded; before there were forms it was 25,700."""
MOST_INPUTS = 8
"""The run's name included; it was 129."""


@pytest.fixture(scope="module")
def page(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert CHROMIUM is not None
    secret = base64.b64encode(service.environment[login.CLIENT].encode()).decode()
    with opened(CHROMIUM, tmp_path_factory.mktemp("browser")) as page:
        page.before_each(f"localStorage.setItem('prefect-password', '{secret}')")
        yield page


def test_a_run_is_started_from_the_form(service: Service, page: Page, tmp_path: Path) -> None:
    with service.client() as client:
        deployment = client.read_deployment_by_name("start/digits")
    page.open(f"http://127.0.0.1:{service.port}/deployments/deployment/{deployment.id}/run")
    page.wait_for("document.body.innerText.includes('Images per class (ipc)')")
    assert page.evaluate("Math.max(...[...document.querySelectorAll('*')].map(one => one.scrollHeight))") < TALLEST
    assert page.evaluate("document.querySelectorAll('form input, form textarea').length") <= MOST_INPUTS
    told = page.evaluate("document.body.innerText")
    assert "If empty: derived from the dials, 0.8 for digits" in told and "Batch real" not in told, "stages are folded"

    page.choose("DM")
    page.wait_for("document.body.innerText.includes('distribution matching (DM): Zhao')")
    page.fill("Images per class (ipc)", "2")
    page.unfold("Evaluation (evaluate)")
    page.wait_for("document.body.innerText.includes('Full epochs')")
    page.fill("Epochs", "2")
    page.fill("Seeds", "2")
    page.fill("Full epochs", "1")
    page.unfold("Scores of real samples (score)")
    page.wait_for("document.body.innerText.includes('Init epochs')")
    page.fill("Trials", "1")
    page.unfold("Distillation (distill)")
    page.wait_for("document.body.innerText.includes('Batch real')")
    page.fill("Iterations", "4")
    (tmp_path / "form.png").write_bytes(page.picture())
    page.choose("Submit")
    page.wait_for("document.body.innerText.includes('scheduled to start')")

    with service.client() as client:
        (run,) = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])))
    assert without_nothing(run.parameters["config"]) == {
        "method": {"name": "dm"},
        "ipc": 2,
        "evaluate": {"epochs": 2, "seeds": 2, "full_epochs": 1},
        "score": {"trials": 1},
        "distill": {"iterations": 4},
    }, "what was typed, and nothing else"
    ended = service.ended(run.id)
    assert ended.state is not None and ended.state.is_completed(), ended.state
    looks_like_a_result(service, page, ended)


def without_nothing(value: Any) -> Any:
    """Parameters less the null of every group that nobody unfolded."""
    return {name: without_nothing(below) for name, below in value.items() if below is not None} if isinstance(value, dict) else value


def looks_like_a_result(service: Service, page: Page, run: FlowRun) -> None:
    """What a person sees of the run that ended: its name, its artifacts, and the page to which the result leads."""
    page.open(f"http://127.0.0.1:{service.port}/runs/flow-run/{run.id}")
    page.wait_for("document.body.innerText.includes('Completed')")
    assert "digits dm ipc 2" in page.evaluate("document.body.innerText")
    with service.client() as client:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        found = client.read_artifacts(artifact_filter=mine)
    artifacts = {artifact.key: artifact for artifact in found if artifact.key}  # what a flow returned is one, too, without a key
    assert artifacts.keys() == {"plan", "progress", "result"} and artifacts["progress"].data == 100.0
    links = [f"/reports/{report.parent.name}/" for report in Path(service.storage).glob("reports/*/report.html")]
    (link,) = [link for link in links if f"**[Open the report]({link})**" in str(artifacts["result"].data)]
    page.open(f"http://127.0.0.1:{service.port}/artifacts/artifact/{artifacts['result'].id}")
    page.wait_for("document.body.innerText.includes('Open the report')")
    page.open(f"http://127.0.0.1:{service.port}{link}")
    page.wait_for("document.querySelector('.verdict') !== null")
    assert "Digits" in page.evaluate("document.querySelector('h1').innerText")


def test_a_wrong_value_is_refused_at_its_field(service: Service, page: Page) -> None:
    with service.client() as client:
        deployment = client.read_deployment_by_name("start/digits")
        before = len(client.read_flow_runs())
    page.open(f"http://127.0.0.1:{service.port}/deployments/deployment/{deployment.id}/run")
    page.wait_for("document.body.innerText.includes('Images per class (ipc)')")
    page.fill("Images per class (ipc)", "0")
    page.choose("Submit")
    page.wait_for("document.body.innerText.includes('0 is less than the minimum of 1')")
    with service.client() as client:
        assert len(client.read_flow_runs()) == before
