"""Instance norm, ReLU and average pooling in one Triton kernel, and their derivative in another, for maps whose channels come last.

A program has one sample and `CHANNELS` of its channels. It walks over the positions twice, `POSITIONS` at a time: once for the sums,
which no other program shares, so that nothing is added in an order that varies; once for the result. Maps are float32, bfloat16 or
float16, everything is computed in float32. With TRITON_INTERPRET=1 in the environment before Triton is imported, the kernels run
on a CPU, slowly.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Not tuned: no GPU was there. 2,048 values are 16 per thread of 4 warps, and 32 channels one line of memory or two.
POSITIONS, CHANNELS, WARPS = 64, 32, 4


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    maps, weight, bias, result, mean, scale, height, width, channels, epsilon,
    WINDOW: tl.constexpr, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    parts = tl.cdiv(channels, CHANNELS)
    sample = (tl.program_id(0) // parts).to(tl.int64)  # neighbors share its rows of memory
    c = tl.program_id(0) % parts * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < channels
    positions = height * width
    source = maps + sample * positions * channels
    mu = tl.zeros((CHANNELS,), tl.float32)
    squares = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, positions, POSITIONS):  # mean and sum of squares of a tile are joined with those before (Chan et al. 1979)
        p = start + tl.arange(0, POSITIONS)
        there = (p < positions)[:, None] & inside[None, :]
        x = tl.load(source + p[:, None] * channels + c[None, :], mask=there, other=0.0).to(tl.float32)
        size = tl.minimum(positions - start, POSITIONS)
        own = tl.sum(x, axis=0) / size
        deviation = tl.where(there, x - own[None, :], 0.0)
        step = own - mu
        mu += step * (size / (start + size))
        squares += tl.sum(deviation * deviation, axis=0) + step * step * (start * (size / (start + size)))
    r = 1.0 / tl.sqrt(squares / positions + epsilon)
    tl.store(mean + sample * channels + c, mu, mask=inside)
    tl.store(scale + sample * channels + c, r, mask=inside)
    w = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)
    columns = width // WINDOW
    windows = (height // WINDOW) * columns
    target = result + sample * windows * channels
    for start in range(0, windows, POSITIONS):
        q = start + tl.arange(0, POSITIONS)
        there = (q < windows)[:, None] & inside[None, :]
        corner = (q // columns) * WINDOW * width + (q % columns) * WINDOW
        total = tl.zeros((POSITIONS, CHANNELS), tl.float32)
        for i in tl.static_range(WINDOW):
            for j in tl.static_range(WINDOW):
                p = corner + i * width + j
                x = tl.load(source + p[:, None] * channels + c[None, :], mask=there, other=0.0).to(tl.float32)
                y = (x - mu[None, :]) * r[None, :] * w[None, :] + b[None, :]
                total += tl.where(y <= 0.0, 0.0, y)  # not maximum, which would lose what is not a number
        tl.store(target + q[:, None] * channels + c[None, :], total / (WINDOW * WINDOW), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _gradient_at(  # type: ignore[no-untyped-def]
    source, given, p, c, there, mu, r, w, b, height, width, channels, WINDOW: tl.constexpr
):  # fmt: skip
    """Normalized values at positions `p` and the gradient of what the norm's output was there, both `[POSITIONS, CHANNELS]`."""
    x = tl.load(source + p[:, None] * channels + c[None, :], mask=there, other=0.0).to(tl.float32)
    z = (x - mu[None, :]) * r[None, :]
    row, column = p // width // WINDOW, p % width // WINDOW
    rows, columns = height // WINDOW, width // WINDOW
    pooled = there & ((row < rows) & (column < columns))[:, None]  # the rest of an odd side enters no mean
    q = row * columns + column
    g = tl.load(given + q[:, None] * channels + c[None, :], mask=pooled, other=0.0).to(tl.float32) / (WINDOW * WINDOW)
    return z, tl.where(z * w[None, :] + b[None, :] <= 0.0, 0.0, g)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    gradient, maps, mean, scale, weight, bias, result, sums, height, width, channels,
    WINDOW: tl.constexpr, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    parts = tl.cdiv(channels, CHANNELS)
    sample = (tl.program_id(0) // parts).to(tl.int64)  # neighbors share its rows of memory
    c = tl.program_id(0) % parts * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < channels
    positions = height * width
    source = maps + sample * positions * channels
    given = gradient + sample * (height // WINDOW) * (width // WINDOW) * channels
    mu = tl.load(mean + sample * channels + c, mask=inside, other=0.0)
    r = tl.load(scale + sample * channels + c, mask=inside, other=0.0)
    w = tl.load(weight + c, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + c, mask=inside, other=0.0).to(tl.float32)
    plain = tl.zeros((CHANNELS,), tl.float32)
    along = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, positions, POSITIONS):
        p = start + tl.arange(0, POSITIONS)
        there = (p < positions)[:, None] & inside[None, :]
        z, g = _gradient_at(source, given, p, c, there, mu, r, w, b, height, width, channels, WINDOW)
        plain += tl.sum(g, axis=0)
        along += tl.sum(tl.where(there, g * z, 0.0), axis=0)
    row, rows = sample * channels, (tl.num_programs(0) // parts).to(tl.int64) * channels
    tl.store(sums + row + c, along, mask=inside)
    tl.store(sums + rows + row + c, plain, mask=inside)
    tl.store(sums + 2 * rows + row + c, tl.zeros((CHANNELS,), tl.float32), mask=inside)
    target = result + sample * positions * channels
    for start in range(0, positions, POSITIONS):
        p = start + tl.arange(0, POSITIONS)
        there = (p < positions)[:, None] & inside[None, :]
        z, g = _gradient_at(source, given, p, c, there, mu, r, w, b, height, width, channels, WINDOW)
        found = (r * w)[None, :] * (g - (plain / positions)[None, :] - z * (along / positions)[None, :])
        tl.store(target + p[:, None] * channels + c[None, :], found, mask=there)


def forward(maps: Tensor, weight: Tensor, bias: Tensor, window: int, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """`[B, C, H, W]` to means over windows of the ReLU of the normalized maps, and to mean and inverse deviation, float32 `[B, C]`."""
    maps = maps.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = maps.shape
    pooled = (batch, channels, height // window, width // window)
    result = torch.empty(pooled, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
    mean = torch.empty(batch, channels, dtype=torch.float32, device=maps.device)
    scale = torch.empty_like(mean)
    _forward[_grid(maps)](
        maps, weight, bias, result, mean, scale, height, width, channels, epsilon,
        WINDOW=window, POSITIONS=POSITIONS, CHANNELS=CHANNELS, num_warps=WARPS,
    )  # fmt: skip
    return result, mean, scale


def backward(
    gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, window: int
) -> tuple[Tensor, Tensor]:
    """The gradient with respect to the maps `[B, C, H, W]`; each sample's part of those of weight and bias, and zeros, `[3, B, C]`."""
    maps = maps.contiguous(memory_format=torch.channels_last)
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = maps.shape
    result = torch.empty_like(maps, memory_format=torch.channels_last)
    sums = torch.empty(3, *mean.shape, dtype=mean.dtype, device=mean.device)
    _backward[_grid(maps)](
        gradient, maps, mean.contiguous(), scale.contiguous(), weight, bias, result, sums, height, width, channels,
        WINDOW=window, POSITIONS=POSITIONS, CHANNELS=CHANNELS, num_warps=WARPS,
    )  # fmt: skip
    return result, sums


def _grid(maps: Tensor) -> tuple[int]:
    return (len(maps) * triton.cdiv(maps.shape[1], CHANNELS),)
