"""A forward of the user's own, run as it is, with dropout applied elsewhere."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from nbdebug.core.errors import ModelError

# Looked up on the object by nn.Module.__call__, so it may stand there.
CALL = "_call_impl"


@dataclass(frozen=True)
class Plan:
    """Where dropouts are applied. All names are paths in the module.

    Attributes:
        before, after: by the module that carries them, the dropouts that its input or its
            output goes through.
        output: the dropouts that the output of forward goes through.
        moved: dropouts that hand on their input where forward calls them.
    """

    before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()

    @cached_property
    def names(self) -> list[str]:
        """Modules whose call does something else than in the class, sorted."""
        return sorted({*self.before, *self.after, *self.moved})

    def joined(self, other: Plan) -> Plan:
        """Both plans, which have no dropout in common."""
        return Plan(
            {**self.before, **other.before},
            {**self.after, **other.after},
            self.output + other.output,
            self.moved | other.moved,
        )


class ReorderedForward:
    """Stands on a module as its `forward` and runs the one of its class.

    So everything Python does in it (flags, branches, arguments, outputs) is done as ever;
    only the calls of the plan's modules are others meanwhile. Pickled and copied with the
    module.

    Attributes:
        order: the name of the order that is in force.
    """

    def __init__(self, module: nn.Module, order: str, plans: Mapping[bool, Plan]) -> None:
        self._module = module
        self.order = order
        self._plans = plans
        names = {name for plan in plans.values() for name in plan.names}
        self._layers = {name: module.get_submodule(name) for name in sorted(names)}
        self._running = threading.local()

    def install(self) -> None:
        """Put this in force on the module, instead of what its class does."""
        for name, layer in self._layers.items():
            vars(layer)[CALL] = RedirectedCall(self, name)
        vars(self._module)["forward"] = self

    @staticmethod
    def remove(module: nn.Module) -> None:
        """Let a module do again what its class does."""
        reordered = vars(module).pop("forward", None)
        if isinstance(reordered, ReorderedForward):
            for layer in reordered._layers.values():
                vars(layer).pop(CALL, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer = getattr(self._running, "now", None)
        plan = self._plans[self._module.training]
        called: list[str] = []
        self._running.now = plan, called
        try:
            outputs = type(self._module).forward(self._module, *args, **kwargs)
            if sorted(called) != plan.names:
                raise ModelError(self._strayed(plan, called))
            for name in plan.output:
                outputs = self._run(name, outputs)
        finally:
            self._running.now = outer
        return outputs

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a module of the plan does when forward calls it."""
        now = getattr(self._running, "now", None)
        if now is None:
            raise ModelError(
                f"{name} was called outside of {type(self._module).__name__}.forward, while "
                f"layer_order is {self.order!r}: go back to 'as_built'."
            )
        plan, called = now
        if name not in plan.names:
            return self._run(name, *args, **kwargs)
        called.append(name)
        for dropout in plan.before.get(name, ()):
            args = (self._run(dropout, args[0]), *args[1:])
        outputs = args[0] if name in plan.moved else self._run(name, *args, **kwargs)
        for dropout in plan.after.get(name, ()):
            outputs = self._run(dropout, outputs)
        return outputs

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(type(self._module).forward.__get__(self._module))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_running"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._running = threading.local()

    def _run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a layer as its class does, hooks included."""
        return nn.Module._call_impl(self._layers[name], *args, **kwargs)

    def _strayed(self, plan: Plan, called: list[str]) -> str:
        missed = [name for name in plan.names if name not in called]
        what = f"did not call {', '.join(missed)}" if missed else "called a layer twice"
        return (
            f"{type(self._module).__name__}.forward {what}, as it did when it was examined: "
            f"layer_order {self.order!r} does not hold any more, go back to 'as_built'."
        )


class RedirectedCall:
    """Stands on a layer and lets the module that calls it say what happens."""

    def __init__(self, owner: ReorderedForward, name: str) -> None:
        self._owner = owner
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner.call(self._name, args, kwargs)
