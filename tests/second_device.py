"""A second device for machines with only a CPU: torch's PrivateUse1, with kernels in Python.

The tensors are plain `torch.Tensor`s of the device type "second", without memory of their
own as torch sees it. What they hold lies in CPU tensors that only this file can reach. An
operation that mixes both devices is refused as on a GPU, by torch itself or by `_compute`.
A write into a view of a transposed tensor is lost. Calling `install` renames the backend
for the whole process: call it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

SECOND = "second"
_held: dict[int, torch.Tensor] = {}
_libraries: list[torch.library.Library] = []


def install() -> None:
    """Make the device; once in a process."""
    backend_registration._setup_privateuseone_for_python_backend(SECOND)
    every = torch.library.Library("_", "IMPL")
    every.fallback(_compute, "PrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    for name, kernel in (
        ("empty.memory_format", _empty),
        ("empty_strided", lambda size, stride, **options: _empty(size, **options)),
        ("_copy_from", _copy_from),
        ("view", _view),
        ("as_strided", _as_strided),
        ("_local_scalar_dense", lambda tensor: _host(tensor).item()),
    ):
        aten.impl(name, kernel, "PrivateUse1")
    _libraries.extend((every, aten))


def _device(values: torch.Tensor) -> torch.Tensor:
    """A tensor of the second device whose memory is this; a view's is part of another's."""
    made: torch.Tensor = torch._C._acc.create_empty_tensor(tuple(values.shape), values.dtype)
    _held[made.untyped_storage()._cdata] = values
    return made


def _host(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a tensor; the CPU's own pass through."""
    if tensor.device.type != SECOND:
        return tensor
    inside = _held[tensor.untyped_storage()._cdata]
    assert (inside.shape, inside.dtype) == (tensor.shape, tensor.dtype)
    return inside


def _empty(size: Any, *, dtype: torch.dtype | None = None, **_: Any) -> torch.Tensor:
    return _device(torch.full(tuple(size), 77, dtype=dtype or torch.get_default_dtype()))


def _copy_from(source: torch.Tensor, to: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _host(to).copy_(_host(source))
    return to


def _view(tensor: torch.Tensor, size: Any) -> torch.Tensor:
    return _device(_host(tensor).reshape(size))


def _as_strided(
    tensor: torch.Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> torch.Tensor:
    # To torch every tensor here is contiguous, so the strides asked for count on that.
    inside = _host(tensor).contiguous()
    start = inside.storage_offset() + (storage_offset or 0)
    return _device(inside.as_strided(size, stride, start))


def _tensors(arguments: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, torch.Tensor))


def _compute(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Any other operation, on the memory of the second device."""
    for tensor in _tensors((args, kwargs)):
        # As on a GPU: only CPU tensors without dimensions may join, and indices.
        if tensor.device.type != SECOND and tensor.dim() and not str(op).startswith("aten.index."):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{SECOND}:0 and {tensor.device}! ({op})"
            )
    given: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def to_host(leaf: Any) -> Any:
        if isinstance(leaf, torch.device):
            return torch.device("cpu")
        if not isinstance(leaf, torch.Tensor):
            return leaf
        inside = _host(leaf)
        given[id(inside)] = (inside, leaf)
        return inside

    def to_device(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return given[id(leaf)][1] if id(leaf) in given else _device(leaf)

    host_args, host_kwargs = pytree.tree_map(to_host, (args, kwargs))
    result = op(*host_args, **host_kwargs)
    for inside, outside in given.values():
        if inside.shape != outside.shape:
            # torch hands over some results empty, for the kernel to give them their size.
            outside.data = _device(inside)
    return pytree.tree_map(to_device, result)
