"""Moves dropout in `nn.Sequential`, by the order of its keys."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.names import every_module
from nbdebug.model.order.index_usage import IndexedLayers
from nbdebug.model.order.placement import (
    ORDERS,
    Chain,
    Placement,
    Step,
    placement,
    possible_placements,
    step_of,
)


class SequentialOrder:
    """Every `nn.Sequential` of a model in which a dropout can move.

    Attributes:
        possible: the orders that at least one of them can take.
        refused: containers that cannot be reordered, each with the reason.
        held: modules of the reorderable containers, which no other class may move.
    """

    def __init__(self, model: nn.Module, indexed: IndexedLayers) -> None:
        self._paths: dict[str, _SequentialPaths] = {}
        self.possible: set[str] = set()
        self.refused: list[str] = []
        for name, module in every_module(model):
            if not isinstance(module, nn.Sequential) or _overrides_order(module):
                continue
            paths = _SequentialPaths(name, module)
            if not paths.movable:
                continue
            obstacle = indexed.sentence(module)
            if obstacle:
                self.refused.append(f"{name or 'the model'} ({type(module).__name__}) {obstacle}")
            elif paths.possible:
                self._paths[name] = paths
                self.possible |= paths.possible
            else:
                reasons = (reason for order in ORDERS for reason in paths.refused(order))
                self.refused += dict.fromkeys(reasons)
        self.held = {
            module for paths in self._paths.values() for module in paths.sequential.children()
        }

    def check(self) -> None:
        """Raise ModelError if layers were added or deleted since training was set up."""
        for name, paths in self._paths.items():
            if set(paths.sequential._modules) != set(paths.built):
                raise ModelError(
                    f"Layers of {name or 'the model'!r} were added or deleted since training "
                    "was set up; make a new Debugger to reorder them."
                )

    def set(self, order: str) -> tuple[list[str], list[str]]:
        """Apply an order; return what moved, and what stays against the order with the reason."""
        moved: list[str] = []
        stays: list[str] = []
        for paths in self._paths.values():
            moved += paths.set(order)
            stays += paths.refused(order)
        return moved, stays


class _SequentialPaths:
    """A Sequential as it was built, and its straight paths."""

    def __init__(self, name: str, sequential: nn.Sequential) -> None:
        self.sequential = sequential
        self.built = tuple(sequential._modules)
        self._chains = list(_chains(name, sequential))
        self._current = self._placements("as_built")
        self.movable = any(
            {"norm", "dropout"} <= {step.role for step in chain.steps} for _, chain in self._chains
        )
        self.possible = {order for _, chain in self._chains for order in possible_placements(chain)}
        self.possible.discard("as_built")

    def refused(self, order: str) -> list[str]:
        return [reason for one in self._placements(order) for reason in one.refused]

    def set(self, order: str) -> list[str]:
        placements, moved = self._placements(order), []
        keys = list(self.built)
        for (start, chain), old, new in zip(self._chains, self._current, placements, strict=True):
            moved += new.moves(chain, old)
            for offset, index in enumerate(new.sequence(chain)):
                keys[start + offset] = self.built[start + index]
        modules = self.sequential._modules
        # Going back leaves layers that came later behind the others.
        keys = [key for key in keys if key in modules] + [k for k in modules if k not in self.built]
        if keys != list(modules):
            # One assignment, so that a concurrent iteration never sees half an order.
            self.sequential._modules = type(modules)((key, modules[key]) for key in keys)
        self._current = placements
        return moved

    def _placements(self, order: str) -> list[Placement]:
        return [placement(chain, order) for _, chain in self._chains]


def _chains(name: str, sequential: nn.Sequential) -> Iterator[tuple[int, Chain]]:
    """Straight paths among the layers, each with the index of its first layer."""
    steps: list[Step] = []
    start = 0
    for index, (key, module) in enumerate(sequential._modules.items()):
        step = None if module is None else step_of(f"{name}.{key}".lstrip("."), module)
        if step is None:
            yield start, Chain(tuple(steps))
            start, steps = index + 1, []
        else:
            steps.append(step)
    yield start, Chain(tuple(steps))


def _overrides_order(sequential: nn.Sequential) -> bool:
    """True if the order of execution is not the order of the layers."""
    kind = type(sequential)
    return (
        kind.forward is not nn.Sequential.forward
        or kind.__iter__ is not nn.Sequential.__iter__
        or "forward" in vars(sequential)
    )
