"""Updates of watched parameters that are not made by a watched optimizer."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator

import torch
from torch.nn.parameter import is_lazy

from nbdebug.core.results.metric_names import RenewedOptimizer
from nbdebug.model.module.sharded import local
from nbdebug.model.precision import wide
from nbdebug.training.own_loop.gradient_marks import Named
from nbdebug.training.own_loop.watched_optimizer import WatchedOptimizer

# Batches without an update after which weights are looked at, and looked at again.
LATE_BATCHES = 20
OTHER = "The watched optimizer makes no update"
MAX_PARAMETERS, MAX_ELEMENTS = 8, 64
MIN_RENEWED, MIN_RENEWED_SHARE = 10, 0.5
OTHER_OPTIMIZER = (
    "The loop updates the watched parameters by another {0}, such as a new one. These "
    "steps are counted, with their loss and gradient norm; lr and clipping are not those of the "
    "controls, and NaN is not left out. Change the settings of the watched optimizer instead of "
    "making another one, or give the new one to nbd.watch and run the cell of the loop again."
)
NOT_OURS = (
    "the loop made its last update by another {0} than the watched one, so that this would do "
    "nothing. Change it in the loop, or give the new one to nbd.watch and run the cell of the loop "
    "again."
)
SAID_BY_HAND = (
    "The weights change, and the watched optimizer makes no update: the loop changes them by "
    "itself. From here on each batch with a backward pass counts as a step, with its loss and "
    "gradient norm; lr and clipping do nothing, and NaN is not left out. Call optimizer.step() of "
    "the optimizer that was given to nbd.watch, or give it the one that the loop uses."
)
SAID_BETWEEN = (
    "The watched optimizer makes its updates between two passes alone: optimizer.step() stands "
    "behind the loop over the batches. From here on each batch with a backward pass counts as a "
    "step, with its loss and gradient norm; lr and clipping do nothing, and NaN is not left out. "
    "Call optimizer.step() within the loop over the batches."
)
SAID_AT_END = (
    "The loop has ended, and its weights have changed without an update of the watched optimizer: "
    "the loop changes them by itself, in {0} batches. No step was counted, since that is known "
    "after {1} batches only. Call optimizer.step() of the optimizer that was given to nbd.watch."
)


class OtherOptimizers:
    """Tells which optimizers hold watched parameters, beside those that are watched.

    Attributes:
        foreign_step: called before a step of any of them.
    """

    foreign_step: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[torch.optim.Optimizer, bool] = (
            weakref.WeakKeyDictionary()
        )
        self._made: list[int] = []
        self.inside = self.updates = 0
        self._found = self._updates = 0

    def before_step(self) -> None:
        """Called before any step: a wrapper may call the watched optimizer."""
        if not self.inside:
            self.foreign_step()
            self._made.append(self.updates)

    def made_alone(self) -> bool:
        """Tell after a step if no watched optimizer made it, or made one in it."""
        return not self.inside and bool(self._made) and self._made.pop() == self.updates

    def holds(
        self, optimizer: torch.optim.Optimizer, watched: Iterable[torch.optim.Optimizer]
    ) -> bool:
        """True if an optimizer holds a parameter that a watched one holds, too."""
        found = self._known.get(optimizer)
        if found is None:
            ours = {one for member in watched for one in _held(member)}
            found = self._known[optimizer] = not ours.isdisjoint(_held(optimizer))
            self._found += found
        self._updates += found
        return found

    def said(self, optimizer: torch.optim.Optimizer, watched: Iterable[WatchedOptimizer]) -> str:
        """Reason why controls of watched optimizers would do nothing; "" if one made an update."""
        return (
            "" if any(one.updated for one in watched) else NOT_OURS.format(type(optimizer).__name__)
        )

    def knows(self, optimizer: torch.optim.Optimizer) -> bool:
        """True if an optimizer that is not watched made updates."""
        return optimizer in self._known

    def renewed(self, optimizer: torch.optim.Optimizer, step: int) -> RenewedOptimizer | None:
        """Tell if an optimizer that gathers something is a new one at almost every update."""
        if self._found < MIN_RENEWED or self._found < MIN_RENEWED_SHARE * self._updates:
            return None
        states = [state for state in optimizer.state.values() if isinstance(state, dict)]
        lost = {name for state in states for name, value in state.items() if value is not None}
        lost -= {"step"}
        if not lost:
            return None
        return RenewedOptimizer(step, type(optimizer).__name__, self._found, tuple(sorted(lost)))


def said_by_hand(between: bool) -> str:
    """Text about weights that change without a step of the optimizer in a batch.

    Args:
        between: True if it makes steps between two passes.
    """
    return SAID_BETWEEN if between else SAID_BY_HAND


def _held(optimizer: torch.optim.Optimizer) -> Iterator[int]:
    return (id(p) for group in optimizer.param_groups for p in group["params"])


class WeightSample:
    """Some elements of some weights, to see if they change.

    An update by hand, such as of `parameter.data`, leaves no other trace.
    """

    def __init__(self, parameters: Named) -> None:
        made = [parameter for _, parameter in parameters if not is_lazy(parameter)]
        self._chosen = made[:: max(len(made) // MAX_PARAMETERS, 1)]
        self._before = self._read()

    def changed(self) -> bool:
        """True if an element is another one than at first."""
        return not torch.equal(self._before, self._read())

    def _read(self) -> torch.Tensor:
        parts = [wide(local(p.detach()).flatten()[:MAX_ELEMENTS]) for p in self._chosen]
        return torch.cat([torch.zeros(0), *(part.cpu() for part in parts)])


class ByHand:
    """Finds out if weights change in batches without an update of an optimizer.

    Attributes:
        after: step behind which each batch counts as one.
    """

    def __init__(self) -> None:
        self.after = math.inf
        self._first: WeightSample | None = None
        self._late: WeightSample | None = None

    def begins(self, step: int, parameters: Named) -> bool:
        """Tell before a step if its batches count, each as a step."""
        self._first = None if step else WeightSample(parameters)
        return self.after < step

    def tell_at_end(self, batches: int, tell: Callable[[str, str], None]) -> None:
        """Tell of a loop that has ended without a step, if it changed weights."""
        if self._first is not None and self._first.changed():
            tell(OTHER, SAID_AT_END.format(batches, 2 * LATE_BATCHES))

    def seen(self, batches: int, step: int, parameters: Named) -> bool:
        """Tell after a number of batches of a step if weights were changed by hand in it."""
        if batches == LATE_BATCHES:
            self._late = WeightSample(parameters)
        if batches != 2 * LATE_BATCHES or self._late is None:
            return False
        changed, self._late = self._late.changed(), None
        if changed:
            self.after = min(self.after, step)
        return changed
