"""The jobs that a Kubernetes work pool makes of its runs.

Who starts a run chooses resources, labels and settings that are not secret. Image, command, namespace, service account and secrets are
fixed in the template, and a variable that it does not have is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bilp.errors import ConfigError

FOLDER = Path(__file__).resolve().parent / "kubernetes"
IMAGE = "BILP_IMAGE"
PLACEHOLDER = "registry.invalid/bilp"
"""Stands for the image in the manifests: a name that no registry can have, so that whoever forgets it gets no stranger's image."""

_REFERENCE = re.compile(r"[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][\w.-]*)?(@sha256:[0-9a-f]{64})?")


def load(pool: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The base job template of a pool, with the image that BILP_IMAGE names. Raises ConfigError if it names none."""
    image = environment.get(IMAGE, "")
    if not _REFERENCE.fullmatch(image):
        raise ConfigError(
            f"{IMAGE} = {image!r} names no image of a registry: set it to what the jobs shall run, such as "
            "registry.example.org/bilp@sha256:... (the digest that the push of the image printed)"
        )
    template: dict[str, Any] = json.loads((FOLDER / f"{pool}-job-template.json").read_text(encoding="utf-8"))
    (container,) = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    return template
