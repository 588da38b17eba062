"""The order of dropout and normalisation in a model that stays the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nbdebug.core.names import unknown_name
from nbdebug.errors import ControlValueError, ModelError
from nbdebug.model.module.names import DROPOUTS, is_compiled
from nbdebug.model.order.index_usage import IndexedLayers
from nbdebug.model.order.placement import ACTIVATIONS, BATCH_NORMS, NORMS, ORDERS
from nbdebug.model.order.sequential import SequentialOrder
from nbdebug.model.order.traced import TracedOrder

EXAMINED = (
    "_parts", "_unsupported", "_sequential", "_traced", "available", "left_alone", "reason",
    "current", "norm_word",
)  # fmt: skip
COMPILED = "the model was compiled, which fixes the order; compile it after choosing one."


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders that a model can take.

    Attributes:
        available: of as_built, norm_dropout, dropout_norm, activation_dropout and
            dropout_last; as_built always.
        reason: reason why nothing can be reordered; "" if something can.
        left_alone: parts that cannot be reordered, each with the reason.
    """

    available: tuple[str, ...]
    reason: str = ""
    left_alone: tuple[str, ...] = ()


class LayerOrder:
    """Moves dropout relative to the norms and activations on the same straight path.

    A straight path is a sequence of layers in one `nn.Sequential`, or in a forward that
    `torch.fx` can trace, in which each layer is the only user of the one output of the layer
    before it. Only dropouts move; all other layers run in the order they were built in. Every
    module keeps its name, so the keys of `state_dict` and their order stay, checkpoints load,
    and parameters, optimizer state and hooks stay with their modules.

    The user's forward is run as it is written, with its modes, flags and arguments. If it
    takes another path than in the trace, so that a moved dropout would be lost, ModelError is
    raised.

    Go back to "as_built" before adding layers to a Sequential or deleting some, and before
    compiling or scripting the model.

    Attributes:
        available, reason, left_alone: see `Orders`.
        current: the current order.
        norm_word: name for the norms of this model in texts, BatchNorm or Norm.
        exchanged: True if the model has other layers since they were reordered.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self.exchanged = model, False
        self._earlier: list[dict[str, Any]] = []
        self._examine(model)

    def follow(self) -> None:
        """Examine the model again where it has other layers, unless they are reordered now."""
        parts = _parts(self._model)
        self.exchanged = parts != self._parts
        if not self.exchanged:
            return
        known = next((one for one in self._earlier if one["_parts"] == parts), None)
        if known is None and self.current != "as_built":
            return
        # A rewind brings earlier layers back, in the order that they were in.
        if not any(one["_parts"] == self._parts for one in self._earlier):
            self._earlier.append({name: vars(self)[name] for name in EXAMINED})
        if known is None:
            self._examine(self._model)
        else:
            vars(self).update(known)
        self.exchanged = False

    def _examine(self, model: nn.Module) -> None:
        self._parts = _parts(model)
        self._unsupported = _why_unsupported(model)
        examined = nn.Module() if self._unsupported else model
        self._sequential = SequentialOrder(examined, IndexedLayers(examined))
        self._traced = TracedOrder(examined, self._sequential.held)
        refused = (*self._sequential.refused, *self._traced.refused)
        possible = self._sequential.possible | self._traced.possible
        self.available = tuple(o for o in ORDERS if o == "as_built" or o in possible)
        self.left_alone = refused if possible else ()
        self.reason = "" if possible else self._unsupported or _why_nothing_moves(refused)
        self.current = self._traced.current
        norms = [module for module in model.modules() if isinstance(module, NORMS)]
        batch = all(isinstance(module, BATCH_NORMS) for module in norms)
        self.norm_word = "BatchNorm" if batch else "Norm"

    def set(self, order: str) -> str:
        """Apply an order and return a note about what moved.

        Raises:
            ControlValueError: the order does not exist or is not available.
            ModelError: layers were added, replaced or deleted, or the model was compiled, since
                training was set up.
        """
        if order not in ORDERS:
            raise ControlValueError(unknown_name("layer order", order, ORDERS))
        if order not in self.available:
            why = self.reason or f"it can be {', '.join(self.available)}."
            raise ControlValueError(f"The layer order cannot be {order!r}: {why}")
        if order != "as_built" and any(is_compiled(m) for m in self._model.modules()):
            raise ModelError(f"The layer order cannot be {order!r}: {COMPILED}")
        if order != "as_built":
            self._sequential.check()
            self._traced.check()
        moved, stays = self._sequential.set(order)
        more_moved, more_stays = self._traced.set(order)
        self.current = order
        return _note(moved + more_moved, [*self.left_alone, *stays, *more_stays])


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by name, without activations, which may be swapped."""
    return {n: m for n, m in model.named_modules() if type(m) not in ACTIVATIONS}


def orders(model: nn.Module) -> Orders:
    """Find the orders of dropout and normalisation that a model can take."""
    found = LayerOrder(model)
    return Orders(found.available, found.reason, found.left_alone)


def _why_unsupported(model: nn.Module) -> str:
    modules = list(model.modules())
    if any(is_compiled(module) for module in modules):
        return COMPILED
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules):
        return "the model is TorchScript, whose order is fixed."
    if not any(isinstance(module, NORMS) for module in modules):
        return "the model has no BatchNorm, LayerNorm or GroupNorm layer."
    if not any(isinstance(module, DROPOUTS) for module in modules):
        return (
            "the model has no dropout layer; a call of torch.nn.functional.dropout cannot be moved."
        )
    return ""


def _why_nothing_moves(refused: tuple[str, ...]) -> str:
    reason = "; ".join(refused) or (
        "no norm and dropout meet on a straight path (in an nn.Sequential, or in a forward, each "
        "feeding the next one alone) with only activations between them"
    )
    return f"{reason}."


def _note(moved: list[str], stays: list[str]) -> str:
    note = f"Now {'; '.join(moved)}." if moved else "Nothing moved."
    if stays:
        note += f" Left alone: {'; '.join(dict.fromkeys(stays))}."
    return note
