"""The contract of a control, as a check that its author runs."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch

from nbdebug.controls.base import Control
from nbdebug.errors import ControlValueError
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.testing.contract import require, require_class, require_name, require_text
from nbdebug.testing.problem import MLP, AnyProblem
from nbdebug.testing.trainer import Trainer
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.state_guard import HOOK_ATTRIBUTES

NONSENSE = (math.nan, object(), {"nowhere": 0.1})


def check_control(
    kind: type[Control], problem: AnyProblem = MLP, values: Sequence[Any] = ()
) -> None:
    """Check that a control keeps its contract.

    Its description is complete; validating changes nothing; values that make no sense are refused
    by name; the same value twice is the same state; the old value undoes the new one; a change is
    made again, equal to the bit, when training goes back over it.

    Args:
        kind: the class.
        problem: a training in which the control can be used.
        values: to try; without any, the choices, or the ends and the middle of the slider.

    Raises:
        PluginError: names the part that is not kept.
    """
    require_class(kind, Control)
    require_name(kind, "nbdebug.controls", Control)
    require_text(kind, "label")
    control = kind()
    with Trainer.of(problem, probes=(), controls=_besides(control)) as trainer:
        trainer.step(2)
        _check_spec(control, trainer.session)
        tried = list(values) or _offered(control, trainer.session)
        _check_refusals(control, trainer)
        for value in tried:
            _check_value(control, trainer, value)
    if not control.spec(trainer.session).action:
        for value in tried:
            _check_repeated(kind, problem, value)


def _besides(control: Control) -> tuple[Control, ...]:
    """The control, unless nbdebug finds it anyway."""
    return () if type(control).__module__.startswith("nbdebug.controls.") else (control,)


def _check_spec(control: Control, session: Session) -> None:
    spec = control.spec(session)
    require(
        (spec.name, spec.label) == (control.name, control.label),
        "spec() gives another name or label than the class has.",
    )
    require(not spec.unavailable, f"It cannot be used in this problem: {spec.unavailable}")
    require(spec.help.endswith("."), "The help of the spec must end with '.'.")
    require(isinstance(control.series(session), float), "series() must give a float.")
    if spec.kind == "choice":
        known = [value for value, _ in spec.choices]
        require(control.read(session) in known, "The value in force is not among the choices.")
    elif spec.kind != "samples":
        require(spec.low < spec.high, "The low end of the slider is not below the high end.")
        require(spec.scale == "linear" or spec.low > 0, "A log scale begins above 0.")


def _offered(control: Control, session: Session) -> list[Any]:
    """Values that the widget offers and that are not in force."""
    spec, now = control.spec(session), control.read(session)
    if spec.kind == "choice":
        offered = [value for value, _ in spec.choices if value != now]
        return [_for_members(control, session, value) for value in offered]
    require(spec.kind != "samples", "Give values= to try: there is no slider to take them from.")
    middle = math.sqrt(spec.low * spec.high) if spec.scale == "log" else (spec.low + spec.high) / 2
    found = (spec.low, spec.high, int(middle) if spec.kind == "int" else middle)
    return [value for value in found if value != now]


def _for_members(control: Control, session: Session, value: Any) -> Any:
    """A choice for all members, or for the first one where it must not be that of all."""
    members, now = control.spec(session).members, control.read(session)
    try:
        control.validate(session, value)
    except ControlValueError:
        if members and not isinstance(now, dict):
            return dict.fromkeys(members, now) | {members[0]: value}
    return value


def _check_refusals(control: Control, trainer: Trainer) -> None:
    for value in NONSENSE:
        before = _state(trainer)
        try:
            control.validate(trainer.session, value)
        except ControlValueError as error:
            require(control.name in str(error), f"The error for {value!r} does not name it.")
        except Exception as error:
            require(False, f"{value!r} raises {type(error).__name__}, not ControlValueError.")
        else:
            require(False, f"validate() takes {value!r}.")
        require(_equal(before, _state(trainer)), f"Refusing {value!r} changes the training.")


def _check_value(control: Control, trainer: Trainer, value: Any) -> None:
    session = trainer.session
    old, before = control.read(session), _state(trainer)
    try:
        valid = control.validate(session, value)
    except ControlValueError as error:
        require(False, f"The widget offers {value!r}, and validate() refuses it: {error}")
    require(_equal(before, _state(trainer)), f"validate({value!r}) changes the training.")
    control.apply(session, valid)
    once = _state(trainer)
    require(not _equal(before, once), f"Applying {value!r} changes nothing.")
    action = control.spec(session).action
    reached = control.read(session)
    require(
        action or _close(reached, valid) or _close(reached, value),
        f"After {value!r} it reads {reached!r}.",
    )
    if not action:
        control.apply(session, control.validate(session, value))
        require(_equal(once, _state(trainer)), f"{value!r} twice is another state than once.")
    control.apply(session, control.validate(session, "undo" if action else old))
    require(_equal(before, _state(trainer)), f"The old value {old!r} does not undo {value!r}.")


def _check_repeated(kind: type[Control], problem: AnyProblem, value: Any) -> None:
    """Going back over the change and training again ends in the same weights."""
    with Trainer.of(problem, probes=(), controls=_besides(kind())) as trainer:
        trainer.step(2)
        trainer.set(**{kind.name: value})
        try:
            trainer.step(4)
        except Exception:
            # The ends of a slider may be too much for the model: one sample for BatchNorm, say.
            return
        ends = copy.deepcopy(trainer.model.state_dict())
        trainer.rewind(4)
        trainer.step(2)
        require(
            bitwise_equal(ends, trainer.model.state_dict()),
            f"Rewinding over a change to {value!r} does not end in the same weights.",
        )


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    return _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    """Equal to the bit, but 0 is 0.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, torch.Tensor):
        return bitwise_equal(one, other)
    return bool(one == other)


def _state(trainer: Trainer) -> dict[str, Any]:
    """Everything that a control may change, copied."""
    session, model = trainer.session, trainer.model
    modules = list(model.named_modules())
    return {
        "modules": [(name, type(m).__name__, id(m), m.training) for name, m in modules],
        "hooks": [len(getattr(m, kind)) for _, m in modules for kind in HOOK_ATTRIBUTES],
        "weights": copy.deepcopy(model.state_dict()),
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "optimizer": type(session.optimizer).__name__,
        "optimizer state": copy.deepcopy(session.optimizer.state_dict()),
        "controls": copy.deepcopy(trainer.controls),
    }
