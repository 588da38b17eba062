"""The optimizers that can be exchanged live, and what is kept when they are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import ModelError
from nbdebug.model.schedule.builders import RATES
from nbdebug.model.schedule.live import Schedule
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.model.state.weights import Copy, cloned

KINDS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}
FAMILIES = {"sgd": "sgd", "nesterov": "sgd", "adam": "adam", "adamw": "adam"}
SCHEDULED = (*RATES[1:], "max_momentum", "base_momentum")
KEPT = ("lr", "weight_decay", *SCHEDULED)


def build(kind: str, parameters: Sequence[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    """A new optimizer of one of `KINDS` with torch's own defaults."""
    cls, defaults = KINDS[kind]
    return cls(parameters, **{**defaults, **options})


def kind_of(optimizer: torch.optim.Optimizer) -> str:
    """Name in `KINDS`, or the lowercase class name of an optimizer that is not there."""
    if type(optimizer) is torch.optim.SGD:
        return "nesterov" if optimizer.param_groups[0]["nesterov"] else "sgd"
    for kind, (cls, _) in KINDS.items():
        if type(optimizer) is cls:
            return kind
    return type(optimizer).__name__.lower()


class Optimizers:
    """The optimizer in force and those that were in force before.

    Switching keeps weights, learning rates and weight decay of every parameter group.
    SGD and Nesterov share their momentum buffers, Adam and AdamW their moments. What an
    optimizer of another family had gathered is put away and found again on return.

    Attributes:
        schedule: what moves the learning rate; it goes on with the new optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, own: LRScheduler | None = None) -> None:
        self.current = optimizer
        self.schedule = Schedule(optimizer, own)
        self._made = {kind_of(optimizer): optimizer}

    @property
    def kind(self) -> str:
        return kind_of(self.current)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that can be chosen: the known ones and the one the user brought."""
        return tuple(dict.fromkeys([*KINDS, *self._made]))

    def switch(self, kind: str) -> str:
        """Put an optimizer of `kind` in force and say what of the state was kept.

        Raises:
            ControlValueError: the user's scheduler needs what it does not have.
        """
        old, old_kind = self.current, self.kind
        if kind == old_kind:
            return ""
        family = FAMILIES.get(kind, kind)
        if family == FAMILIES.get(old_kind, old_kind):
            new, note = self._relative(kind), "The gathered state goes on."
        elif kind in self._made:
            new, note = self._made[kind], "Its state from the last time is back in use."
        else:
            new, note = self._new(kind), "It starts without gathered state."
        self.schedule.check_can_move_to(new)
        for ours, theirs in zip(new.param_groups, old.param_groups, strict=True):
            for key in SCHEDULED:
                ours.pop(key, None)
            ours.update({key: theirs[key] for key in KEPT if key in theirs})
        self._made[kind] = self.current = new
        self.schedule.move_to(new)
        return note

    def take_in(self, parameters: Sequence[nn.Parameter], leader: int) -> None:
        """Let parameters learn that no optimizer holds so far, with the settings of a group.

        Raises:
            ModelError: an optimizer does not take them; then nothing was changed.
        """
        groups = len(self.current.param_groups)
        for optimizer in self._made.values():
            settings = {k: v for k, v in optimizer.param_groups[leader].items() if k != "params"}
            try:
                optimizer.add_param_group({**copy.deepcopy(settings), "params": list(parameters)})
            except Exception as error:
                # The user's own optimizer may raise anything.
                self.let_go(groups)
                raise ModelError(
                    f"{type(optimizer).__name__} does not hold these parameters and takes no more "
                    f"({type(error).__name__}: {error}). Build it on all of model.parameters()."
                ) from error
        self.schedule.grow(leader)

    def let_go(self, groups: int) -> None:
        """Drop the parameter groups that were taken in after the first so many."""
        for optimizer in self._made.values():
            for group in optimizer.param_groups[groups:]:
                for parameter in group["params"]:
                    optimizer.state.pop(parameter, None)
            del optimizer.param_groups[groups:]

    def made(self, kind: str) -> torch.optim.Optimizer:
        """The optimizer of a kind, a new one where it was never in force.

        Raises:
            ModelError: it is neither known nor the one in force.
        """
        if kind in self._made:
            return self._made[kind]
        if kind not in KINDS:
            raise ModelError(f"The optimizer was {kind!r}, here it is {self.kind!r}.")
        return self._new(kind)

    def capture(self, copy: Copy = cloned) -> dict[str, OptimizerCopy]:
        """Copies of all of them by kind, the one in force last; for `restore`."""
        others = {kind: o for kind, o in self._made.items() if o is not self.current}
        seen: set[int] = set()
        return {
            kind: OptimizerCopy.capture(optimizer, seen, copy)
            for kind, optimizer in {**others, self.kind: self.current}.items()
        }

    def restore(self, saved: dict[str, OptimizerCopy]) -> None:
        """Write copies back; the schedule is restored by itself."""
        self._made = {kind: one.restore() for kind, one in saved.items()}
        self.current = self._made[next(reversed(saved))]
        self.schedule.move_to(self.current)

    def _relative(self, kind: str) -> torch.optim.Optimizer:
        """An optimizer of the same family, on the same gathered state."""
        new = self._new(kind)
        new.state = self.current.state
        shared = ("momentum", "dampening", "betas", "eps", "amsgrad")
        for ours, theirs in zip(new.param_groups, self.current.param_groups, strict=True):
            ours.update({key: theirs[key] for key in shared if key in theirs and key in ours})
            if kind == "nesterov":
                ours["momentum"] = ours["momentum"] or KINDS[kind][1]["momentum"]
                ours["dampening"] = 0
        return new

    def _new(self, kind: str) -> torch.optim.Optimizer:
        cls, options = KINDS[kind]
        groups = [
            {"params": group["params"], "lr": group["lr"]} for group in self.current.param_groups
        ]
        return cls(groups, **options)


def ratios(optimizer: torch.optim.Optimizer, option: str) -> tuple[int, tuple[float, ...]]:
    """How an option of the parameter groups relates to that of the leading group.

    Returns:
        The index of the leading group (the first whose option is not zero) and one
        ratio a group. When all are zero every ratio is 1.
    """
    values = [float(group[option]) for group in optimizer.param_groups]
    leader = next((index for index, value in enumerate(values) if value), None)
    if leader is None:
        return 0, (1.0,) * len(values)
    return leader, tuple(value / values[leader] for value in values)
