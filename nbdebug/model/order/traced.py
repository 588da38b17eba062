"""Moves dropout in modules with the user's own forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Set

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.forward_patch import (
    COPY_METHODS,
    find_wrapper,
    overrides,
    why_unpatchable,
)
from nbdebug.model.module.names import DROPOUTS, Layer, every_module, layer_title, reason_sentences
from nbdebug.model.order.fx_graph import OUTPUT, Trace, UntraceableError, trace
from nbdebug.model.order.placement import (
    ACTIVATIONS,
    NORMS,
    ORDERS,
    Chain,
    Placement,
    placement,
    possible_placements,
)
from nbdebug.model.order.reordered_forward import DropoutPlan, ReorderedForward

CALL_METHODS = ("__call__", "_call_impl")
TRAINING_MODES = (True, False)


class TracedOrder:
    """Modules with the user's own forward in which a dropout can move.

    Attributes:
        possible: the orders that at least one of them can take.
        refused: modules and dropouts that cannot be reordered, each with the reason.
        current: the order of the model at the start; a copied or loaded model may have one.
    """

    def __init__(self, model: nn.Module, held: Set[nn.Module]) -> None:
        barred = _barred(model)
        replicated = any(isinstance(module, nn.DataParallel) for module in model.modules())
        self._modules: list[_TracedModule] = []
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
                traced = _TracedModule(layer, barred, held)
            except UntraceableError as error:
                notes.setdefault(str(error), []).append(layer_title(layer))
                continue
            for reason in traced.notes:
                notes.setdefault(reason, []).append(layer_title(layer))
            self.refused += traced.stays
            if traced.possible:
                self._modules.append(traced)
                self.possible |= traced.possible
                self.current = traced.found or self.current
        self.refused += reason_sentences(notes)

    def check(self) -> None:
        """Raise ModelError if layers were replaced since training was set up."""
        for traced in self._modules:
            traced.check()

    def set(self, order: str) -> tuple[list[str], list[str]]:
        """Apply an order; return what moved, and what stays against the order with the reason."""
        moved: list[str] = []
        stays: list[str] = []
        for traced in self._modules:
            moved += traced.set(order)
            stays += traced.refused(order)
        return moved, stays


class _TracedModule:
    """A module with the user's own forward, and its straight paths."""

    def __init__(self, layer: Layer, barred: dict[nn.Module, str], held: Set[nn.Module]) -> None:
        self.name, self.module = layer
        closed = why_unpatchable(self.module)
        if closed:
            raise UntraceableError(closed)
        traces = {mode: trace(layer, mode, barred, held) for mode in TRAINING_MODES}
        self.notes: list[str] = []
        self.stays: list[str] = []
        if any(each.functional for each in (*traces[True], *traces[False])):
            self.notes.append("calls dropout as a function, which cannot be moved")
        self._chains = list(self._consistent(traces))
        reordered = find_wrapper(self.module, ReorderedForward)
        self.found = reordered.order if reordered else ""
        self._current = self._placements(self.found or "as_built")
        self.possible = {
            order
            for chain, _ in self._chains
            for order in possible_placements(chain, _has_anchor(chain))
        } - {"as_built"}
        self._layers = {
            name: self.module.get_submodule(name)
            for order in ORDERS
            for plan in self._plans(order).values()
            for name in plan.names
        }
        if not self.possible:
            reasons = (reason for order in ORDERS for reason in self.refused(order))
            self.stays = list(dict.fromkeys(reasons))

    def check(self) -> None:
        for name, layer in self._layers.items():
            now = _submodule(self.module, name)
            if now is not layer and not _is_swapped_activation(layer, now):
                raise ModelError(
                    f"{f'{self.name}.{name}'.lstrip('.')} was replaced since training was set "
                    "up; make a new Debugger to reorder it."
                )

    def set(self, order: str) -> list[str]:
        placements, moved = self._placements(order), []
        for (chain, _), old, new in zip(self._chains, self._current, placements, strict=True):
            moved += new.moves(chain, old)
        ReorderedForward.remove(self.module)
        plans = self._plans(order)
        if any(plan.names for plan in plans.values()):
            ReorderedForward(self.module, order, plans).install()
        self._current = placements
        return moved

    def refused(self, order: str) -> list[str]:
        return [reason for one in self._placements(order) for reason in one.refused]

    def _placements(self, order: str) -> list[Placement]:
        return [placement(chain, order, _has_anchor(chain)) for chain, _ in self._chains]

    def _plans(self, order: str) -> dict[bool, DropoutPlan]:
        plans = {mode: DropoutPlan() for mode in TRAINING_MODES}
        for (chain, modes), one in zip(self._chains, self._placements(order), strict=True):
            for mode in modes:
                plans[mode] = plans[mode].joined(_plan(chain, one))
        return plans

    def _consistent(
        self, traces: dict[bool, list[Trace]]
    ) -> Iterator[tuple[Chain, tuple[bool, ...]]]:
        """Chains that are the same for all arguments, with the modes they are run in."""
        every = [each for mode in TRAINING_MODES for each in traces[mode]]
        for chain in dict.fromkeys(chain for each in every for chain in each.chains):
            names = {step.name for step in chain.steps if step.role == "dropout"}
            modes = tuple(
                m for m in TRAINING_MODES if all(chain in each.chains for each in traces[m])
            )
            others = [each for m in TRAINING_MODES if m not in modes for each in traces[m]]
            if modes and not any(names & each.dropouts for each in others):
                yield chain, modes
            elif _has_pair(chain):
                self.notes.append(
                    f"calls {' and '.join(sorted(names))} elsewhere in another mode or with "
                    "other arguments"
                )


