"""Checkpoints as Flax packs them (flax.serialization.msgpack_serialize), made with msgpack alone."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def array(values: Array) -> msgpack.ExtType:
    """An array: shape, name of its type and bytes, packed as an extension of type 1."""
    return msgpack.ExtType(1, msgpack.packb((values.shape, values.dtype.name, values.tobytes("C")), use_bin_type=True))


def scalar(value: float) -> msgpack.ExtType:
    """A scalar of NumPy: an array without dimensions, as an extension of type 3."""
    return msgpack.ExtType(3, array(np.asarray(value, dtype=np.float32)).data)


def chunked(values: Array, size: int) -> dict[str, Any]:
    """An array in flat pieces of `size` numbers."""
    pieces = [array(values.reshape(-1)[start : start + size]) for start in range(0, values.size, size)]
    return {"__msgpack_chunked_array__": True, "shape": numbered(values.shape), "chunks": numbered(pieces)}


def numbered(values: Any) -> dict[str, Any]:
    """A list as Flax keeps one."""
    return {str(number): value for number, value in enumerate(values)}


def checkpoint(images: Any, labels: Any) -> bytes:
    """The state of FRePo's program with these as packed images and labels, and with what else lies in one."""
    params = {"x_proto": images, "y_proto": labels}
    moved = {"count": array(np.asarray(3, dtype=np.int32)), "mu": params, "nu": params}
    state = {
        "step": 500,
        "params": params,
        "opt_state": numbered([moved, {}, {"phase": msgpack.ExtType(2, msgpack.packb((0.5, -1.0)))}]),
        "epoch": 1,
        "best_val_acc": scalar(93.17),
        "ema_hidden": None,
        "ema_average": None,
        "ema_count": 0,
    }
    return bytes(msgpack.packb(state, strict_types=True))


def centered(ipc: int, classes: int, seed: int = 0) -> Array:
    """Labels `[classes * ipc, classes]` as they are in the beginning, and a little learned."""
    labels = np.eye(classes, dtype=np.float32).repeat(ipc, axis=0) - 1 / classes
    return (labels + np.random.default_rng(seed).normal(0, 0.05, labels.shape)).astype(np.float32)
