"""CUDA graphs on the pretended device: a capture that refuses what CUDA refuses, and a replay that computes from the same storages.

Between `torch.cuda.graph(...)` and its end every operation is noted with the storages that it reads and writes. As on CUDA

* what would make the host wait, copy anything to the device, or draw random numbers raises (`NotCapturable`);
* nothing has happened when the capture ends: tensors from outside are as they were, and those made inside hold rubbish (here not
  a number, or minus one) until the first replay;
* a replay reads and writes the storages of the capture, whatever lies in them by then. Python is not run again, so what it decided,
  and numbers that it read from the host, stay as they were;
* a tensor that was made before the capture, read in it and given up by its owner since, is gone: on CUDA its memory would be
  somebody else's by then, here a replay raises.

What it cannot show: streams and their order, memory, kernels that CUDA does not capture for reasons of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from launch_counts import Counts, NotCapturable
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

RUBBISH = 255
EMPTY = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")


def _plain(value: Tensor) -> Tensor:
    """The tensor that holds the values: of one on the device `inner`."""
    return vars(value).get("inner", value)


def _on_device(value: Any) -> bool:
    return isinstance(value, Tensor) and "inner" in vars(value)


def _tensors(value: Any) -> list[Tensor]:
    return [found for found in tree_flatten(value)[0] if isinstance(found, Tensor)]


def _key(value: Tensor) -> int:
    return _plain(value).untyped_storage()._cdata


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies: in a storage that belongs to the graph, or in one that belongs to somebody else."""

    storage: torch.UntypedStorage | StorageWeakRef
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, value: Tensor, storage: torch.UntypedStorage | StorageWeakRef) -> _Place:
        """The place of a tensor in `storage`."""
        assert not value.is_conj()
        assert not value.is_neg()
        return cls(storage, value.dtype, tuple(value.shape), value.stride(), value.storage_offset())

    def tensor(self) -> Tensor:
        """What lies there now. Raises NotCapturable if the storage is gone."""
        storage = self.storage
        if isinstance(storage, StorageWeakRef):
            storage = torch.UntypedStorage._new_with_weak_ptr(storage.cdata)
            if storage is None:
                raise NotCapturable(f"a replay reads a tensor {list(self.size)} that was given up since the capture")
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.size, self.stride)


@dataclass
class _Call:
    """One operation: how to do it again."""

    func: Any
    args: Any
    kwargs: Any
    made: list[_Place | None]
    """Of every tensor among the results: where it goes, if it lies in a storage of its own."""
    reads: set[int]
    writes: set[int]
    """Storages that it changes or makes, by their addresses."""
    on_device: bool

    def again(self) -> None:
        """Do it on what lies there now."""
        args, kwargs = tree_map(lambda value: value.tensor() if isinstance(value, _Place) else value, (self.args, self.kwargs))
        name = self.func._schema.name.split("::")[1]
        if name in EMPTY:
            return
        if name == "copy_":  # as the pretended device does
            args = (args[0], args[1].clone(), *args[2:])
        found = self.func(*args, **kwargs)
        for place, value in zip(self.made, _tensors(found), strict=True):
            if place is not None:
                place.tensor().copy_(value)


class PretendGraph:
    """Stands for torch.cuda.CUDAGraph."""

    def __init__(self, counts: Counts) -> None:
        """`counts` are those of the pretended device."""
        self.counts = counts
        self.calls: list[_Call] = []
        self.kernels = 0
        self.done = False

    def replay(self) -> None:
        """All operations again, counted as one launch."""
        assert self.done, "replayed before its capture ended"
        self.counts.replayed(self.kernels)
        with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
            for call in self.calls:
                call.again()


