"""Layers of a large model, folded into blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from nbdebug.core.results.network import NetworkLayer, ends_of, range_of, range_title

MAX_BOXES = 30
# A longer last part of a name gives way, but for its end.
MAX_END, KEPT_END = 10, 3


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
        return range_title(self.name) if self.folded else self.layers[0].title

    def holds(self, name: str) -> bool:
        """Tell if a block, or a range of layers, lies in this one."""
        first = ends_of(name)[0]
        return name == self.name or any(
            layer.name == first or layer.name.startswith(f"{first}.") for layer in self.layers
        )


def blocks_of(layers: Sequence[NetworkLayer], inside: str = "") -> list[Block]:
    """At most 30 boxes for the layers of a block, "" for the whole model.

    Layers are folded by the modules that hold them, as deep as 30 boxes allow, and into ranges of
    modules or layers where one module holds more than 30.
    """
    found = _inside(layers, inside)
    if len(found) <= MAX_BOXES:
        return [Block(layer.name, (layer,)) for layer in found]
    start = 0 if not inside or len(ends_of(inside)) > 1 else inside.count(".") + 1
    depths = range(start + 1, max(layer.name.count(".") for layer in found) + 2)
    split = [made for depth in depths if len(made := _by_depth(found, depth)) > 1]
    fitting = [made for made in split if len(made) <= MAX_BOXES]
    if fitting:
        return fitting[-1]
    return _ranges(split[0] if split else [Block(layer.name, (layer,)) for layer in found])


def short_titles(blocks: Sequence[Block]) -> list[tuple[str, str]]:
    """Title of each block without the modules that hold all of them, in two parts.

    Where a title does not fit, its first part gives way: the second one tells it from the others.
    Of a long name the second part is its last letters, often a number, and the class.
    """
    paths = [end.split(".") for block in blocks for end in ends_of(block.name)]
    shared, least = 0, min(map(len, paths), default=1)
    while shared < least - 1 and len(paths) > 1 and len({path[shared] for path in paths}) == 1:
        shared += 1
    found = []
    for block in blocks:
        ends = [".".join(end.split(".")[shared:]) for end in ends_of(block.name)]
        short, one = "…".join(ends), block.layers[0]
        known = block.folded or one.named
        title = short if block.folded else f"{short} {one.kind}" if known else one.title
        head = ends[0] if len(ends) > 1 else short.rpartition(".")[0] if known else ""
        if known and len(short) - len(head) > MAX_END:
            head = short[:-KEPT_END]
        found.append((head, title[len(head) :]))
    return found


def _inside(layers: Sequence[NetworkLayer], name: str) -> list[NetworkLayer]:
    if not name:
        return list(layers)
    ends = [
        [at for at, one in enumerate(layers) if one.name == end or one.name.startswith(f"{end}.")]
        for end in ends_of(name)
    ]
    if not all(ends):
        return list(layers)
    if len(ends) > 1:
        return list(layers[ends[0][0] : ends[-1][-1] + 1])
    return [layers[at] for at in ends[0]]


def _by_depth(layers: Sequence[NetworkLayer], depth: int) -> list[Block]:
    def holder(layer: NetworkLayer) -> str:
        return ".".join(layer.name.split(".")[:depth])

    blocks = [Block(name, tuple(group)) for name, group in groupby(layers, holder)]
    # A module whose calls are not in one piece would give two blocks of one name.
    return blocks if len({block.name for block in blocks}) == len(blocks) else []


def _ranges(blocks: Sequence[Block]) -> list[Block]:
    size = -(-len(blocks) // MAX_BOXES)
    parts = [blocks[at : at + size] for at in range(0, len(blocks), size)]
    return [
        Block(
            part[0].name if len(part) == 1 else range_of(part[0].name, part[-1].name),
            tuple(layer for block in part for layer in block.layers),
        )
        for part in parts
    ]
