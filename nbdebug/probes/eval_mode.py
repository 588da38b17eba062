"""Mode of the model at updates."""

from __future__ import annotations

import torch

from nbdebug.model.module.modes import depends_on_mode
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values


class EvalMode(Probe):
    """Updates that a model makes in eval mode though it is to train: `in_eval`.

    The value is 1 where a step or a forward called `model.eval()` and layers work differently by
    it, else 0. A model that was passed in eval mode is meant to be in it.
    """

    name = "eval_mode"
    cost = "cheap"
    order = 13

    def attach(self, session: TrainingState) -> None:
        self._session = session
        # Of a loop of the user's own every update is seen.
        self.idle = getattr(session, "body", None) is not None
        self._value: torch.Tensor | float = 0.0

    def before_update(self, step: int) -> None:
        model, modes = self._session.model, self._session.modes
        meant = modes.whole and modes.current == "as_passed"
        rests = not (model.training or meant)
        self._value = float(rests and any(map(depends_on_mode, model.modules())))

    def read(self, step: int) -> Values:
        return {"in_eval": self._value}
