"""What the environment says about how and where work is carried out."""

from __future__ import annotations

import pytest

from bilp.errors import ConfigError
from tasks.execution import Execution, device


@pytest.mark.parametrize("name", ["banana", "cuda:120", "meta", "cpu:x"])
def test_a_device_that_cannot_be_used_is_refused_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_DEVICE", name)
    with pytest.raises(
        ConfigError, match=rf"^BILP_DEVICE={name} cannot be used here \([^\n]+\): set it to auto, cpu, or cuda:N"
    ) as refusal:
        device.__wrapped__()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_a_device_of_this_machine_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_DEVICE", name)
    assert device.__wrapped__() in ("cpu", "cuda")


def test_every_impossible_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILP_EXECUTION", "everywhere")
    monkeypatch.setenv("BILP_WORKERS", "0")
    with pytest.raises(ConfigError, match="^BILP_EXECUTION=everywhere: .*; BILP_WORKERS=0: ") as refusal:
        Execution()
    assert "\n" not in str(refusal.value)
