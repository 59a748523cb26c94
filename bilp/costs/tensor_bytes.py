"""How large a file of named tensors is before there is one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import torch

from bilp.artifacts.tensors import Form

_WORDS = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}
_ALIGNED = 8


def tensor_file_bytes(forms: Mapping[str, Form]) -> int:
    """Bytes of the safetensors file of tensors of these types and shapes: eight for the length of the header, the header, the values.

    The header is compact JSON in the order of the values, which is that of falling size of a number and then of names, and is filled up
    with blanks to a multiple of eight.
    """
    header, offset = {}, 0
    for name, (kind, shape) in sorted(forms.items(), key=lambda each: (-each[1][0].itemsize, each[0])):
        stop = offset + kind.itemsize * math.prod(shape)
        header[name] = {"dtype": _WORDS[kind], "shape": list(shape), "data_offsets": [offset, stop]}
        offset = stop
    text = len(json.dumps(header, separators=(",", ":")).encode())
    return _ALIGNED + -(-text // _ALIGNED) * _ALIGNED + offset
