"""Structure of a model: its parts in the order of a call, and which gives what to which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdebug.core.results.network import ends_of, range_of, range_title

if TYPE_CHECKING:
    import pandas as pd

OPENED = 30


@dataclass(frozen=True, slots=True)
class Part:
    """A module without submodules, a function between two of them, or a folded block of these.

    Attributes:
        name: path of the module; a function has the path of the module that calls it before its
            own name, as in "layers.0.add".
        kind: class of the module, or name of the function; "" for a folded block.
        inputs: positions of the parts whose outputs it takes.
        shape: of its first output, with the number of samples first; None if there is none.
        parameters, trainable: numbers of parameters, each counted where it is used first.
        calls: how often it is called in one call of the model.
        seconds: spent in it; nan if it was not measured.
        module: False for a function.
        size: number of parts that a block holds, 1 for a part.
        entry: True if it takes inputs of the model.
        members: names of the parts in a block, in order; () for the part itself.
        error: of its call, "" if it returned; given: shapes of the tensors that it was called with.
    """

    name: str
    kind: str
    inputs: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None
    parameters: int = 0
    trainable: int = 0
    calls: int = 1
    seconds: float = math.nan
    module: bool = True
    size: int = 1
    entry: bool = False
    members: tuple[str, ...] = ()
    error: str = ""
    given: tuple[tuple[int, ...], ...] = ()

    @property
    def last(self) -> str:
        """Name of the part that gives the output."""
        return self.members[-1] if self.members else self.name

    def holds(self, name: str) -> bool:
        """Tell if a part, or a part of a module, is here."""
        return any(_within(one, name) for one in self.members or (self.name,))

    @property
    def frozen(self) -> bool:
        """True if it has parameters and none of them is trained."""
        return bool(self.parameters) and not self.trainable

    @property
    def title(self) -> str:
        """Name and class, such as "5 ReLU"."""
        if self.size > 1:
            return range_title(self.name)
        if not self.module or self.name == self.kind.lower():
            return self.name
        return f"{self.name} {self.kind}"


@dataclass(frozen=True, slots=True)
class Structure:
    """All parts of a model in the order of their first call.

    Attributes:
        samples: number of samples in the call; the first entry of most shapes.
    """

    parts: tuple[Part, ...] = ()
    samples: int = 1

    @property
    def error(self) -> Part | None:
        """The part whose call failed, None if all returned."""
        return next((part for part in self.parts if part.error), None)

    def part(self, name: str) -> Part | None:
        """The part of a name, None if there is none."""
        return next((part for part in self.parts if part.name == name), None)

    def to_frame(self) -> pd.DataFrame:
        """One row per part: name, kind, output_shape, parameters, trainable, calls, time_share."""
        import pandas as pd

        total = sum(part.seconds for part in self.parts if math.isfinite(part.seconds))
        rows: list[dict[str, Any]] = [
            {
                "name": part.name,
                "kind": part.kind,
                "output_shape": part.shape,
                "parameters": part.parameters,
                "trainable": part.trainable,
                "calls": part.calls,
                "time_share": part.seconds / total if total else math.nan,
                "inputs": tuple(self.parts[place].name for place in part.inputs),
            }
            for part in self.parts
        ]
        return pd.DataFrame(rows)

    def folded(self, block: str = "", most: int = OPENED) -> Structure:
        """The parts of a block, folded so far that at most `most` are left if they can be.

        Args:
            block: path of a module; "" for the whole model, also where nothing is inside of it.
        """
        inside = _inside([part.name for part in self.parts], block)
        if not inside:
            block, inside = "", list(range(len(self.parts)))
        return replace(self, parts=tuple(_merged(self.parts, self._groups(inside, block, most))))

    def _groups(self, inside: Sequence[int], block: str, most: int) -> list[list[int]]:
        """Positions of parts that are drawn as one."""
        names = [self.parts[at].name for at in inside]
        if len(inside) <= most:
            return [[at] for at in inside]
        start = 0 if not block or len(ends_of(block)) > 1 else block.count(".") + 1
        deepest = max(name.count(".") for name in names) + 1
        found = [_by_holder(names, inside, depth) for depth in range(deepest, start, -1)]
        split = [groups for groups in found if len(groups) > 1]
        fitting = next((groups for groups in split if len(groups) <= most), None)
        if fitting is not None:
            return fitting
        least = split[-1] if split else [[at] for at in inside]
        size = -(-len(least) // most)
        return [
            [at for group in least[start : start + size] for at in group]
            for start in range(0, len(least), size)
        ]


def _inside(names: Sequence[str], block: str) -> list[int]:
    """Positions of the parts in a module, or in a range of modules."""
    ends = ends_of(block)
    held = [[at for at, name in enumerate(names) if _within(name, end)] for end in ends]
    if not all(held):
        return []
    return held[0] if len(held) == 1 else list(range(held[0][0], held[-1][-1] + 1))


def _within(name: str, block: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")


def _by_holder(names: Sequence[str], inside: Sequence[int], depth: int) -> list[list[int]]:
    """Positions of parts by the module that holds them at a depth."""
    found: dict[str, list[int]] = {}
    for at, name in zip(inside, names, strict=True):
        found.setdefault(".".join(name.split(".")[:depth]), []).append(at)
    return list(found.values())


def _merged(parts: Sequence[Part], groups: Sequence[Sequence[int]]) -> Iterable[Part]:
    """One part for each group, connected as their members are."""
    place = {at: number for number, group in enumerate(groups) for at in group}
    for number, group in enumerate(groups):
        members = [parts[at] for at in group]
        sources = {place[one] for part in members for one in part.inputs if one in place}
        # What comes from outside of the block that is shown.
        outside = any(one not in place for part in members for one in part.inputs)
        first = members[0]
        if len(members) == 1:
            yield replace(first, inputs=tuple(sorted(sources)), entry=first.entry or outside)
            continue
        yield Part(
            name=_block_name([part.name for part in members], [part.name for part in parts]),
            kind="",
            inputs=tuple(sorted(sources - {number})),
            shape=members[-1].shape,
            parameters=sum(part.parameters for part in members),
            trainable=sum(part.trainable for part in members),
            calls=max(part.calls for part in members),
            seconds=sum(part.seconds for part in members),
            size=sum(part.size for part in members),
            entry=outside or any(part.entry for part in members),
            members=tuple(part.name for part in members),
            error=next((part.error for part in members if part.error), ""),
            given=first.given,
        )


def _block_name(members: Sequence[str], everyone: Sequence[str]) -> str:
    """The module that holds these parts and no others, else the range from first to last."""
    paths = [name.split(".") for name in members]
    shared = 0
    while all(len(path) > shared + 1 for path in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    common = ".".join(paths[0][:shared])
    if shared and sum(_within(name, common) for name in everyone) == len(members):
        return common
    deep = max(shared + 1, 1)
    ends = range_of(*(".".join(path[:deep]) for path in (paths[0], paths[-1])))
    exact = len(_inside(everyone, ends)) == len(members)
    return ends if exact else range_of(members[0], members[-1])
