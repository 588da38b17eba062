"""How a session began, to go back to."""

from __future__ import annotations

from nbdebug.core.history import History
from nbdebug.model.state import ModelState
from nbdebug.training.loop import Loop
from nbdebug.training.session import Session
from nbdebug.training.settings import Settings


class Beginning:
    """Weights, buffers, optimizer and schedule as they were before the first step."""

    def __init__(self, session: Session) -> None:
        self._kind = session.optimizers.kind
        self._groups = len(session.optimizer.param_groups)
        self._state = ModelState.capture(session.model, session.optimizer)
        self._schedule = session.schedule.capture()
        self._scale = None if session.scaler is None else session.scaler.state_dict()

    def restore(self, loop: Loop, settings: Settings, history: History) -> None:
        """Go back: also the RNG, the order of data and the controls; History is emptied."""
        session = loop.session
        settings.restore()
        session.optimizers.switch(self._kind)
        session.optimizers.forget_others()
        session.let_go(self._groups)
        session.initialisation.forget()
        self._state.restore(session.model, session.optimizer)
        session.schedule.restore(self._schedule)
        session.sampler.reset()
        session.rng.reset()
        session.clipping.window.clear()
        if session.scaler is not None and self._scale is not None:
            session.scaler.load_state_dict(self._scale)
        session.step, session.samples, session.epoch, session.skipped = 0, 0, 0.0, 0
        loop.reset()
        history.clear()