class _Recorder(TorchDispatchMode):
    """Notes every operation of a capture, and what was there before it was first changed."""

    def __init__(self, graph: PretendGraph) -> None:
        super().__init__()
        self.graph = graph
        self.made: dict[int, torch.UntypedStorage] = {}
        self.before: dict[int, tuple[torch.UntypedStorage, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        named = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise NotCapturable(f"{func} draws random numbers, which a replay would draw again or not at all")
        given = _tensors((args, named))
        written = self._written(func, args, named)
        for value in written:
            self._keep(value)
        places = tree_map(self._place, (args, named))
        reads = {_key(value) for value in given}
        found = func(*args, **named)
        results = _tensors(found)
        made: list[_Place | None] = []
        for value in results:
            fresh = _key(value) not in reads
            if fresh:
                self.made[_key(value)] = _plain(value).untyped_storage()
            made.append(_Place.of(_plain(value), self.made[_key(value)]) if fresh else None)
        writes = {_key(value) for value in written} | {_key(v) for v, place in zip(results, made, strict=True) if place is not None}
        if writes:  # else it made a view
            on_device = any(_on_device(value) for value in (*given, *results))
            self.graph.calls.append(_Call(func, *places, made, reads, writes, on_device))
        return found

    def finish(self) -> None:
        """Leave out what the host computed for itself, and undo everything."""
        needed: set[int] = set()
        kept = []
        for call in reversed(self.graph.calls):
            if call.on_device or not needed.isdisjoint(call.writes):
                needed |= call.reads | call.writes
                kept.append(call)
        self.graph.calls = kept[::-1]
        self.undo()
        for address in {address for call in kept for address in call.writes if address in self.made}:
            _bytes(self.made[address]).fill_(RUBBISH)

    def undo(self) -> None:
        """Give what was there before its values again."""
        for storage, values in self.before.values():
            _bytes(storage).copy_(values)
        self.before.clear()

    def _place(self, value: Any) -> Any:
        """An argument as it is kept: a place, or the value of what is no tensor of the device."""
        if isinstance(value, torch.device):
            return torch.device("cpu")
        if not isinstance(value, Tensor):
            return value
        plain, known = _plain(value), self.made.get(_key(value))
        if known is not None:
            return _Place.of(plain, known)
        if not _on_device(value) and value.dim() == 0:
            return value.detach().clone()  # a number from the host
        return _Place.of(plain, StorageWeakRef(plain.untyped_storage()))

    def _written(self, func: Any, args: Sequence[Any], named: Mapping[str, Any]) -> list[Tensor]:
        declared = func._schema.arguments
        pairs = [*zip(declared, args, strict=False), *((argument, named.get(argument.name)) for argument in declared)]
        return [value for of, given in pairs if of.alias_info is not None and of.alias_info.is_write for value in _tensors(given)]

    def _keep(self, value: Tensor) -> None:
        storage = _plain(value).untyped_storage()
        if storage._cdata not in self.made and storage._cdata not in self.before:
            self.before[storage._cdata] = (storage, _bytes(storage).clone())


def _bytes(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,))


@contextmanager
def _pretended_capture(graph: PretendGraph, **how: Any) -> Iterator[None]:
    """Stands for torch.cuda.graph."""
    counts, recorder = graph.counts, _Recorder(graph)
    before = copy.deepcopy(counts)
    counts.capturing = True
    try:
        with recorder:
            yield
        with _disable_current_modes():
            recorder.finish()
    finally:
        graph.kernels = counts.kernels - before.kernels
        with _disable_current_modes():
            recorder.undo()
        counts.__dict__.update(before.__dict__)
    graph.done = True


class _Stream:
    """Stands for torch.cuda.Stream: here everything happens in the order in which it is asked for."""

    def __init__(self, device: object = None) -> None:
        pass

    def wait_stream(self, other: _Stream) -> None:
        """Nothing to wait for."""


class _Event:
    """Stands for torch.cuda.Event."""

    def record(self) -> None:
        """Over already."""

    def synchronize(self) -> None:
        """Over already."""


@contextmanager
def pretend_graphs(counts: Counts) -> Iterator[None]:
    """Inside, torch.cuda has streams, events and graphs, which `counts` counts as one launch each."""

    names: dict[str, Any] = {
        "Stream": _Stream,
        "Event": _Event,
        "current_stream": lambda device=None: _Stream(),
        "stream": lambda stream: nullcontext(),
        "graph_pool_handle": lambda: (0, 0),
        "CUDAGraph": lambda: PretendGraph(counts),
        "graph": _pretended_capture,
    }
    with patch.multiple(torch.cuda, **names):
        yield
