"""Several optimizers as one, as controls, probes and copies see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch

SEVERAL = "several optimizers do not take parameters that none of them holds."
OWN_SCHEDULES = "there are several optimizers: give each a scheduler in a loop of your own."
DIFFER = "the optimizers differ in it: change it in the loop."


class JointState(MutableMapping[Any, Any]):
    """States of several optimizers by parameter; each is written to the one that holds it."""

    def __init__(self, members: Mapping[str, torch.optim.Optimizer]) -> None:
        self._members = tuple(members.values())

    def __getitem__(self, parameter: Any) -> Any:
        return self._holder(parameter).state[parameter]

    def __setitem__(self, parameter: Any, value: Any) -> None:
        self._holder(parameter).state[parameter] = value

    def __delitem__(self, parameter: Any) -> None:
        del self._holder(parameter).state[parameter]

    def __iter__(self) -> Iterator[Any]:
        return (parameter for member in self._members for parameter in member.state)

    def __len__(self) -> int:
        return sum(len(member.state) for member in self._members)

    def _holder(self, parameter: Any) -> torch.optim.Optimizer:
        for member in self._members:
            if any(p is parameter for group in member.param_groups for p in group["params"]):
                # The state of an optimizer makes an entry for what is asked for.
                if parameter in member.state:
                    return member
                raise KeyError(parameter)
        for member in self._members:
            # One of a layer that was exchanged, which no group has any more.
            if parameter in member.state:
                return member
        raise KeyError(parameter)


class JointOptimizer(torch.optim.Optimizer):
    """Several optimizers: their parameter groups and states side by side.

    Args:
        members: the optimizers by name; they stay the same objects.
    """

    def __init__(self, members: Mapping[str, torch.optim.Optimizer]) -> None:
        # Groups and state are those of the members, so nothing of the base class is set up.
        self.members = dict(members)
        shared = [set(member.defaults) for member in members.values()]
        first = next(iter(members.values()))
        self.defaults = {key: first.defaults[key] for key in set.intersection(*shared)}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Parameter groups of all members, in order."""
        return [group for member in self.members.values() for group in member.param_groups]

    @property
    def state(self) -> JointState:  # type: ignore[override]
        """States of all members."""
        return JointState(self.members)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step with each member."""
        loss = None if closure is None else closure()
        for member in self.members.values():
            member.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for member in self.members.values():
            member.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse: which member would hold it is not known."""
        raise TypeError(SEVERAL)

    def state_dict(self) -> dict[str, Any]:
        return {name: member.state_dict() for name, member in self.members.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, member in self.members.items():
            member.load_state_dict(state_dict[name])

    def unavailable(self) -> dict[str, str]:
        """Controls that several optimizers cannot take, with the reason."""
        schedule = ("schedule", "schedule_steps", "schedule_factor", "warmup_steps", "lr_change")
        found = dict.fromkeys(schedule, OWN_SCHEDULES)
        found["optimizer"] = "there are several optimizers."
        # These are set to one value in all parameter groups.
        for control in ("momentum", "beta2", "weight_decay"):
            if len({_setting(group, control) for group in self.param_groups}) > 1:
                found[control] = DIFFER
        return found

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={type(one).__name__}" for name, one in self.members.items())
        return f"{type(self).__name__}({inside})"


def _setting(group: Mapping[str, Any], control: str) -> Any:
    """Setting that must be alike in all parameter groups for a control to set it in all."""
    if control == "weight_decay":
        return control in group
    if "betas" in group:
        return "betas", group["betas"][control == "beta2"]
    return "momentum", group.get("momentum") if control == "momentum" else None


def members_of(optimizer: torch.optim.Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """The members of a joint optimizer, or the optimizer alone."""
    if isinstance(optimizer, JointOptimizer):
        return tuple(optimizer.members.values())
    return (optimizer,)
