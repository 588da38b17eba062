"""Dropout moved in `nn.Sequential`, by the order of its keys."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.names import every_module
from nbdebug.model.order.index_usage import PickedLayers
from nbdebug.model.order.placement import (
    ORDERS,
    Chain,
    Placement,
    Step,
    offered,
    placement,
    step_of,
)


class SequentialOrder:
    """Every `nn.Sequential` of a model in which a dropout can move.

    Attributes:
        possible: the orders that at least one of them can take.
        refused: containers that must stay as they are, each with the reason.
        held: their modules, which nobody else may move.
    """

    def __init__(self, model: nn.Module, picked: PickedLayers) -> None:
        self._places: dict[str, _Place] = {}
        self.possible: set[str] = set()
        self.refused: list[str] = []
        for name, module in every_module(model):
            if not isinstance(module, nn.Sequential) or _own_forward(module):
                continue
            place = _Place(name, module)
            if not place.movable:
                continue
            obstacle = picked.sentence(module)
            if obstacle:
                self.refused.append(f"{name or 'the model'} ({type(module).__name__}) {obstacle}")
            elif place.possible:
                self._places[name] = place
                self.possible |= place.possible
            else:
                words = (words for order in ORDERS for words in place.refused(order))
                self.refused += dict.fromkeys(words)
        self.held = {
            module for place in self._places.values() for module in place.sequential.children()
        }

    def check(self) -> None:
        """ModelError when layers were added or deleted since the model was examined."""
        for name, place in self._places.items():
            if set(place.sequential._modules) != set(place.built):
                raise ModelError(
                    f"Layers of {name or 'the model'!r} were added or deleted since training "
                    "was set up; make a new Debugger to reorder them."
                )

    def set(self, order: str) -> tuple[list[str], list[str]]:
        """Put an order in force; what moved, and what stays although the order would move it."""
        moved: list[str] = []
        stays: list[str] = []
        for place in self._places.values():
            moved += place.set(order)
            stays += place.refused(order)
        return moved, stays


class _Place:
    """One Sequential as it was built, and the straight paths in it."""

    def __init__(self, name: str, sequential: nn.Sequential) -> None:
        self.sequential = sequential
        self.built = tuple(sequential._modules)
        self._chains = list(_chains(name, sequential))
        self._current = self._placements("as_built")
        self.movable = any(
            {"norm", "dropout"} <= {step.role for step in chain.steps} for _, chain in self._chains
        )
        self.possible = {order for _, chain in self._chains for order in offered(chain)}
        self.possible.discard("as_built")

    def refused(self, order: str) -> list[str]:
        return [words for place in self._placements(order) for words in place.refused]

    def set(self, order: str) -> list[str]:
        places, moved = self._placements(order), []
        keys = list(self.built)
        for (start, chain), old, new in zip(self._chains, self._current, places, strict=True):
            moved += new.moves(chain, old)
            for offset, index in enumerate(new.sequence(chain)):
                keys[start + offset] = self.built[start + index]
        modules = self.sequential._modules
        if keys != list(modules):
            # One assignment, so that nobody who iterates meets half an order.
            self.sequential._modules = type(modules)((key, modules[key]) for key in keys)
        self._current = places
        return moved

    def _placements(self, order: str) -> list[Placement]:
        return [placement(chain, order) for _, chain in self._chains]


def _chains(name: str, sequential: nn.Sequential) -> Iterator[tuple[int, Chain]]:
    """Straight paths among the layers, each with the position where it begins."""
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


def _own_forward(sequential: nn.Sequential) -> bool:
    """Whether something else than the order of the layers says what is run."""
    kind = type(sequential)
    return (
        kind.forward is not nn.Sequential.forward
        or kind.__iter__ is not nn.Sequential.__iter__
        or "forward" in vars(sequential)
    )
