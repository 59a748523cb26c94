"""How and where work is carried out; nothing here changes a result, so nothing here is part of a configuration or of a key."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bilp.errors import ConfigError


class Execution(BaseSettings):
    """Read from the environment: BILP_EXECUTION, BILP_QUEUE, BILP_LEASE_SECONDS, BILP_POLL_SECONDS, BILP_DEVICE, BILP_WORKERS,
    BILP_GPUS_PER_UNIT, BILP_SEEDS_PER_UNIT.

    Raises ConfigError with the name of every variable whose value is impossible.
    """

    model_config = SettingsConfigDict(env_prefix="BILP_", frozen=True, use_attribute_docstrings=True)

    execution: Literal["local", "workers", "ray"] = "local"
    """Where units of GPU work run: in this process, on workers of the Prefect work pool `gpu`, or on a Ray cluster."""
    queue: Literal["interactive", "scheduled"] = "interactive"
    """Queue of the pool that units wait in; interactive ones overtake scheduled ones."""
    lease_seconds: float = Field(default=60.0, gt=0.0)
    """A unit whose process did not renew its lease for four thirds of that is given to another run; the same on every machine."""
    poll_seconds: float = Field(default=2.0, gt=0.0)
    """Between two looks at a unit that another process carries out, while it is young; the looks become rarer as it grows older."""
    gpus_per_unit: float = Field(default=1.0, ge=0.0)
    """On Ray: GPUs that a unit reserves; 0 on a cluster without any."""
    seeds_per_unit: int | None = Field(default=None, ge=1)
    """Where other processes carry out units: trainings of one network that are a unit, at least; by default as many as take minutes on a
    GPU, so that small evaluations are one unit each."""
    device: str = "auto"
    """Device of torch: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    workers: int = Field(default=1, ge=1)
    """Scoring trials that run at the same time in one process; torch already uses every core for one, and on a GPU they take turns."""

    @property
    def elsewhere(self) -> bool:
        """Whether units run in other processes than this one, which then hands them all that can be done side by side."""
        return self.execution != "local"

    def __init__(self) -> None:
        try:
            super().__init__()
        except ValidationError as error:
            wrong = (f"BILP_{str(item['loc'][0]).upper()}={item['input']}: {item['msg']}" for item in error.errors(include_url=False))
            raise ConfigError("; ".join(wrong)) from None


@cache
def device() -> str:
    """The device that tasks compute on. Raises ConfigError if BILP_DEVICE names one that cannot be computed on here."""
    from bilp.nets.device import usable  # which imports torch

    return usable(Execution().device, "BILP_DEVICE")
