"""Layers of a large model, folded into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from nbdebug.core.results.network import NetworkLayer

MAX_BOXES = 30
RANGE = " … "


@dataclass(frozen=True)
class Block:
    """One layer, or several that follow each other.

    Attributes:
        name: of the layer, the module that holds the layers, or the first and the last layer.
    """

    name: str
    layers: tuple[NetworkLayer, ...]

    @property
    def folded(self) -> bool:
        """True for several layers."""
        return len(self.layers) > 1

    @property
    def title(self) -> str:
        """Name, with the class of a single layer."""
        return self.name if self.folded else self.layers[0].title

    @property
    def parts(self) -> tuple[str, str]:
        """The title in two parts; where it does not fit, the first one gives way."""
        path, _, _ = self.name.rpartition(RANGE if RANGE in self.name else ".")
        return path, self.title[len(path) :]

    def holds(self, name: str) -> bool:
        """Tell if a block, or a range of layers, lies in this one."""
        first = name.split(RANGE)[0]
        return name == self.name or any(
            layer.name == first or layer.name.startswith(f"{first}.") for layer in self.layers
        )


def blocks_of(layers: Sequence[NetworkLayer], inside: str = "") -> list[Block]:
    """At most 30 boxes for the layers of a block, "" for the whole model.

    Layers are folded by the modules that hold them, as deep as 30 boxes allow, and into ranges
    where one module holds more than 30.
    """
    found = _inside(layers, inside)
    if len(found) <= MAX_BOXES:
        return [Block(layer.name, (layer,)) for layer in found]
    start = 0 if not inside or RANGE in inside else inside.count(".") + 1
    depths = range(start + 1, max(layer.name.count(".") for layer in found) + 2)
    fitting = [made for depth in depths if 1 < len(made := _by_depth(found, depth)) <= MAX_BOXES]
    return fitting[-1] if fitting else _ranges(found)


def _inside(layers: Sequence[NetworkLayer], name: str) -> list[NetworkLayer]:
    if not name:
        return list(layers)
    names = [layer.name for layer in layers]
    if RANGE in name:
        first, last = name.split(RANGE)
        if first in names and last in names:
            return list(layers[names.index(first) : names.index(last) + 1])
    found = [one for one in layers if one.name == name or one.name.startswith(f"{name}.")]
    return found or list(layers)


def _by_depth(layers: Sequence[NetworkLayer], depth: int) -> list[Block]:
    def holder(layer: NetworkLayer) -> str:
        return ".".join(layer.name.split(".")[:depth])

    blocks = [Block(name, tuple(group)) for name, group in groupby(layers, holder)]
    # A module whose calls are not in one piece would give two blocks of one name.
    return blocks if len({block.name for block in blocks}) == len(blocks) else []


def _ranges(layers: Sequence[NetworkLayer]) -> list[Block]:
    size = -(-len(layers) // MAX_BOXES)
    parts = [tuple(layers[at : at + size]) for at in range(0, len(layers), size)]
    return [
        Block(part[0].name if len(part) == 1 else f"{part[0].name}{RANGE}{part[-1].name}", part)
        for part in parts
    ]
