"""Dropout moved in modules with a forward of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Set

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.forward_patch import COPYING, found, obstacle, overrides
from nbdebug.model.module.names import DROPOUTS, Layer, every_module, sentences, title
from nbdebug.model.order.fx_graph import OUTPUT, Trace, UntraceableError, trace
from nbdebug.model.order.placement import (
    ACTIVATIONS,
    NORMS,
    ORDERS,
    Chain,
    Placement,
    offered,
    placement,
)
from nbdebug.model.order.reordered_forward import Plan, ReorderedForward

CALLING = ("__call__", "_call_impl")
MODES = (True, False)


class TracedOrder:
    """Every module with a forward of its own in which a dropout can move.

    Attributes:
        possible: the orders that at least one of them can take.
        refused: modules and dropouts that must stay as they are, each with the reason.
        current: the order that a copied or loaded model came with.
    """

    def __init__(self, model: nn.Module, held: Set[nn.Module]) -> None:
        barred = _barred(model)
        replicated = any(isinstance(module, nn.DataParallel) for module in model.modules())
        self._owners: list[_Owner] = []
        self.possible: set[str] = set()
        self.current = "as_built"
        self.refused: list[str] = []
        notes: dict[str, list[str]] = {}
        for layer in every_module(model):
            if not _may_hold_a_pair(layer.module, held):
                continue
            try:
                if replicated:
                    raise UntraceableError("is copied to every device by nn.DataParallel")
                owner = _Owner(layer, barred, held)
            except UntraceableError as error:
                notes.setdefault(str(error), []).append(title(layer))
                continue
            for words in owner.notes:
                notes.setdefault(words, []).append(title(layer))
            self.refused += owner.stays
            if owner.possible:
                self._owners.append(owner)
                self.possible |= owner.possible
                self.current = owner.found or self.current
        self.refused += sentences(notes)

    def check(self) -> None:
        """ModelError when layers were replaced since the model was examined."""
        for owner in self._owners:
            owner.check()

    def set(self, order: str) -> tuple[list[str], list[str]]:
        """Put an order in force; what moved, and what stays although the order would move it."""
        moved: list[str] = []
        stays: list[str] = []
        for owner in self._owners:
            moved += owner.set(order)
            stays += owner.refused(order)
        return moved, stays


class _Owner:
    """One module with a forward of its own, and the straight paths in it."""

    def __init__(self, layer: Layer, barred: dict[nn.Module, str], held: Set[nn.Module]) -> None:
        self.name, self.module = layer
        closed = obstacle(self.module)
        if closed:
            raise UntraceableError(closed)
        traces = {mode: trace(layer, mode, barred, held) for mode in MODES}
        self.notes: list[str] = []
        self.stays: list[str] = []
        if any(each.functional for each in (*traces[True], *traces[False])):
            self.notes.append("calls dropout as a function, which is no layer and stays")
        self._chains = list(self._consistent(traces))
        reordered = found(self.module, ReorderedForward)
        self.found = reordered.order if reordered else ""
        self._current = self._placements(self.found or "as_built")
        self.possible = {
            order for chain, _ in self._chains for order in offered(chain, _anchors(chain))
        } - {"as_built"}
        self._layers = {
            name: self.module.get_submodule(name)
            for order in ORDERS
            for plan in self._plans(order).values()
            for name in plan.names
        }
        if not self.possible:
            words = (words for order in ORDERS for words in self.refused(order))
            self.stays = list(dict.fromkeys(words))

    def check(self) -> None:
        for name, layer in self._layers.items():
            now = _submodule(self.module, name)
            if now is not layer and not _exchanged(layer, now):
                raise ModelError(
                    f"{f'{self.name}.{name}'.lstrip('.')} was replaced since training was set "
                    "up; make a new Debugger to reorder it."
                )

    def set(self, order: str) -> list[str]:
        places, moved = self._placements(order), []
        for (chain, _), old, new in zip(self._chains, self._current, places, strict=True):
            moved += new.moves(chain, old)
        ReorderedForward.remove(self.module)
        plans = self._plans(order)
        if any(plan.names for plan in plans.values()):
            ReorderedForward(self.module, order, plans).install()
        self._current = places
        return moved

    def refused(self, order: str) -> list[str]:
        return [words for place in self._placements(order) for words in place.refused]

    def _placements(self, order: str) -> list[Placement]:
        return [placement(chain, order, _anchors(chain)) for chain, _ in self._chains]

    def _plans(self, order: str) -> dict[bool, Plan]:
        plans = {mode: Plan() for mode in MODES}
        for (chain, modes), place in zip(self._chains, self._placements(order), strict=True):
            for mode in modes:
                plans[mode] = plans[mode].joined(_plan(chain, place))
        return plans

    def _consistent(
        self, traces: dict[bool, list[Trace]]
    ) -> Iterator[tuple[Chain, tuple[bool, ...]]]:
        """Chains that are the same whatever arguments come, with the modes they are run in."""
        every = [each for mode in MODES for each in traces[mode]]
        for chain in dict.fromkeys(chain for each in every for chain in each.chains):
            names = {step.name for step in chain.steps if step.role == "dropout"}
            modes = tuple(m for m in MODES if all(chain in each.chains for each in traces[m]))
            others = [each for m in MODES if m not in modes for each in traces[m]]
            if modes and not any(names & each.dropouts for each in others):
                yield chain, modes
            elif _has_pair(chain):
                self.notes.append(
                    f"takes {' and '.join(sorted(names))} elsewhere in another mode or with "
                    "other arguments"
                )


def _anchors(chain: Chain) -> Callable[[int], bool]:
    return lambda gap: _anchor(chain, gap) is not None


def _anchor(chain: Chain, gap: int) -> tuple[str, str] | None:
    """Who carries the dropouts of a gap: a module before it, one after it, or the output."""
    steps = chain.steps
    if gap >= 0 and steps[gap].slot:
        return "after", steps[gap].slot
    follows = [step for step in steps[gap + 1 :] if step.role != "dropout"]
    if follows:
        return ("before", follows[0].slot) if follows[0].slot else None
    if chain.exit == OUTPUT:
        return "output", ""
    return ("before", chain.exit) if chain.exit else None


def _plan(chain: Chain, place: Placement) -> Plan:
    """What every module of a chain has to do so that the dropouts stand where they shall."""
    built = placement(chain, "as_built")
    plan = Plan()
    for gap in sorted({*built.gaps.values(), *place.gaps.values()}):
        there = [index for index, at in place.gaps.items() if at == gap]
        if not there or there == [index for index, at in built.gaps.items() if at == gap]:
            continue
        anchor = _anchor(chain, gap)
        assert anchor is not None  # placement() asked
        names = tuple(chain.steps[index].slot for index in there)
        side, slot = anchor
        plan = plan.joined(
            Plan(
                before={slot: names} if side == "before" else {},
                after={slot: names} if side == "after" else {},
                output=names if side == "output" else (),
                moved=frozenset(names),
            )
        )
    return plan


def _submodule(module: nn.Module, name: str) -> nn.Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _exchanged(layer: nn.Module, now: nn.Module | None) -> bool:
    """Whether an activation hangs where another one did: the path is the same."""
    return {type(layer), type(now)} <= ACTIVATIONS and not getattr(now, "inplace", False)


def _has_pair(chain: Chain) -> bool:
    return {"norm", "dropout"} <= {step.role for step in chain.steps}


def _may_hold_a_pair(module: nn.Module, held: Set[nn.Module]) -> bool:
    """Whether the forward of a module may itself call a norm and a dropout."""
    kind = type(module)
    if kind.__module__.startswith("torch.nn.") or kind.forward is nn.Sequential.forward:
        return False
    if kind.forward is nn.Module.forward:
        return False
    within = set(_within(module)) - held
    return all(any(isinstance(part, kinds) for part in within) for kinds in (NORMS, DROPOUTS))


def _within(module: nn.Module) -> Iterator[nn.Module]:
    """Layers of a module that no other forward of somebody's own stands around."""
    for child in module.children():
        kind = type(child)
        if isinstance(child, (*NORMS, *DROPOUTS)):
            yield child
        elif kind.forward is nn.Module.forward or kind.forward is nn.Sequential.forward:
            yield from _within(child)


def _barred(model: nn.Module) -> dict[nn.Module, str]:
    """Modules that cannot carry or be a dropout that moves, with the reason."""
    places = Counter(child for module in model.modules() for child in module.children())
    barred = {
        module: "is used in more than one place; give each place a dropout of its own"
        for module, number in places.items()
        if number > 1
    }
    own = "is called or copied in a way of its own"
    barred |= {m: own for m in model.modules() if overrides(m, (*CALLING, *COPYING))}
    return barred
