"""A CUDA device that exists in name only: device-dependent PyTorch code runs on a CPU as if its tensors lay on a GPU.

Every tensor moved to "cuda" becomes a `PretendCuda`: Python sees the device cuda:0, the values lie in an ordinary CPU tensor and
every operation is really carried out there. So control flow, indices and results are real, and

* mixing a pretended CUDA tensor with a CPU tensor raises where CUDA would (0-dimensional CPU tensors are allowed, as there);
* code that branches on `tensor.device.type` takes its GPU branch, also under torch.func.vmap and in forward mode;
* where deterministic algorithms are asked for, what has none on CUDA raises, and without them it is counted as unordered;
* whatever would make the host wait, copy or launch a kernel is counted with the line that asked for it (`launch_counts`).

What it cannot show: limits of kernels, cuDNN's choice of algorithms, layouts that only cuDNN returns, asynchronous errors, races,
memory; nor forward mode through the norms that PyTorch decomposes in Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from launch_counts import PRODUCTS, PUTS, Counts, line, refused
from replay import pretend_graphs
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from bilp.images import device_constants

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
INDEXING = ("index", "_unsafe_index", "_unsafe_index_put", *PUTS)
FACTORIES = {
    *("tensor", "zeros", "ones", "full", "empty", "arange", "rand", "randn", "randint", "randperm", "eye", "linspace", "as_tensor"),
    *("from_numpy", "frombuffer", "empty_strided", "scalar_tensor"),
}

_counts = Counts()


@dataclass(frozen=True)
class Properties:
    """What PyTorch is told of the device: the memory of an H100."""

    name: str = "pretended"
    total_memory: int = 80 * 10**9


class DeviceMismatch(RuntimeError):
    """An operation whose tensors would lie on two devices."""


class PretendCuda(Tensor):
    """A tensor that says it lies on cuda:0; `inner` holds its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> PretendCuda:
        assert type(inner) is not PretendCuda
        made: PretendCuda = Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, layout=inner.layout,
            device=inner.device,
        )  # fmt: skip
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PretendCuda({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        named = dict(kwargs or {})
        name = func._schema.name.split("::")[1]
        tensors = [value for value in tree_flatten((args, named))[0] if isinstance(value, Tensor)]
        _check(name, tensors, args)
        _refuse(name, func, args, named)
        outer = {id(value.inner): value for value in tensors if isinstance(value, PretendCuda)}
        _counts.operation(func, args, named, 2)
        if named.get("device") is not None and torch.device(named["device"]).type == "cuda":
            named["device"] = CPU
        plain_args, plain_named = tree_map(_inner, (args, named))
        if name == "copy_":  # strides of axes of length 1 differ from those of the outer tensors, and may look like an overlap
            plain_args = (plain_args[0], plain_args[1].clone(), *plain_args[2:])
        with torch._C.DisableTorchFunction():
            found = func(*plain_args, **plain_named)

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor) or isinstance(value, PretendCuda):
                return value
            return outer.get(id(value)) if id(value) in outer else PretendCuda(value)

        return tree_map(wrap, found)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, PretendCuda) else value


def _check(name: str, tensors: Sequence[Tensor], args: Sequence[Any]) -> None:
    """CUDA's rule: the tensors of an operation lie on one device, but for 0-dimensional ones on the CPU, copies and indices."""
    plain = [value for value in tensors if not isinstance(value, PretendCuda)]
    real = [value for value in plain if value.dim() > 0 and not value._is_zerotensor() and not getattr(value, "made_by_autograd", False)]
    if not real or name in ("copy_", "_to_copy", "_copy_from", "is_same_size"):
        if plain and name == "copy_":
            _counts.copy("copy_ across devices", plain[0].numel() * plain[0].element_size(), 3)
        return
    if name in INDEXING:
        values = args[2] if len(args) > 2 else None
        if isinstance(args[0], PretendCuda) and (values is None or isinstance(values, PretendCuda) or values.dim() == 0):
            for index in args[1]:
                if index is not None and not isinstance(index, PretendCuda):
                    _counts.copy(f"index of {name}", index.numel() * index.element_size(), 3)
            return
    shapes = [("cuda" if isinstance(value, PretendCuda) else "cpu", tuple(value.shape)) for value in tensors]
    raise DeviceMismatch(f"{name} of {shapes} at {line(3)}")


