"""A function of mini-batches as CUDA graphs: one for each combination of shapes that it meets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from bilp.capture import CapturedStep, GraphMemory

# Combinations of shapes that are captured; a training has two, of its mini-batches and of what is left over, and twice as many
# where some mini-batches are mixed.
MOST_GRAPHS = 8

Given = Tensor | None
Function = Callable[..., tuple[Tensor, ...]]


_of_thread = threading.local()


class _Memory(GraphMemory):
    """That of one function's graphs. All warm-ups of a thread are on one stream, so that what one left free serves the next."""

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """The side stream of the thread."""
        streams: dict[str, torch.cuda.Stream] = vars(_of_thread)
        if str(self.device) not in streams:
            streams[str(self.device)] = torch.cuda.Stream(self.device)
        return streams[str(self.device)]


class Replayed:
    """A function that a CUDA device replays as a graph; on any other device it is the function itself.

    It may change what it keeps, such as parameters, in place, and must be one that `CapturedStep` can capture. What a call returns is
    overwritten by the next call on tensors of the same shapes.
    """

    def __init__(self, function: Function, device: torch.device | str) -> None:
        """`function` takes tensors, of which some may be None, and returns tensors."""
        self._function, self._device = function, torch.device(device)
        self._memory = _Memory(self._device)
        self._graphs: dict[tuple[tuple[torch.Size, torch.dtype] | None, ...], _Buffered] = {}

    def __call__(self, *given: Given) -> tuple[Tensor, ...]:
        """The function's results."""
        if self._device.type != "cuda":
            return self._function(*given)
        shapes = tuple(None if value is None else (value.shape, value.dtype) for value in given)
        if shapes not in self._graphs:
            if len(self._graphs) == MOST_GRAPHS:
                return self._function(*given)
            self._graphs[shapes] = _Buffered(self._function, given, self._device, self._memory)
        return self._graphs[shapes](given)


class _Buffered:
    """A function that is called on tensors of its own, into which what it is given is copied, and whose results lie in others."""

    def __init__(self, function: Function, like: tuple[Given, ...], device: torch.device, memory: GraphMemory) -> None:
        self._function = function
        self._given = tuple(None if value is None else torch.empty_like(value, requires_grad=False) for value in like)
        self._results: tuple[Tensor, ...] = ()
        self._step = CapturedStep(self._call, device, memory)

    def __call__(self, given: tuple[Given, ...]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            for own, value in zip(self._given, given, strict=True):
                if own is not None and value is not None:
                    own.copy_(value)
        self._step()
        return self._results

    def _call(self) -> None:
        found = self._function(*self._given)
        with torch.no_grad():
            if not self._results:
                self._results = tuple(torch.empty_like(value, requires_grad=False) for value in found)
            for own, value in zip(self._results, found, strict=True):
                own.copy_(value)
