"""Capture and restore of plain attributes of modules: counters, tensors, lists, helper objects."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.errors import CheckpointError
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import MODULE_ATTRIBUTES, SIMPLE_TYPES, Copy, outline
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import MISSING, AsIs, Constant, Done, Kept, KeptTensor
from nbdebug.model.state.values.plain import Hides, PlainReader, PlainWriter, hides_none

SHARED_BYTES = 2**20


class Attributes:
    """Copies of the attributes of a model's modules that a forward may change.

    Attributes:
        modules: copies by module and name.
        uncopied: place and type of values that may have a state and cannot be copied.
        tensors: all copied tensors.
    """

    def __init__(self, modules: Mapping[str, dict[str, Kept]]) -> None:
        self.modules = dict(modules)
        self.uncopied: dict[str, str] = {}
        self.tensors: list[torch.Tensor] = []

    @classmethod
    def capture(cls, model: nn.Module, copy: Copy) -> Attributes:
        """Copy the attributes as they are now; `copy` copies a tensor."""
        copier = ValueCopier(registered(model), shared(copy))
        made = cls({
            name: _kept(module, copier, name) for name, module in model.named_modules()
        })  # fmt: skip
        made.uncopied, made.tensors = copier.uncopied, copier.tensors
        return made

    @classmethod
    def from_plain(
        cls, data: Mapping[str, Mapping[str, Any]], model: nn.Module, device: torch.device
    ) -> Attributes:
        """Copies that a file holds, for a model of the same classes.

        Raises:
            CheckpointError: the data has another form, or names what no forward may set.
        """
        reader, modules = PlainReader(device), dict(model.named_modules())
        found: dict[str, dict[str, Kept]] = {}
        for module, parts in data.items():
            # Files of 0.1 hold numbers among the attributes that every module has.
            parts = {name: value for name, value in parts.items() if name not in MODULE_ATTRIBUTES}
            here = modules.get(module)
            for name in parts:
                if is_code(type(here), name) or _is_part(here, name):
                    raise CheckpointError(
                        f"The checkpoint would replace {name} of {module or 'the model'}, which "
                        "is no state of a training. Resume only from files of your own."
                    )
            found[module] = {name: reader.kept(value) for name, value in parts.items()}
        return cls(found)

    @property
    def simple(self) -> dict[str, dict[str, Any]]:
        """Numbers, strings, bytes and None, by module."""
        return {
            module: {
                name: kept.value for name, kept in parts.items()
                if isinstance(kept, Constant) and type(kept.value) in SIMPLE_TYPES
            }
            for module, parts in self.modules.items()
        }  # fmt: skip

    def plain(
        self, identities: bool = False, hides: Hides = hides_none
    ) -> dict[str, dict[str, Any]]:
        """The copies as plain data; see `PlainWriter`."""
        writer = PlainWriter(identities, hides)
        return {
            module: {name: writer.plain(kept, name) for name, kept in parts.items()}
            for module, parts in self.modules.items()
        }

    def restore(self, model: nn.Module) -> None:
        """Write the copies back; attributes that were not there are deleted."""
        done: Done = {}
        storages = _storages(model)
        for name, module in model.named_modules():
            parts = self.modules.get(name)
            if parts is None:
                continue
            inside = vars(module)
            for key, kept in parts.items():
                now = inside.get(key, MISSING)
                if isinstance(kept, KeptTensor) and _storage(now) in storages:
                    # Of a fresh model, it may be a second name of a parameter that is written.
                    now = now if bitwise_equal(now.detach().cpu(), kept.data.cpu()) else MISSING
                value = kept.restored(now, done)
                if value is not MISSING:
                    inside[key] = value
            for key in [key for key in inside if key not in parts]:
                if key not in MODULE_ATTRIBUTES and _has_state(inside[key]):
                    del inside[key]


def shared(copy: Copy) -> Copy:
    """`copy`, which copies a large tensor once until it changes."""
    if copy is outline:
        return copy

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.nbytes < SHARED_BYTES or tensor.is_inference():
            return copy(tensor)
        known = _copies.get(tensor)
        if known is not None and known[:2] == (tensor._version, copy):
            same: torch.Tensor = known[2]
            if tensor.device.type != "cpu" or torch.equal(same, tensor.detach()):
                return same
        made = copy(tensor)
        _copies[tensor] = tensor._version, copy, made
        return made

    return copied


_copies: Any = WeakIdKeyDictionary()


def registered(model: nn.Module) -> set[int]:
    """Ids of modules, parameters and buffers, which are copied as such."""
    found = {id(module) for module in model.modules()}
    found |= {id(parameter) for parameter in model.parameters()}
    return found | {id(buffer) for buffer in model.buffers()}


def _kept(module: nn.Module, copier: ValueCopier, place: str) -> dict[str, Kept]:
    found = {}
    for name, value in vars(module).items():
        if name not in MODULE_ATTRIBUTES:
            kept = copier.keep(value, f"{place}.{name}" if place else name)
            # What is left as it is may be exchanged by a control, such as a function.
            if type(kept) is not AsIs:
                found[name] = kept
    return found


def is_code(kind: type, name: str) -> bool:
    """True for a method or property of a class."""
    found = inspect.getattr_static(kind, name, None)
    return callable(found) or hasattr(found, "__get__")


def captured_names(module: nn.Module) -> list[str]:
    """Names of the attributes of a module that `Attributes` copies."""
    return [
        name
        for name, value in vars(module).items()
        if name not in MODULE_ATTRIBUTES and _has_state(value)
    ]


def _is_part(module: nn.Module | None, name: str) -> bool:
    """True for a child, parameter or buffer, which an attribute of the name would hide."""
    return module is not None and any(
        name in parts for parts in (module._modules, module._parameters, module._buffers)
    )


def _storages(model: nn.Module) -> set[int]:
    """Addresses of the parameters and buffers of a model."""
    return {_storage(one) for one in (*model.parameters(), *model.buffers())} - {0}


def _storage(value: Any) -> int:
    """Address of the memory of a tensor; 0 for anything else and for one without memory."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return 0
    try:
        return value.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        # A tensor of another kind, such as a fake or a wrapped one.
        return 0


def _has_state(value: Any) -> bool:
    return type(ValueCopier().keep(value)) is not AsIs