def _refuse(name: str, func: Any, args: Sequence[Any], named: dict[str, Any]) -> None:
    """Raise RuntimeError where CUDA does: deterministic algorithms are asked for, and the operation has none."""
    if not torch.are_deterministic_algorithms_enabled():
        return
    if refused(func, args, named):
        raise RuntimeError(f"{name} does not have a deterministic implementation, at {line(3)}")
    if name in PRODUCTS and os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in (":4096:8", ":16:8"):
        raise RuntimeError(f"{name} is not deterministic because it uses cuBLAS, and CUBLAS_WORKSPACE_CONFIG is not set, at {line(3)}")


class _Up(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return PretendCuda(value.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Tensor:
        return gradient.inner.clone()  # type: ignore[no-any-return]


class _Down(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Any) -> Tensor:
        return value.inner.detach().clone()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return PretendCuda(gradient.clone())


def device_of(value: Tensor) -> torch.device:
    """The device that Python sees, of what torch.func wrapped as well."""
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return CUDA if isinstance(value, PretendCuda) else torch._C.TensorBase.device.__get__(value)


def _innermost(value: Any) -> Any:
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        value = torch._C._functorch.get_unwrapped(value)
    return value


def up(value: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor as it lies on the pretended device."""
    if isinstance(value, PretendCuda):
        return value
    if dtype is not None:
        value = value.to(dtype)
    if value.numel():
        _counts.copy("to the device", value.numel() * value.element_size(), 5)
    if value.requires_grad and torch.is_grad_enabled():
        return _Up.apply(value)  # type: ignore[no-any-return, no-untyped-call]
    return PretendCuda(value.detach().clone())


def down(value: Tensor) -> Tensor:
    """A tensor of the pretended device as it lies on the CPU."""
    if not isinstance(value, PretendCuda):
        return value
    _counts.wait("copy to the CPU", 5)
    if value.requires_grad and torch.is_grad_enabled():
        return _Down.apply(value)  # type: ignore[no-any-return, no-untyped-call]
    return value.inner.detach().clone()


def _wanted(args: Sequence[Any], named: Mapping[str, Any]) -> tuple[torch.device | None, torch.dtype | None, Any, bool]:
    """device, dtype, memory_format and copy, from the arguments of Tensor.to."""
    form, copy = named.get("memory_format"), bool(named.get("copy", False))
    other = args[0] if args and isinstance(args[0], Tensor) else named.get("other")
    if other is not None:
        return device_of(other), other.dtype, form, copy
    device, dtype = named.get("device"), named.get("dtype")
    for value in args:
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, (str, torch.device)):
            device = value
    return (None if device is None else torch.device(device)), dtype, form, copy


class _MadeByAutograd(TorchDispatchMode):
    """Zeros that autograd makes in C++ for a pretended tensor lie on the CPU; they are marked, and fit both devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if type(found) is Tensor and not _Moves.making:
            given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
            if all(getattr(value, "made_by_autograd", False) for value in given):
                found.made_by_autograd = True  # type: ignore[attr-defined]
        return found


class _Moves(TorchFunctionMode):
    """What Python asks of tensors and of their device."""

    making = False  # a Python program is making a tensor, not autograd

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__name__", "") in FACTORIES and not _Moves.making:
            _Moves.making = True
            try:
                return self._answer(func, args, named)
            finally:
                _Moves.making = False
        return self._answer(func, args, named)

    def _answer(self, func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
        answer = _ANSWERS.get(func)
        if answer is not None:
            return answer(func, args, named)
        if getattr(func, "__name__", "") in ("_make_dual", "make_dual") and isinstance(_innermost(args[1]), PretendCuda):
            # Autograd would copy a tangent of another layout in C++, onto the CPU here.
            dense = [value.clone(memory_format=torch.contiguous_format) for value in args[:2]]
            return func(*dense, *args[2:], **named)
        if getattr(func, "__name__", "") in FACTORIES:
            named.pop("pin_memory", None)  # which needs a driver
        device = named.get("device")
        if device is None or torch.device(device).type != "cuda":
            return func(*args, **named)
        return _made(func, args, named)


def _made(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Tensor:
    """A new tensor on the device."""
    found = func(*args, **named | {"device": CPU})
    name = getattr(func, "__name__", str(func))
    if name in ("tensor", "as_tensor", "from_numpy"):
        _counts.copy(f"torch.{name} from values of Python", found.numel() * found.element_size(), 5)
    elif not name.startswith("empty"):
        _counts.created(name, 5)
    return PretendCuda(found.detach()).requires_grad_(found.requires_grad)


def _move(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    value = args[0]
    if func is Tensor.to:
        device, dtype, form, copy = _wanted(args[1:], named)
    else:
        device, dtype, form, copy = (CUDA if func is Tensor.cuda else CPU), None, named.get("memory_format"), False
    now = device_of(value)
    if device is not None and device.type == "cuda" and now.type != "cuda":
        moved = up(value, dtype)
        return moved if form is None else moved.to(memory_format=form)
    if device is not None and device.type == "cpu" and now.type == "cuda":
        found = down(value)
        return found if dtype is None else found.to(dtype)
    if device is not None and device.type == "meta":
        return torch.empty_like(_inner(value), device="meta")
    rest = {name: given for name, given in (("dtype", dtype), ("memory_format", form), ("copy", copy or None)) if given is not None}
    return Tensor.to(value, **rest) if rest else value


def _read(func: Any, args: Sequence[Any], named: dict[str, Any]) -> Any:
    if not isinstance(args[0], PretendCuda):
        return func(*args, **named)
    if func is not Tensor.tolist:
        raise TypeError(f"can't convert cuda:0 device type tensor to numpy, at {line(4)}")
    _counts.wait("tolist", 4)
    return args[0].inner.tolist()


def _replace_data(func: Any, args: Sequence[Any], named: dict[str, Any]) -> None:
    func(*args)
    if isinstance(args[0], PretendCuda):
        args[0].inner = args[1].inner


def _gradients(func: Any, args: Sequence[Any], named: dict[str, Any]) -> tuple[Any, ...]:
    """Gradients that autograd made of nothing but zeros of its own lie on the CPU here."""
    found = func(*args, **named)
    asked = args[1] if len(args) > 1 else named["inputs"]
    asked = [asked] if isinstance(asked, Tensor) else asked
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return tuple(
        PretendCuda(gradient) if type(gradient) is Tensor and isinstance(of, PretendCuda) and not wrapped(gradient) else gradient
        for gradient, of in zip(found, asked, strict=True)
    )


_ANSWERS: dict[Any, Callable[[Any, Sequence[Any], dict[str, Any]], Any]] = {
    Tensor.device.__get__: lambda func, args, named: device_of(args[0]),  # type: ignore[attr-defined]
    Tensor.is_cuda.__get__: lambda func, args, named: device_of(args[0]).type == "cuda",  # type: ignore[attr-defined]
    Tensor.is_cpu.__get__: lambda func, args, named: device_of(args[0]).type == "cpu",  # type: ignore[attr-defined]
    **dict.fromkeys((Tensor.to, Tensor.cuda, Tensor.cpu), _move),
    **dict.fromkeys((Tensor.tolist, Tensor.numpy, Tensor.__array__), _read),
    Tensor.data.__set__: _replace_data,
    torch.autograd.grad: _gradients,
}


def _grouped(plain: Callable[..., dict[Any, Any]]) -> Callable[..., dict[Any, Any]]:
    """How optimizers group tensors by device, which C++ reads past Python."""

    def grouped(*args: Any, **named: Any) -> dict[Any, Any]:
        found = plain(*args, **named).items()
        return {(device_of(lists[0][0]) if device is not None else device, dtype): (lists, at) for (device, dtype), (lists, at) in found}

    return grouped


def _mixed(plain: Any) -> Callable[..., Any]:
    """torch.autocast that rounds on the pretended device as well, as it does on a CPU."""
    return lambda device_type, *args, **named: plain(CPU.type if device_type == CUDA.type else device_type, *args, **named)


@contextmanager
def pretend_cuda() -> Iterator[Counts]:
    """Inside, "cuda" is a device. Yields what is counted."""
    from torch.optim import optimizer

    _counts.clear()
    device_constants.forget()  # those of a real device
    fast: list[type] = optimizer._foreach_supported_types
    added = PretendCuda not in fast
    if added:
        fast.append(PretendCuda)
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else a parameter on the CPU would keep its type
    named, torch.cuda.get_device_name = torch.cuda.get_device_name, lambda device=None: "pretended"
    properties, torch.cuda.get_device_properties = torch.cuda.get_device_properties, lambda device=None: Properties()  # type: ignore[assignment]
    grouped = optimizer._group_tensors_by_device_and_dtype
    optimizer._group_tensors_by_device_and_dtype = _grouped(grouped)
    mixed, torch.autocast = torch.autocast, _mixed(torch.autocast)  # type: ignore[misc]
    try:
        with pretend_graphs(_counts), _Moves(), _MadeByAutograd():
            yield _counts
    finally:
        device_constants.forget()
        torch.cuda.get_device_name, torch.cuda.get_device_properties = named, properties
        optimizer._group_tensors_by_device_and_dtype = grouped
        torch.autocast = mixed  # type: ignore[misc]
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
        if added:
            fast.remove(PretendCuda)
