"""Copy of a training between two steps, to find and undo changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.parts import Structure
from nbdebug.model.state.attributes import Attributes
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import cloned
from nbdebug.model.state.model_state import ModelState, RngState
from nbdebug.model.state.optimizer import copy_nested
from nbdebug.model.state.values.written import LOOK_BYTES
from nbdebug.model.state.weights import trained
from nbdebug.training.engine.session import Session

HOOK_ATTRIBUTES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)
GLOBAL_RANDOM = "the random numbers"
HANDLED_ATTRIBUTES = (*HOOK_ATTRIBUTES, "_parameters", "_buffers", "_modules", "training")


class StateGuard:
    """Copies of weights, buffers, gradients, optimizer, random numbers and the rest.

    `moved` compares the current state with the copies bit by bit; `restore` writes the copies
    back, except for the schedule, which only training steps. Parameters and modules stay the
    same objects. What attributes of modules hold is compared and restored too, see `Attributes`.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._structure = Structure(session.model, session.optimizer)
        self._model = ModelState.capture(session.model, session.optimizer)
        unknown = LOOK_BYTES if session.untried else 0
        self._surroundings = session.surroundings.capture(records=True, unknown=unknown)
        self._runs = 0 if session.body is None else session.body.state.runs
        self._rng = RngState.capture()
        self._own_rng = session.rng.position()
        held = trained(session.model, session.optimizer, *session.surroundings.values())
        self._gradients = [(p, p.grad, copy_nested(p.grad)) for p in held]
        self._scale = None if session.scaler is None else session.scaler.state_dict()
        self._window, self._skipped = session.clipping.window.copied(), session.skipped
        self._norms = session.grad_norms, session.with_gradient
        state = session.source.state
        self._data = None if state is None else state.now()
        self._held_out = session.held_out.capture()
        self._attributes = [(module, _attributes(module)) for module in session.model.modules()]
        self._hooks = [
            (hooks, dict(hooks))
            for module in session.model.modules()
            for hooks in (getattr(module, kind) for kind in HOOK_ATTRIBUTES)
        ]
        # The large parts are copied already.
        copies = {
            "the weights": self._model.weights.parameters,
            "the optimizer": copy_nested(session.optimizer.state_dict()),
            "the attributes of modules": self._model.weights.attributes.plain(identities=True),
        }
        rest = {name: value for name, value in self._current().items() if name not in copies}
        self._copies: dict[str, Any] = {**copies, **copy_nested(rest)}

    @property
    def uncopied(self) -> dict[str, str]:
        """Place and type of parts of the model that may have a state and cannot be copied."""
        return self._model.weights.attributes.uncopied

    def moved(self, loose: bool = True, shared: bool = True) -> tuple[str, ...]:
        """Names of the parts that changed since the copy was taken; empty if none did.

        Args:
            loose: False leaves out variables of a loop that its next batch binds again.
            shared: False leaves out the global random generators, from which a cell may draw.
        """
        now = self._current()
        found = [
            name for name, value in self._copies.items()
            if (shared or name != GLOBAL_RANDOM) and not bitwise_equal(now[name], value)
        ]  # fmt: skip
        if not self._surroundings.equals(self._session.surroundings.capture(), loose=loose):
            found.append("what loss_fn and step_fn reach")
        return tuple(found)

    @contextmanager
    def each_look(self) -> Iterator[None]:
        """Context in which each look at a loop puts back what the loop counts."""
        body = self._session.body
        if body is None:
            yield
            return
        body.looks.put_back = self._put_back
        try:
            yield
        finally:
            body.looks.put_back = None

    def _put_back(self) -> None:
        """Put modules and parameters back that a look has exchanged, and what the loop counts."""
        self._structure.restore()
        self._surroundings.restore_records()

    def restore_records(self) -> None:
        """Write batches, numbers, containers and iterators back that the user's code has moved."""
        self._session.ready.end_looks()
        body = self._session.body
        if body is None or body.state.runs != self._runs:
            self._put_back()

    def restore(self) -> None:
        """Write the copies back."""
        session = self._session
        session.ready.end_looks()
        self._structure.restore()
        for hooks, kept in self._hooks:
            hooks.clear()
            hooks.update(kept)
        for module, attributes in self._attributes:
            for name in _attributes(module).keys() - attributes.keys():
                del vars(module)[name]
            vars(module).update(attributes)
        self._model.restore(session.model, session.optimizer)
        self._surroundings.restore()
        for parameter, gradient, value in self._gradients:
            if gradient is not None and not bitwise_equal(gradient, value):
                gradient.detach().copy_(value)
            parameter.grad = gradient
        if session.scaler is not None and self._scale is not None:
            session.scaler.load_state_dict(self._scale)
        session.clipping.window, session.skipped = self._window.copied(), self._skipped
        session.grad_norms, session.with_gradient = self._norms
        session.drop_outputs()
        session.rng.seek(self._own_rng)
        if self._data is not None:
            self._data.restore()
        session.held_out.restore(self._held_out)
        self._rng.restore()

    def _current(self) -> dict[str, Any]:
        session, model = self._session, self._session.model
        named = list(model.named_parameters())
        rng = RngState.capture()
        return {
            "the weights": {name: p.detach() for name, p in named},
            "the buffers": dict(model.named_buffers()),
            "requires_grad": {name: p.requires_grad for name, p in named},
            "the gradients": {name: p.grad for name, p in named},
            "the training flags": {name: m.training for name, m in model.named_modules()},
            "the hooks": [[list(getattr(m, k)) for k in HOOK_ATTRIBUTES] for m in model.modules()],
            "the optimizer": session.optimizer.state_dict(),
            "the schedule": [s.state_dict() for s in session.schedule.schedulers],
            "the scaler": None if session.scaler is None else session.scaler.state_dict(),
            "the attributes of modules": Attributes.capture(model, cloned).plain(identities=True),
            GLOBAL_RANDOM: [rng.python, rng.numpy, rng.cpu, list(rng.cuda)],
            "the session's random numbers": session.rng.position(),
            "the order of data": session.sampler.position(),
        }


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in HANDLED_ATTRIBUTES}
