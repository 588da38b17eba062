"""A forward of the user's own, run as it is, with dropout applied elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.forward_patch import put, take

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
    """Stands around the forward of a module and runs it as it is.

    So everything Python does in it (flags, branches, arguments, outputs) is done as ever;
    only the calls of the plan's modules are others meanwhile. They go by name, since an
    activation among them may be exchanged. Pickled and copied with the module.

    Attributes:
        order: the name of the order that is in force.
    """

    def __init__(self, module: nn.Module, order: str, plans: Mapping[bool, Plan]) -> None:
        self._module = module
        self.order = order
        self._plans = plans
        self._names = sorted({name for plan in plans.values() for name in plan.names})
        self._running = threading.local()

    def install(self) -> None:
        """Put this in force on the module, instead of what its class does."""
        for name in self._names:
            vars(self._module.get_submodule(name))[CALL] = RedirectedCall(self, name)
        put(self._module, self)

    @staticmethod
    def remove(module: nn.Module) -> None:
        """Let a module do again what its class does."""
        reordered = take(module, ReorderedForward)
        for name in reordered._names if reordered else ():
            vars(module.get_submodule(name)).pop(CALL, None)

    def __call__(self, run: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        outer = getattr(self._running, "now", None)
        plan = self._plans[self._module.training]
        called: list[str] = []
        self._running.now = plan, called
        try:
            outputs = run(*args, **kwargs)
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

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_running"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._running = threading.local()

    def _run(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a layer as its class does, hooks included."""
        return nn.Module._call_impl(self._module.get_submodule(name), *args, **kwargs)

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
