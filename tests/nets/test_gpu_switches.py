"""What is set while a GPU computes: precision, deterministic algorithms, for one thread at a time, and as it was afterwards."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from bilp.config.arithmetics import ARITHMETICS, DETERMINISTIC, WORKSPACE
from bilp.errors import ConfigError
from bilp.nets.arithmetic import arithmetic
from bilp.nets.device import usable

PRECISION = {
    "float32": (False, False),
    "papers": (False, True),
    "tf32": (True, True),
    "fused": (False, True),
    "tf32_channels_last": (True, True),
}
"""Of matrix products and of convolutions: whether they are in TensorFloat-32."""


def precision() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def choices() -> tuple[bool, ...]:
    """Whether algorithms are deterministic, in general and cuDNN's, chosen by their time, and whether fresh memory is filled."""
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.mark.parametrize("kind", ARITHMETICS)
def test_algorithms_are_deterministic_inside_and_as_before_outside(kind: str) -> None:
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        outside = precision(), choices()
        with arithmetic(kind, "cuda:1"):
            assert precision() == PRECISION[kind]
            assert choices() == (True, True, False, False)
            with arithmetic("float32", torch.device("cuda")):
                assert (precision(), choices()) == (PRECISION["float32"], (True, True, False, False))
            assert (precision(), choices()) == (PRECISION[kind], (True, True, False, False))
        assert (precision(), choices()) == outside
        assert choices() == (False, False, True, True)
    finally:
        torch.backends.cudnn.benchmark = before


def test_threads_do_not_change_each_others_arithmetic() -> None:
    """Each enters with an arithmetic of its own, again and again, and looks at what holds inside while the other one tries to enter."""
    wrong: list[tuple[str, tuple[bool, bool]]] = []
    begin = threading.Barrier(2)

    def compute(kind: str) -> None:
        begin.wait()
        for _ in range(50):
            with arithmetic(kind, "cuda"):
                for _ in range(5):
                    time.sleep(0)  # the other one's turn
                    if precision() != PRECISION[kind]:
                        wrong.append((kind, precision()))

    outside = precision(), choices()
    threads = [threading.Thread(target=compute, args=(kind,)) for kind in ("float32", "tf32")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (precision(), choices()) == outside


def test_products_are_deterministic_by_the_environment_or_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    with arithmetic("float32", "cpu"):
        assert WORKSPACE not in os.environ, "a CPU needs none of it"
    with arithmetic("float32", "cuda"):
        assert os.environ[WORKSPACE] == DETERMINISTIC
    monkeypatch.setenv(WORKSPACE, ":0:0")
    before = precision(), choices()
    told = r"^CUBLAS_WORKSPACE_CONFIG=:0:0 lets [^\n]+: unset it, or set it to :4096:8$"
    with pytest.raises(ConfigError, match=told), arithmetic("float32", "cuda"):
        raise AssertionError
    assert (precision(), choices()) == before


def test_products_are_settled_before_a_gpu_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever process uses one, whether a worker settled them or nobody has."""
    monkeypatch.setenv(WORKSPACE, "")
    monkeypatch.delenv(WORKSPACE)
    seen: list[tuple[str, str | None]] = []
    plain = torch.zeros

    def zeros(count: int, device: str) -> torch.Tensor:
        seen.append((device, os.environ.get(WORKSPACE)))
        return plain(count)

    monkeypatch.setattr(torch, "zeros", zeros)
    assert [usable(name) for name in ("cpu", "cuda:0", "cuda:3")] == ["cpu", "cuda:0", "cuda:3"]
    assert seen == [("cpu", None), ("cuda:0", DETERMINISTIC), ("cuda:3", DETERMINISTIC)]


def test_a_device_that_lacks_float64_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match=r"^BILP_DEVICE=mps cannot be used here \(Apple's GPUs lack float64, [^\n]+\): set it to auto"):
        usable("mps", "BILP_DEVICE")
    with pytest.raises(ConfigError, match=r"^device=meta cannot be used here \(neither the CPU nor a CUDA device\)"):
        usable("meta")
