"""Description and values of a control, as far as a training can take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nbdebug.controls.base import Control, require_available
from nbdebug.core.contexts import contextmanager
from nbdebug.core.control_spec import ControlSpec
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.errors import ControlValueError, NbdebugError
from nbdebug.training.engine.session import Session

# Controls that act by the watched optimizer, or on the gradients of its update.
OF_UPDATES = frozenset(
    {
        "lr", "lr_change", "weight_decay", "momentum", "beta2", "schedule", "schedule_steps",
        "schedule_factor", "warmup_steps", "clip_mode", "clip_threshold", "clip_norm_type",
        "clip_percentile", "clip_overrides", "not_finite",
    }
)  # fmt: skip


def described(control: Control, session: Session) -> ControlSpec:
    """Description of a control, with the reason if this kind of training cannot take it."""
    spec, reason = control.spec(session), _reason(control, session)
    return replace(spec, unavailable=reason) if reason else spec


def validated(control: Control, session: Session, value: Any) -> Any:
    """The value in the form in which the control applies it.

    Raises:
        ControlValueError: it is out of range, or another value than the one in force of a control
            that this kind of training cannot take.
    """
    with own_errors(control.name):
        found = control.validate(session, value)
        if _reason(control, session) and found != control.read(session):
            require_available(described(control, session))
        return found


def _reason(control: Control, session: Session) -> str:
    others = session.updated_by_others if control.name in OF_UPDATES else ""
    return session.unavailable.get(control.name, "") or others


@contextmanager
def own_errors(name: str) -> Iterator[None]:
    """Refuse a value in words if a control raises something else than ControlValueError."""
    try:
        yield
    except NbdebugError:
        raise
    except BaseException as error:
        raise_interrupt(error)
        raise ControlValueError(
            f"{name} cannot take this value: the control raised {describe_error(error)}."
        ) from error
