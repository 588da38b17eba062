"""Structure of a model: its parts in the order of a call, and which gives what to which."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
        last: name of the part that gives the output of a block, "" for the part itself.
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
    last: str = ""
    error: str = ""
    given: tuple[tuple[int, ...], ...] = ()

    @property
    def frozen(self) -> bool:
        """True if it has parameters and none of them is trained."""
        return bool(self.parameters) and not self.trainable

    @property
    def title(self) -> str:
        """Name and class, such as "5 ReLU"."""
        if self.size > 1 or not self.module or self.name == self.kind.lower():
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
        inside = [at for at, part in enumerate(self.parts) if _within(part.name, block)]
        if not inside:
            block, inside = "", list(range(len(self.parts)))
        start = block.count(".") + 1 if block else 0
        deepest = max((self.parts[at].name.count(".") for at in inside), default=0) + 1
        chosen: list[list[int]] = [[at] for at in inside]
        for depth in range(deepest, start, -1):
            if len(chosen) <= most:
                break
            chosen = _by_holder(self.parts, inside, depth)
        return replace(self, parts=tuple(_merged(self.parts, chosen)))


def _within(name: str, block: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")


def _by_holder(parts: Sequence[Part], inside: Sequence[int], depth: int) -> list[list[int]]:
    """Positions of parts by the module that holds them at a depth."""
    found: dict[str, list[int]] = {}
    for at in inside:
        found.setdefault(".".join(parts[at].name.split(".")[:depth]), []).append(at)
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
            name=_common([part.name for part in members]),
            kind="",
            inputs=tuple(sorted(sources - {number})),
            shape=members[-1].shape,
            parameters=sum(part.parameters for part in members),
            trainable=sum(part.trainable for part in members),
            calls=max(part.calls for part in members),
            seconds=sum(part.seconds for part in members),
            size=sum(part.size for part in members),
            entry=outside or any(part.entry for part in members),
            last=members[-1].name,
            error=next((part.error for part in members if part.error), ""),
            given=first.given,
        )


def _common(names: Sequence[str]) -> str:
    """The longest path that all names begin with."""
    paths = [name.split(".") for name in names]
    shared = 0
    while all(len(path) > shared + 1 for path in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    return ".".join(paths[0][:shared]) or names[0]