def _has_anchor(chain: Chain) -> Callable[[int], bool]:
    return lambda gap: _anchor(chain, gap) is not None


def _anchor(chain: Chain, gap: int) -> tuple[str, str] | None:
    """Carrier of the dropouts of a gap: a module before it, one after it, or the output."""
    steps = chain.steps
    if gap >= 0 and steps[gap].slot:
        return "after", steps[gap].slot
    follows = [step for step in steps[gap + 1 :] if step.role != "dropout"]
    if follows:
        return ("before", follows[0].slot) if follows[0].slot else None
    if chain.exit == OUTPUT:
        return "output", ""
    return ("before", chain.exit) if chain.exit else None


def _plan(chain: Chain, target: Placement) -> DropoutPlan:
    """For each module, the dropouts to apply before or after it."""
    built = placement(chain, "as_built")
    plan = DropoutPlan()
    for gap in sorted({*built.gaps.values(), *target.gaps.values()}):
        there = [index for index, at in target.gaps.items() if at == gap]
        if not there or there == [index for index, at in built.gaps.items() if at == gap]:
            continue
        anchor = _anchor(chain, gap)
        assert anchor is not None  # placement() has checked it
        names = tuple(chain.steps[index].slot for index in there)
        side, slot = anchor
        plan = plan.joined(
            DropoutPlan(
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


def _is_swapped_activation(layer: nn.Module, now: nn.Module | None) -> bool:
    """True if an activation was swapped for another one at the same path."""
    return {type(layer), type(now)} <= ACTIVATIONS and not getattr(now, "inplace", False)


def _has_pair(chain: Chain) -> bool:
    return {"norm", "dropout"} <= {step.role for step in chain.steps}


def _may_hold_a_pair(module: nn.Module, held: Set[nn.Module]) -> bool:
    """True if the forward of a module may itself call a norm and a dropout."""
    kind = type(module)
    if kind.__module__.startswith("torch.nn.") or kind.forward is nn.Sequential.forward:
        return False
    if kind.forward is nn.Module.forward:
        return False
    within = set(_within(module)) - held
    return all(any(isinstance(part, kinds) for part in within) for kinds in (NORMS, DROPOUTS))


def _within(module: nn.Module) -> Iterator[nn.Module]:
    """Layers of a module that are not inside of another module with the user's own forward."""
    for child in module.children():
        kind = type(child)
        if isinstance(child, (*NORMS, *DROPOUTS)):
            yield child
        elif kind.forward is nn.Module.forward or kind.forward is nn.Sequential.forward:
            yield from _within(child)


def _barred(model: nn.Module) -> dict[nn.Module, str]:
    """Modules that cannot be moved or carry a moved dropout, with the reason."""
    uses = Counter(child for module in model.modules() for child in module.children())
    barred = {
        module: "is used in more than one place; use a separate dropout at each place"
        for module, count in uses.items()
        if count > 1
    }
    own = "overrides how modules are called or copied"
    barred |= {m: own for m in model.modules() if overrides(m, (*CALL_METHODS, *COPY_METHODS))}
    return barred
