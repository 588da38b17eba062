"""Optimizers that can be switched during training."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nbdebug.core.error_text import describe_error
from nbdebug.errors import ModelError
from nbdebug.model.joint_optimizer import JointOptimizer
from nbdebug.model.schedule.builders import LR_OPTIONS
from nbdebug.model.schedule.live import Schedule
from nbdebug.model.state.copying import Copy, cloned
from nbdebug.model.state.optimizer import OptimizerCopy

OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
}
SEVERAL = "several"
STATE_FAMILIES = {"sgd": "sgd", "nesterov": "sgd", "adam": "adam", "adamw": "adam"}
SCHEDULED_OPTIONS = (*LR_OPTIONS[1:], "max_momentum", "base_momentum")
KEPT_OPTIONS = ("lr", "weight_decay", *SCHEDULED_OPTIONS)
# Taken along where both classes have them; those of the implementation when one is built, too.
SHARED_OPTIONS = (
    "betas", "eps", "amsgrad", "maximize", "foreach", "fused", "capturable", "differentiable",
)  # fmt: skip
# Options that make the kind, or that a control shows.
UNTOLD_OPTIONS = (*KEPT_OPTIONS, "nesterov", "decoupled_weight_decay", "momentum", "betas")


def build(kind: str, parameters: Sequence[nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    """Build an optimizer of `OPTIMIZERS` with torch's own defaults."""
    cls, defaults = OPTIMIZERS[kind]
    return cls(parameters, **{**defaults, **options})


def kind_of(optimizer: torch.optim.Optimizer) -> str:
    """Name in `OPTIMIZERS`, or the lowercase class name of any other optimizer."""
    if isinstance(optimizer, JointOptimizer):
        return SEVERAL
    if type(optimizer) is torch.optim.SGD:
        return "nesterov" if optimizer.param_groups[0]["nesterov"] else "sgd"
    for kind, (cls, _) in OPTIMIZERS.items():
        if type(optimizer) is cls:
            return kind
    return type(optimizer).__name__.lower()


