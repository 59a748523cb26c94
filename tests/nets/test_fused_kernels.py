"""The Triton kernels of fused layers: interpreted on a CPU, or run on a GPU if there is one, against autograd; and compiled for GPUs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from bilp.nets.fused.operation import composed
from bilp.seeds import generator

pytest.importorskip("triton")
pytestmark = pytest.mark.slow  # a kernel is interpreted in half a second to two

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 2e-2}
"""Largest error by the largest value; bfloat16 has 8 bits."""


def drawn(shape: tuple[int, ...], what: str) -> Tensor:
    return torch.randn(shape, generator=generator(5, what))


def assert_near(found: Tensor, expected: Tensor, rounding: float) -> None:
    assert float((found.cpu().double() - expected.detach()).abs().max()) < rounding * float(expected.detach().abs().max())


# More channels than one program has, more positions than one tile has; sides that are no multiple of the window; no pooling.
@pytest.mark.parametrize(
    ("shape", "window"),
    [((2, 40, 8, 8), 2), ((2, 5, 9, 7), 2), ((2, 33, 9, 9), 1), ((1, 8, 10, 11), 3), ((3, 4, 2, 2), 2)],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else f"window{value}",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kernels_compute_what_autograd_does(shape: tuple[int, ...], window: int, dtype: torch.dtype) -> None:
    from bilp.nets.fused import triton_kernels as kernels

    maps, weight, bias = (drawn(shape, "maps") * 2 + 3).to(dtype), drawn(shape[1:2], "weight") + 0.5, drawn(shape[1:2], "bias") * 0.3
    points = [operand.double().requires_grad_() for operand in (maps, weight, bias)]
    result = composed(*points, window, 1e-5)
    cotangent = drawn(tuple(result.shape), "cotangent").to(dtype)
    expected = torch.autograd.grad(result, points, cotangent.double())

    maps, weight, bias, cotangent = (operand.to(DEVICE) for operand in (maps, weight, bias, cotangent))
    found, mean, scale = kernels.forward(maps, weight, bias, window, 1e-5)
    by_maps, sums = kernels.backward(cotangent, maps, mean, scale, weight, bias, window)
    assert (found.dtype, by_maps.dtype, sums.dtype) == (dtype, dtype, torch.float32)
    for part in (found, by_maps):
        assert part.is_contiguous(memory_format=torch.channels_last)
    assert_near(mean, points[0].mean(dim=(2, 3)), 2e-6)
    assert_near(scale, (points[0].var(dim=(2, 3), unbiased=False) + 1e-5).rsqrt(), 2e-6)
    assert_near(found, result, ROUNDING[dtype])
    assert_near(by_maps, expected[0], ROUNDING[dtype])
    assert_near(sums[0].sum(dim=0), expected[1], 2e-6)
    assert_near(sums[1].sum(dim=0), expected[2], 2e-6)
    assert torch.equal(sums[2].cpu(), torch.zeros(shape[:2]))


def test_kernels_and_the_cpu_form_agree_and_keep_what_is_not_a_number() -> None:
    from bilp.nets.fused import triton_kernels as kernels

    maps, weight, bias = (
        drawn((2, 3, 6, 6), "maps") * 1e-3 + 50.0,
        drawn((3,), "weight"),
        drawn((3,), "bias"),
    )  # a mean far above the deviation
    maps[0, 1, 2, 2] = torch.nan
    found = kernels.forward(maps.to(DEVICE), weight.to(DEVICE), bias.to(DEVICE), 2, 1e-5)
    expected = torch.ops.bilp.norm_relu_pool(maps, weight, bias, 2, 1e-5)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own.cpu(), other, rtol=2e-3, atol=2e-3, equal_nan=True)
    assert found[0][0, 1].isnan().all()
    cotangent = drawn((2, 3, 3, 3), "cotangent")
    own = kernels.backward(cotangent.to(DEVICE), maps.to(DEVICE), *found[1:], weight.to(DEVICE), bias.to(DEVICE), 2)
    other = torch.ops.bilp.norm_relu_pool_backward(cotangent, maps, *expected[1:], weight, bias, 2)
    assert torch.equal(own[0][0, 1].isnan().cpu(), other[0][0, 1].isnan())
    assert own[0][0, 1].isnan().all()
    torch.testing.assert_close(own[0][1].cpu(), other[0][1], rtol=2e-2, atol=2e-2)


COMPILED = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bilp.nets.fused import triton_kernels as kernels

for numbers, window in (("*fp32", 2), ("*bf16", 1)):
    fixed = {"WINDOW": window, "POSITIONS": kernels.POSITIONS, "CHANNELS": kernels.CHANNELS}
    for kernel in (kernels._forward, kernels._backward):
        kinds = {"gradient": numbers, "maps": numbers, "result": numbers, "epsilon": "fp32"}
        kinds |= dict.fromkeys(("height", "width", "channels"), "i32") | dict.fromkeys(fixed, "constexpr")
        signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
        constants = {(kernel.arg_names.index(name),): value for name, value in fixed.items()}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        made = compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options={"num_warps": kernels.WARPS})
        assert len(made.asm["cubin"]) > 1000
        assert ".local" not in made.asm["ptx"], "registers overflow into memory"
        print(kernel.__name__, numbers, window)
"""


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus(capability: int, tmp_path: object) -> None:
    """By the real compiler, which needs no GPU: an A100's (80) and an H100's or H200's (90) machine code."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED, str(capability)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
