"""Copies of the weights beside a model, such as running averages of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.model.precision import wide
from nbdebug.model.training_state import TrainingState

MAX_COPIES, MAX_TENSORS, MAX_ELEMENTS = 4, 8, 64
Read = Callable[[], Any]
Pair = tuple[Read, nn.Parameter]


class WeightCopy:
    """Some weights of a copy, each with the one of the model that it is of.

    Attributes:
        name: of the copy; module: the copy, where it is a network.
    """

    def __init__(self, name: str, pairs: list[Pair], module: nn.Module | None = None) -> None:
        self.name, self.module = name, module
        every = max(len(pairs) // MAX_TENSORS, 1)
        self._pairs = pairs[::every]

    def read(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Some elements [E] of the copy, and those of the model; None if it is gone."""
        found = [(read(), own) for read, own in self._pairs]
        if not all(isinstance(one, torch.Tensor) and one.shape == own.shape for one, own in found):
            return None
        copied, own = (
            torch.cat([wide(one.detach().flatten()[:MAX_ELEMENTS]) for one in part])
            for part in zip(*found, strict=True)
        )
        return copied, own


def copies(session: TrainingState) -> list[WeightCopy]:
    """Copies of the weights that the user's code or the model itself reaches."""
    found, known = list[WeightCopy](), set[int]()
    wholes = [one for one in session.model.modules() if _trained(one)]
    for name, module in _modules(session):
        inner = {id(one) for one in module.parameters()}
        pairs = None if known & inner else _of_module(module, wholes)
        if pairs:
            found.append(WeightCopy(name, pairs, module))
            known |= inner
    for name, reads in _groups(session, known).items():
        pairs = _matched(reads, _trained(session.model))
        if pairs:
            found.append(WeightCopy(name, pairs))
    return found[:MAX_COPIES]


def _trained(module: nn.Module) -> list[nn.Parameter]:
    """Parameters of a module that are to be averaged; none if some of it is not trained."""
    own = list(module.parameters())
    return own if any(one.requires_grad for one in own) else []


def _modules(session: TrainingState) -> Iterator[tuple[str, nn.Module]]:
    """Modules beside the model, and those within it that are not trained, by name."""
    model = session.model
    for name, value in session.surroundings.named():
        if isinstance(value, nn.Module) and value is not model:
            yield name, value
    for name, module in model.named_modules():
        own = list(module.parameters())
        if own and not any(one.requires_grad for one in own):
            yield name, module


def _of_module(module: nn.Module, wholes: Iterable[nn.Module]) -> list[Pair] | None:
    """Pairs of the parameters of a copy with those of the first module of the same shapes."""
    parameters = list(module.parameters())
    inner = {id(one) for one in parameters}
    for whole in wholes:
        own = list(whole.parameters())
        if inner.isdisjoint(id(one) for one in own):
            pairs = _matched([_constant(one) for one in parameters], own)
            if pairs:
                return pairs
    return None


def _constant(tensor: torch.Tensor) -> Read:
    return lambda: tensor


def _groups(session: TrainingState, known: set[int]) -> dict[str, list[Read]]:
    """Tensors that lie in one dictionary or list, by the name of it."""
    own = {id(one) for one in session.model.parameters()} | known
    groups = dict[str, list[Read]]()
    for reached in session.surroundings.reached():
        place, value = reached.place, reached.value
        if not isinstance(value, torch.Tensor) or id(value) in own or not place.endswith("]"):
            continue
        # Who binds a new tensor with each update is asked for the present one.
        bind: Any = reached.bind
        holder = getattr(getattr(bind, "func", None), "__self__", None)
        read = _item(holder, bind.args[0]) if isinstance(holder, dict) else _constant(value)
        groups.setdefault(place.rpartition("[")[0], []).append(read)
    return groups


def _item(holder: dict[Any, Any], key: Any) -> Read:
    return lambda: holder.get(key)


def _matched(reads: list[Read], own: list[nn.Parameter]) -> list[Pair]:
    """Pairs in the order of the parameters; buffers may lie between. Empty if one is missing."""
    pairs, rest = list[Pair](), iter(reads)
    for parameter in own:
        for read in rest:
            value = read()
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                pairs.append((read, parameter))
                break
    return pairs if pairs and len(pairs) == len(own) else []
