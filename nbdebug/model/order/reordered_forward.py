"""The user's forward, run unchanged but with dropout applied at other places."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import nn

from nbdebug.errors import ModelError
from nbdebug.model.module.forward_patch import add_wrapper, remove_wrapper

# nn.Module.__call__ looks this up on the object, so an instance attribute replaces it.
CALL_ATTRIBUTE = "_call_impl"


@dataclass(frozen=True)
class DropoutPlan:
    """Places where dropouts are applied. All names are paths in the module.

    Attributes:
        before, after: by the module that carries them, the dropouts that are applied to its
            input or output.
        output: the dropouts that are applied to the output of forward.
        moved: dropouts that pass on their input unchanged when forward calls them.
    """

    before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    output: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()

    @cached_property
    def names(self) -> list[str]:
        """Names of the modules whose call is changed, sorted."""
        return sorted({*self.before, *self.after, *self.moved})

    def joined(self, other: DropoutPlan) -> DropoutPlan:
        """Both plans together; they have no dropout in common."""
        return DropoutPlan(
            {**self.before, **other.before},
            {**self.after, **other.after},
            self.output + other.output,
            self.moved | other.moved,
        )


class ReorderedForward:
    """Wrapper around the forward of a module, which applies dropouts at other places.

    The Python code of forward (flags, branches, arguments, outputs) runs unchanged; only the
    calls of the plan's modules are redirected meanwhile. Modules are found by name, since an
    activation among them may be swapped. The wrapper is pickled and copied with the module.

    Attributes:
        order: the name of the current order.
    """

    def __init__(self, module: nn.Module, order: str, plans: Mapping[bool, DropoutPlan]) -> None:
        self._module = module
        self.order = order
        self._plans = plans
        self._names = sorted({name for plan in plans.values() for name in plan.names})
        self._running = threading.local()

    def install(self) -> None:
        """Redirect the calls of the plans' modules and wrap the forward of the module."""
        for name in self._names:
            vars(self._module.get_submodule(name))[CALL_ATTRIBUTE] = LayerCallPatch(self, name)
        add_wrapper(self._module, self)

    @staticmethod
    def remove(module: nn.Module) -> None:
        """Remove the wrapper and the redirected calls from a module."""
        reordered = remove_wrapper(module, ReorderedForward)
        there: dict[str, Any] = dict(module.named_modules())
        for name in reordered._names if reordered else ():
            if name in there:
                there[name].__dict__.pop(CALL_ATTRIBUTE, None)

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
        """Run a module of the plan, called by forward, with the dropouts of the plan."""
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
        """Call a layer without redirection, hooks included."""
        return nn.Module._call_impl(self._module.get_submodule(name), *args, **kwargs)

    def _strayed(self, plan: DropoutPlan, called: list[str]) -> str:
        missed = [name for name in plan.names if name not in called]
        what = f"did not call {', '.join(missed)}" if missed else "called a layer twice"
        return (
            f"{type(self._module).__name__}.forward {what}, as it did when it was examined: "
            f"layer_order {self.order!r} is not possible any more, go back to 'as_built'."
        )


class LayerCallPatch:
    """Instance-level `_call_impl` of a layer that redirects calls to `ReorderedForward`."""

    def __init__(self, owner: ReorderedForward, name: str) -> None:
        self._owner = owner
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._owner.call(self._name, args, kwargs)
