"""Modules, parameters and groups of an optimizer as objects, which code may exchange."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.model.module.sharded import is_sharded

REGISTRIES = ("_modules", "_parameters")
Registry = dict[str, Any]


class Structure:
    """The objects that a model and an optimizer consist of, but for their values.

    A loop may add layers, or exchange some. Where such a step was made on trial, the objects of
    before are put back.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._registries = [(*held, dict(held[-1])) for held in _registries(model)]
        self._groups = [
            (one, [(group, list(group["params"])) for group in one.param_groups], list(one.state))
            for one in getattr(optimizer, "members", {"": optimizer}).values()
        ]

    def restore(self) -> None:
        """Put the objects back."""
        for inside, name, registry, before in self._registries:
            # A container that loses a part takes another dict.
            inside[name] = registry
            if list(registry) != list(before) or not _same(
                list(registry.values()), list(before.values())
            ):
                registry.clear()
                registry.update(before)
        for optimizer, groups, keys in self._groups:
            held = set(map(id, keys))
            for key in [key for key in optimizer.state if id(key) not in held]:
                # Of a parameter that no group has any more.
                if isinstance(key, torch.Tensor) and not _is_in(groups, key):
                    del optimizer.state[key]
            optimizer.param_groups[:] = [group for group, _ in groups]
            for group, parameters in groups:
                if not _same(group["params"], parameters):
                    group["params"] = list(parameters)


class Composition:
    """The modules and parameters that a model consists of at a time, as objects."""

    def __init__(self, model: nn.Module) -> None:
        found = list(_registries(model))
        # Kept alive, so that no other object gets the id of one.
        self._held = [list(held[-1].values()) for held in found]
        self._ids = [
            (*one, list(map(id, held))) for one, held in zip(found, self._held, strict=True)
        ]

    def is_that_of_now(self) -> bool:
        """True if the model consists of the same objects still."""
        for inside, name, registry, before in self._ids:
            if inside.get(name) is not registry or [*map(id, registry.values())] != before:
                return False
        return True


def _registries(model: nn.Module) -> Iterator[tuple[Registry, str, Registry]]:
    """Attributes of modules, and name and dict of their parts; those of TorchScript have none."""
    for module in model.modules():
        for name in REGISTRIES:
            found = vars(module).get(name)
            # FSDP exchanges weights by itself, within a step.
            if isinstance(found, dict) and not any(map(is_sharded, found.values())):
                yield vars(module), name, found


def _is_in(groups: Collection[tuple[Any, list[Any]]], tensor: torch.Tensor) -> bool:
    return any(one is tensor for _, held in groups for one in held)


def _same(now: Collection[Any], before: Collection[Any]) -> bool:
    return len(now) == len(before) and all(map(operator.is_, now, before))
