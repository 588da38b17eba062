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
        self._state = ModelState.capture(session.model, session.optimizer)
        self._schedule = session.schedule.capture()

    def restore(self, loop: Loop, settings: Settings, history: History) -> None:
        """Go back: also the RNG, the order of data and the controls; History is emptied."""
        session = loop.session
        settings.restore()
        session.optimizers.switch(self._kind)
        session.optimizers.forget_others()
        self._state.restore(session.model, session.optimizer)
        session.schedule.restore(self._schedule)
        session.sampler.reset()
        session.rng.reset()
        session.step, session.samples, session.epoch = 0, 0, 0.0
        loop.reset()
        history.clear()
