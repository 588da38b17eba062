"""The order of dropout and batch normalisation in `nn.Sequential`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from nbdebug.core.errors import ControlValueError, ModelError, unknown_name
from nbdebug.model.indexing import PickedLayers
from nbdebug.model.tree import DROPOUTS, every_module, is_compiled

ORDERS = ("as_built", "norm_dropout", "dropout_norm")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ELEMENTWISE = frozenset(
    {
        nn.Identity, nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish,
        nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU,
        nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh,
        nn.Tanhshrink, nn.Threshold,
    }
)  # fmt: skip
# They may hand on the very tensor they were given.
PASS_ON = (*DROPOUTS, nn.Identity, nn.Flatten, nn.Unflatten, nn.Sequential)


@dataclass(frozen=True, slots=True)
class Orders:
    """Which orders a model can take.

    Attributes:
        available: of as_built, norm_dropout and dropout_norm; as_built always.
        reason: why there is nothing to reorder; "" when there is.
        left_alone: containers that must stay as they are, each with the reason.
    """

    available: tuple[str, ...]
    reason: str = ""
    left_alone: tuple[str, ...] = ()


class LayerOrder:
    """Moves BatchNorm before Dropout, or after it, in a model that stays the same object.

    A BatchNorm and a Dropout in the same `nn.Sequential` with only activations between
    them exchange their positions; what stands between stays where it is. Every module
    keeps its key, so the keys of `state_dict` stay, checkpoints load, and parameters,
    optimizer state and hooks stay with their modules. Only the order of the keys changes:
    `named_parameters` of a reordered model lists parameters in another order where a PReLU
    stands between. An optimizer that exists is not touched by that, but one built anew
    from such a model numbers the parameters differently in its `state_dict`.

    Go back to "as_built" before adding layers to a Sequential or deleting some: torch
    numbers new keys by position.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places, found = _examine(model)
        self._built = {name: tuple(place._modules) for name, place in self._places.items()}
        self._left_alone = found.left_alone
        self.available = found.available
        self.reason = found.reason
        self.current = "as_built"

    def set(self, order: str) -> str:
        """Put an order in force and tell what moved.

        Raises:
            ControlValueError: for an order that does not exist or is not available.
            ModelError: when layers were added or deleted since the model was given.
        """
        if order not in ORDERS:
            raise ControlValueError(unknown_name("layer order", order, ORDERS))
        if order not in self.available:
            raise ControlValueError(f"The layer order cannot be {order!r}: {self.reason}")
        wanted = {name: self._wanted(name, order) for name in self._places}
        moved: list[str] = []
        for name, keys in wanted.items():
            place = self._places[name]
            before = tuple(place._modules)
            if keys == before:
                continue
            moved += _moves(name, place, before, keys)
            # One assignment, so that nobody who iterates meets half an order.
            place._modules = type(place._modules)((key, place._modules[key]) for key in keys)
        self.current = order
        return _note(moved, self._left_alone)

    def _wanted(self, name: str, order: str) -> tuple[str, ...]:
        place, built = self._places[name], self._built[name]
        if set(place._modules) != set(built):
            raise ModelError(
                f"Layers of {name or 'the model'!r} were added or deleted since training was "
                "set up; make a new Debugger to reorder them."
            )
        return _arranged(place, built, order)


def orders(model: nn.Module) -> Orders:
    """Which of the orders of dropout and batch normalisation a model can take."""
    return _examine(model)[1]


def _examine(model: nn.Module) -> tuple[dict[str, nn.Sequential], Orders]:
    """The containers that can be reordered, by name, and what there is to say."""
    reason = _hopeless(model)
    if reason:
        return {}, Orders(("as_built",), reason)
    places: dict[str, nn.Sequential] = {}
    refused: list[str] = []
    picked = PickedLayers(model)
    for name, module in every_module(model):
        if not isinstance(module, nn.Sequential) or not _runs(module, tuple(module._modules)):
            continue
        obstacle = _obstacle(module) or picked.sentence(module)
        if obstacle:
            refused.append(f"{name or 'the model'} ({type(module).__name__}) {obstacle}")
        else:
            places[name] = module
    if places:
        return places, Orders(ORDERS, "", tuple(refused))
    reason = "; ".join(refused) or (
        "no BatchNorm and Dropout stand in the same nn.Sequential with only activations "
        "between them"
    )
    return {}, Orders(("as_built",), f"{reason}.", tuple(refused))


