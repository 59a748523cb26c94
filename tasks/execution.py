"""How work is carried out on this machine; nothing here changes a result, so nothing here is part of a configuration."""

from __future__ import annotations

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Execution(BaseSettings):
    """Read from the environment: BILP_DEVICE, BILP_WORKERS."""

    model_config = SettingsConfigDict(env_prefix="BILP_", frozen=True, use_attribute_docstrings=True)

    device: str = "auto"
    """Device of torch: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    workers: int = Field(default=1, ge=1)
    """Scoring trials that run at the same time in one process; torch already uses every core for one."""


@cache
def device() -> str:
    """The device that tasks compute on."""
    import torch

    chosen = Execution().device
    if chosen != "auto":
        return chosen
    return "cuda" if torch.cuda.is_available() else "cpu"
