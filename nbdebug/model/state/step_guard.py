"""Copies of what a forward pass changes in a model, to undo a failed step."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

from nbdebug.model.state.attributes import registered
from nbdebug.model.state.copying import MODULE_ATTRIBUTES, SIMPLE_TYPES
from nbdebug.model.state.failure_source import FailureSource
from nbdebug.model.state.tensor_copies import TensorCopies
from nbdebug.model.state.values.copier import ValueCopier, is_constant
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
        self._shallow: list[Inside] = []
        self._kept: list[tuple[Inside, str, Kept]] = []
        self._find_modules()

    def capture(self) -> None:
        """Copy the state, before the forward pass."""
        if list(map(len, self._counted)) != self._sizes:
            self._find_modules()
        self._shallow = list(map(dict.copy, self._dicts))
        tensors = [t for held in self._buffers for t in held.values() if t is not None]
        self._kept, copier = [], self._copier
        if self._watched:
            copier = ValueCopier(self._registered)
        for module in self._watched:
            inside = module.inside
            for name in module.changeable():
                value = inside[name]
                if isinstance(value, torch.Tensor):
                    # A tensor in a graph is bound again by the forward, not written to.
                    if value.grad_fn is None and id(value) not in self._registered:
                        tensors.append(value)
                else:
                    self._kept.append((inside, name, copier.keep(value, name)))
        self._copier = copier
        self._copies.take(tensors)

    def settle(self) -> None:
        """Release what the step does not need any more, after it succeeded."""
        self._copies.settle()
        self._shallow, self._kept = [], []

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
        left = self._left(source)
        self._copies.restore()
        if repeats < MAX_REPEATS:
            done = self._copier.unchanged(source.objects)
            for inside, name, kept in self._kept:
                if (id(inside), name) not in left:
                    inside[name] = kept.restored(inside.get(name), done)
        if repeats <= MAX_REPEATS:
            self._rebind(left)

    def _left(self, source: FailureSource) -> set[tuple[int, str]]:
        """Attributes that are left alone, by the id of the dict that holds them."""
        insides = {id(module): id(vars(module)) for module in self._model.modules()}
        return {(insides[owner], name) for owner, name in source.attributes if owner in insides}

    def _rebind(self, left: set[tuple[int, str]]) -> None:
        for inside, before in zip(self._dicts, self._shallow, strict=True):
            for name in [name for name in inside if name not in before]:
                del inside[name]
            for name, value in before.items():
                if inside.get(name, inside) is not value and (id(inside), name) not in left:
                    inside[name] = value

    def _find_modules(self) -> None:
        """Find the modules, buffers and attributes; again when their number has changed."""
        modules = [_Module(module) for module in self._model.modules()]
        insides = [module.inside for module in modules]
        held = [_registered_in(inside, "_buffers") for inside in insides]
        self._buffers = [buffers for buffers in held if buffers]
        self._dicts = insides + self._buffers
        self._watched = [module for module in modules if not module.fixed or module.changeable()]
        children = [_registered_in(inside, "_modules") for inside in insides]
        self._counted = insides + held + children
        self._sizes = list(map(len, self._counted))
        self._registered = frozenset(registered(self._model))


def _registered_in(inside: Inside, kind: str) -> Inside:
    """Buffers or children that a module registered; those of TorchScript keep it elsewhere."""
    found = inside.get(kind)
    return found if isinstance(found, dict) else {}


class _Module:
    """A module, with the names of its attributes whose values may change in place."""

    def __init__(self, module: nn.Module) -> None:
        self.inside: Inside = vars(module)
        # Layers of torch itself do not change their attributes; others may set some.
        self.fixed = type(module).__module__.startswith("torch.")
        self._names: list[str] | None = None

    def changeable(self) -> list[str]:
        if self._names is None or not self.fixed:
            self._names = [
                name
                for name, value in self.inside.items()
                if type(value) not in SIMPLE_TYPES
                and name not in MODULE_ATTRIBUTES
                and not is_constant(value)
                and not (self.fixed and _is_list_of_weights(value))
            ]
        return self._names


def _is_list_of_weights(value: Any) -> bool:
    """True for the lists in which recurrent layers hold their weights, and names of these."""
    kinds = (str, nn.Parameter, weakref.ref)
    return isinstance(value, list) and all(
        isinstance(part, kinds) or _is_list_of_weights(part) for part in value
    )