def _hopeless(model: nn.Module) -> str:
    modules = list(model.modules())
    if any(is_compiled(module) for module in modules):
        return "the model was compiled, which fixes the order; compile it after choosing one."
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return "the model is TorchScript, whose order is fixed."
    if not any(isinstance(module, NORMS) for module in modules):
        return "the model has no BatchNorm layer."
    if not any(isinstance(module, DROPOUTS) for module in modules):
        return "the model has no dropout layer."
    return ""


def _obstacle(place: nn.Sequential) -> str:
    kind = type(place)
    own = kind.forward is not nn.Sequential.forward or "forward" in vars(place)
    if own or kind.__iter__ is not nn.Sequential.__iter__:
        return "has a forward of its own, which may not follow the order of its layers"
    built = tuple(place._modules)
    moving = [place._modules[key] for run in _runs(place, built) for key in run]
    if any(getattr(module, "inplace", False) for module in moving):
        return "has a dropout that works in place; build it with inplace=False"
    for order in ORDERS[1:]:
        if _writes_input(place, _arranged(place, built, order)) > _writes_input(place, built):
            return "would overwrite its own input with an in-place activation; use inplace=False"
    return ""


def _runs(place: nn.Sequential, keys: Iterable[str]) -> list[list[str]]:
    """Keys of norms and dropouts that stand together, where there are both."""
    runs: list[list[str]] = [[]]
    for key in keys:
        module = place._modules[key]
        if isinstance(module, (*NORMS, *DROPOUTS)):
            runs[-1].append(key)
        elif type(module) not in ELEMENTWISE:
            runs.append([])
    return [run for run in runs if len({_is_norm(place, key) for key in run}) == 2]


def _is_norm(place: nn.Sequential, key: str) -> bool:
    return isinstance(place._modules[key], NORMS)


def _arranged(place: nn.Sequential, built: tuple[str, ...], order: str) -> tuple[str, ...]:
    """Keys in the order of execution; norms keep their order among themselves, so do dropouts."""
    if order == "as_built":
        return built
    keys = list(built)
    norm_first = order == "norm_dropout"
    for run in _runs(place, built):
        slots = [built.index(key) for key in run]
        ordered = sorted(run, key=lambda key: _is_norm(place, key) != norm_first)
        for slot, key in zip(slots, ordered, strict=True):
            keys[slot] = key
    return tuple(keys)


def _writes_input(place: nn.Sequential, keys: tuple[str, ...]) -> bool:
    """Whether, in eval mode, a module changes the tensor that the container was given."""
    for key in keys:
        module = place._modules[key]
        if getattr(module, "inplace", False):
            return True
        if not isinstance(module, PASS_ON):
            return False
    return False


def _moves(
    name: str, place: nn.Sequential, before: tuple[str, ...], after: tuple[str, ...]
) -> list[str]:
    sentences = []
    for run in _runs(place, before):
        new = sorted(run, key=after.index)
        if new != run:
            words = [f"{f'{name}.{key}'.lstrip('.')} ({_kind(place, key)})" for key in new]
            sentences.append(" before ".join(words))
    return sentences


def _kind(place: nn.Sequential, key: str) -> str:
    return type(place._modules[key]).__name__


def _note(moved: list[str], left_alone: tuple[str, ...]) -> str:
    note = f"Now {'; '.join(moved)}." if moved else "Nothing moved."
    if left_alone:
        note += f" Left alone: {'; '.join(left_alone)}."
    return note