class Optimizers:
    """The current optimizer and the earlier ones.

    Switching keeps weights, learning rates and weight decay of every parameter group, and
    options such as `eps`, `maximize` or `fused` where both classes have them. SGD and Nesterov
    share their momentum buffers, Adam and AdamW their moments. An optimizer of another family is
    kept, with its state and options, and used again after switching back.

    Attributes:
        schedule: the learning-rate schedule; it continues with the new optimizer.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule | None = None,
    ) -> None:
        self.current = optimizer
        self.schedule = schedule or Schedule(optimizer)
        self._made = {kind_of(optimizer): optimizer}

    @property
    def kind(self) -> str:
        return kind_of(self.current)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that can be chosen: those of `OPTIMIZERS` and the user's own."""
        return tuple(dict.fromkeys([*OPTIMIZERS, *self._made]))

    def switch(self, kind: str) -> str:
        """Switch to an optimizer of `kind` and return a note about its state and lost options.

        Raises:
            ControlValueError: the optimizer lacks an option that the user's scheduler moves.
        """
        old, old_kind = self.current, self.kind
        if kind == old_kind:
            return ""
        lost = self.lost(kind)
        if _related(kind, old_kind):
            new, note = self._relative(kind), "Optimizer state kept."
        elif kind in self._made:
            new, note = self._made[kind], "Optimizer state restored from the last time it was used."
        else:
            new, note = self._new(kind), "Optimizer state starts empty."
        self.schedule.check_can_move_to(new)
        for ours, theirs in zip(new.param_groups, old.param_groups, strict=True):
            for key in SCHEDULED_OPTIONS:
                ours.pop(key, None)
            ours.update({key: theirs[key] for key in KEPT_OPTIONS if key in theirs})
        self._made[kind] = self.current = new
        self.schedule.move_to(new)
        return f"{note} Not taken along: {lost}." if lost else note

    def lost(self, kind: str) -> str:
        """Options that differ from torch's defaults and that a switch leaves behind; "" if none.

        An optimizer that was in force before comes back with its own options.
        """
        old = self.current
        if kind == self.kind or (kind in self._made and not _related(kind, self.kind)):
            return ""
        taken = self._taken_along(kind)
        has = inspect.signature(OPTIMIZERS[kind][0]).parameters
        return ", ".join(
            f"{name}={value!r:.40}"
            for name, value in _chosen(old).items()
            if name not in UNTOLD_OPTIONS and not (name in taken and name in has)
        )

    def take_in(self, parameters: Sequence[nn.Parameter], leader: int) -> None:
        """Add parameters that no optimizer holds so far, with the settings of a group.

        Raises:
            ModelError: an optimizer does not accept them; nothing is changed.
        """
        groups = len(self.current.param_groups)
        for optimizer in self._made.values():
            settings = {k: v for k, v in optimizer.param_groups[leader].items() if k != "params"}
            try:
                optimizer.add_param_group({**copy.deepcopy(settings), "params": list(parameters)})
            except Exception as error:
                # The user's own optimizer may raise anything.
                self.drop_groups(groups)
                raise ModelError(
                    f"{type(optimizer).__name__} lacks these parameters and accepts no others "
                    f"({describe_error(error)}). Build it on all of model.parameters()."
                ) from error
        self.schedule.add_group(leader)

    def drop_groups(self, groups: int) -> None:
        """Drop the parameter groups after the first `groups`."""
        for optimizer in self._made.values():
            for group in optimizer.param_groups[groups:]:
                for parameter in group["params"]:
                    optimizer.state.pop(parameter, None)
            del optimizer.param_groups[groups:]

    @property
    def all(self) -> tuple[torch.optim.Optimizer, ...]:
        """All optimizers that were in force."""
        return tuple(self._made.values())

    def made(self, kind: str) -> torch.optim.Optimizer:
        """The optimizer of a kind; a new one if the kind was never used.

        Raises:
            ModelError: the kind is neither known nor the user's own.
        """
        if kind in self._made:
            return self._made[kind]
        if kind not in OPTIMIZERS:
            raise ModelError(f"The optimizer was {kind!r}, here it is {self.kind!r}.")
        return self._new(kind)

    def capture(self, copy: Copy = cloned) -> dict[str, OptimizerCopy]:
        """Copies of all optimizers by kind, the current one last; for `restore`."""
        others = {kind: o for kind, o in self._made.items() if o is not self.current}
        seen: set[int] = set()
        return {
            kind: OptimizerCopy.capture(optimizer, seen, copy)
            for kind, optimizer in {**others, self.kind: self.current}.items()
        }

    def restore(self, saved: dict[str, OptimizerCopy]) -> None:
        """Write copies back; the schedule is restored separately."""
        self._made = {kind: one.restore() for kind, one in saved.items()}
        self.current = self._made[next(reversed(saved))]
        self.schedule.move_to(self.current)

    def _relative(self, kind: str) -> torch.optim.Optimizer:
        """An optimizer of the same family with the same optimizer state."""
        new = self._new(kind)
        new.state = self.current.state
        own, taken = self._made.get(kind, new).param_groups, self._taken_along(kind)
        for ours, mine, theirs in zip(
            new.param_groups, own, self.current.param_groups, strict=True
        ):
            ours.update({key: value for key, value in mine.items() if key != "params"})
            ours.update({key: theirs[key] for key in taken if key in theirs and key in ours})
            if kind == "nesterov":
                ours["momentum"] = ours["momentum"] or OPTIMIZERS[kind][1]["momentum"]
                ours["dampening"] = 0
        return new

    def _taken_along(self, kind: str) -> tuple[str, ...]:
        """Names of options that go along where both classes have them."""
        if not _related(kind, self.kind):
            return SHARED_OPTIONS
        # Nesterov takes none, and SGD keeps its own meanwhile.
        no_dampening = "nesterov" in (kind, self.kind)
        return (*SHARED_OPTIONS, "momentum", *(() if no_dampening else ("dampening",)))

    def _new(self, kind: str) -> torch.optim.Optimizer:
        cls, options = OPTIMIZERS[kind]
        has = inspect.signature(cls).parameters
        chosen = {
            name: value
            for name, value in _chosen(self.current).items()
            if name in SHARED_OPTIONS and name in has
        }
        groups = [
            {
                "params": group["params"],
                "lr": group["lr"],
                **{name: group[name] for name in chosen},
            }
            for group in self.current.param_groups
        ]
        return cls(groups, **{**chosen, **options})


def _related(one: str, other: str) -> bool:
    """True if optimizers of two kinds share their state."""
    return STATE_FAMILIES.get(one, one) == STATE_FAMILIES.get(other, other)


def _chosen(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Options that differ from the defaults of the class, in the first group in which they do."""
    known = inspect.signature(type(optimizer)).parameters
    found: dict[str, Any] = {}
    for group in optimizer.param_groups:
        for name in optimizer.defaults.keys() & group.keys():
            default = known[name].default if name in known else optimizer.defaults[name]
            if not _same(group[name], default):
                found.setdefault(name, group[name])
    return {name: found[name] for name in optimizer.defaults if name in found}


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, torch.Tensor) or isinstance(default, torch.Tensor):
        return False
    return bool(value == default)


def rate_of(optimizer: torch.optim.Optimizer) -> float:
    """Learning rate of the leading parameter group, the first one whose rate is not 0."""
    rates = (float(group["lr"]) for group in optimizer.param_groups)
    return next((rate for rate in rates if rate), 0.0)
