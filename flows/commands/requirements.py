"""Which extra of this package holds a package that is not installed, and what installs it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

IMPORTED = {"sklearn": "scikit-learn", "prefect_ray": "prefect-ray", "prefect_kubernetes": "prefect-kubernetes"}
"""Names of packages that are imported under another one."""
SERVICE = ("prefect", "fastapi", "sqlalchemy", "starlette", "uvicorn", "httpx")
"""What the extra `service` brings, with what that needs in turn."""


def missing_package(error: ModuleNotFoundError) -> str | None:
    """What to say if a package that an extra of ours brings is not installed; None for any other module."""
    module = (error.name or "").partition(".")[0]
    extra = "service" if module in SERVICE else _extra_of(IMPORTED.get(module, module))
    wanted = _of_extra(extra) if extra else []
    if not wanted:
        return None
    packages = " ".join(f"'{package}'" for package in wanted)
    return (
        f"this command needs {module}, which is not installed: python -m pip install {packages} (what the extra [{extra}] of bilp brings)"
    )


def _extra_of(package: str) -> str | None:
    for extra in ("s3", "examples", "kubernetes", "ray"):
        if any(re.match(rf"{re.escape(package)}\b", wanted) for wanted in _of_extra(extra)):
            return extra
    return None


def _of_extra(extra: str) -> list[str]:
    """The requirements of an extra, as pip takes them; none where this package is not installed, but lies on the path."""
    try:
        listed = requires("bilp") or []
    except PackageNotFoundError:
        return []
    parts = (line.partition(";") for line in listed)
    return [wanted.strip() for wanted, _, marker in parts if re.search(rf"extra == ['\"]{extra}['\"]", marker)]
