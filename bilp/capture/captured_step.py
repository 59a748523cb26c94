"""A step over fixed tensors as a CUDA graph: hundreds of launches become one.

A step may be captured if a call of it asks the host nothing: whatever differs from call to call lies in tensors that stay where they
are (`Inputs`, parameters, images, momentum), which the step reads and changes in place. It neither waits for a value, nor copies
anything to the device, nor draws random numbers, and the number and the shapes of its operations are the same in every call.
Tensors that it reads and did not make itself must live as long as it does; a graph knows addresses, not owners.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from bilp.notices import say_once

# Calls that run as they are before one is captured: libraries choose algorithms, allocate workspaces and compile in the first ones.
WARM_UPS = 3


class GraphMemory:
    """What the graphs of one loop share: the stream on which they are made, and the memory between their operations.

    They must be replayed one after the other, and none may read what another left in memory that it allocated itself.
    """

    def __init__(self, device: torch.device) -> None:
        """`device` is that of all the graphs."""
        self.device = device

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """The side stream of warm-ups and captures."""
        return torch.cuda.Stream(self.device)

    @cached_property
    def pool(self) -> tuple[int, int]:
        """Handle of the memory pool, which nothing else allocates from."""
        return torch.cuda.graph_pool_handle()


class CapturedStep:
    """A step that a CUDA device replays as one graph from its fourth call on; on any other device it is the step itself.

    Every call has the effects of a call of the step, in the order of the calls. Where CUDA refuses to capture it, it goes on as it is,
    and one line says so.
    """

    def __init__(self, step: Callable[[], None], device: torch.device, memory: GraphMemory | None = None) -> None:
        """`step` is kept, and with it what it reads; graphs of one loop share `memory`."""
        self._step, self._memory = step, memory or GraphMemory(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._captures, self._warm_ups = device.type == "cuda", WARM_UPS

    def __call__(self) -> None:
        """One call of the step; on a CUDA device it is queued on the current stream, as any operation is."""
        if self._captures and self._warm_ups > 0:
            self._warm_ups -= 1
            self._beside()
            return
        if self._captures and self._graph is None:
            self._capture()
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def _beside(self) -> None:
        """A call on the side stream, as PyTorch asks of what will be captured."""
        current, side = torch.cuda.current_stream(self._memory.device), self._memory.stream
        side.wait_stream(current)
        with torch.cuda.stream(side):
            self._step()
        current.wait_stream(side)

    def _capture(self) -> None:
        """Record the step, which does not run it. Other threads may use the device meanwhile."""
        graph, memory = torch.cuda.CUDAGraph(), self._memory
        try:
            with torch.cuda.graph(graph, pool=memory.pool, stream=memory.stream, capture_error_mode="thread_local"):
                self._step()
        except RuntimeError as refused:
            self._captures = False
            reason = str(refused).strip().partition("\n")[0]
            say_once(f"CUDA did not capture a step as a graph: its operations are launched one by one, slower and no different: {reason}")
            return
        self._graph = graph
