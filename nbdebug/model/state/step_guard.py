"""Copies of what a forward pass changes in a model, to undo a failed step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nbdebug.model.state.attributes import registered
from nbdebug.model.state.copying import MODULE_ATTRIBUTES, SIMPLE_TYPES
from nbdebug.model.state.failure_source import FailureSource
from nbdebug.model.state.tensor_copies import TensorCopies
from nbdebug.model.state.values.copier import CONSTANT_TYPES, ValueCopier
from nbdebug.model.state.values.kept import Kept

MAX_REPEATS = 3
Inside = dict[str, Any]


class StepGuard:
    """Copies of buffers, modes and attributes of modules, taken before each forward pass.

    What is bound to another object is found by shallow copies of `vars(module)`; tensors and
    containers, which may change in place, are copied.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._copies, self._copier = TensorCopies(), ValueCopier()
        self._shallow: list[tuple[Inside, Inside]] = []
        self._kept: list[tuple[Inside, str, Kept]] = []
        self._modules: list[_Module] = []
        self._children = -1

    def capture(self) -> None:
        """Copy the state, before the forward pass."""
        self._find_modules()
        self._shallow, self._kept = [], []
        tensors: list[torch.Tensor] = []
        copier = self._copier = ValueCopier(self._registered)
        for module in self._modules:
            inside = module.inside
            self._shallow.append((inside, inside.copy()))
            buffers = inside["_buffers"]
            if buffers:
                self._shallow.append((buffers, buffers.copy()))
                tensors += [buffer for buffer in buffers.values() if buffer is not None]
            for name in module.changeable():
                value = inside[name]
                if isinstance(value, torch.Tensor):
                    # A tensor in a graph is bound again by the forward, not written to.
                    if value.grad_fn is None and id(value) not in self._registered:
                        tensors.append(value)
                else:
                    self._kept.append((inside, name, copier.keep(value, name)))
        self._copies.take(tensors)

    def settle(self) -> None:
        """Release what the step does not need any more, after it succeeded."""
        self._copies.settle()
        self._shallow, self._kept, self._copier = [], [], ValueCopier()

    def restore(self, error: BaseException, repeats: int = 0) -> None:
        """Restore the state, after a failed step.

        Args:
            error: what the step raised; what decided to raise it is left as it is, see
                `FailureSource`.
            repeats: how often the same failure came back. One that depends on what is restored
                would come back for ever: at last containers and helper objects are left as the
                failed step left them, and then all attributes.
        """
        source = FailureSource(error)
        self._copies.restore()
        if repeats < MAX_REPEATS:
            done = self._copier.unchanged(source.objects)
            for inside, name, kept in self._kept:
                if (id(inside), name) not in self._left(source):
                    inside[name] = kept.restored(inside.get(name), done)
        if repeats <= MAX_REPEATS:
            self._rebind(self._left(source))

    def _left(self, source: FailureSource) -> set[tuple[int, str]]:
        """Attributes that are left alone, by the id of the dict that holds them."""
        insides = {id(module.module): id(module.inside) for module in self._modules}
        return {(insides[owner], name) for owner, name in source.attributes if owner in insides}

    def _rebind(self, left: set[tuple[int, str]]) -> None:
        for inside, before in self._shallow:
            for name in [name for name in inside if name not in before]:
                del inside[name]
            for name, value in before.items():
                if inside.get(name, inside) is not value and (id(inside), name) not in left:
                    inside[name] = value

    def _find_modules(self) -> None:
        children = sum(len(module.inside["_modules"]) for module in self._modules)
        if children != self._children:
            self._modules = [_Module(module) for module in self._model.modules()]
            self._registered = registered(self._model)
            self._children = sum(len(module.inside["_modules"]) for module in self._modules)


class _Module:
    """A module, with the names of its attributes whose values may change in place."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.inside = module, vars(module)
        # Layers of torch itself do not change their attributes; others may set some.
        self._fixed = type(module).__module__.startswith("torch.")
        self._size, self._names = -1, list[str]()

    def changeable(self) -> list[str]:
        if not self._fixed or len(self.inside) != self._size:
            self._size = len(self.inside)
            self._names = [
                name
                for name, value in self.inside.items()
                if type(value) not in SIMPLE_TYPES
                and name not in MODULE_ATTRIBUTES
                and not isinstance(value, CONSTANT_TYPES)
            ]
        return self._names
