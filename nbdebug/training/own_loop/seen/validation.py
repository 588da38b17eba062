"""Calls of a loop's model behind an update, which are a validation, and the mode they are made in.

Nothing is put into the model: a hook of torch for all modules sees calls of the loop's thread,
from an update to the next batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from nbdebug.core.results.metric_names import OtherInputs, ValidationInTraining
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import Handle, after_any_forward, before_any_forward
from nbdebug.model.module.modes import depends_on_mode
from nbdebug.model.module.names import is_compiled
from nbdebug.model.origin.source_line import user_line
from nbdebug.training.data.batch import Batch
from nbdebug.training.engine.loop import Loop
from nbdebug.training.own_loop.gradient_marks import Marks, Named, gradient_marks
from nbdebug.training.own_loop.seen.outside import OutsideUpdates
from nbdebug.training.own_loop.seen_calls import SeenCalls

Kept = weakref.ref[torch.Tensor]
MAX_INPUTS = 64
# A loop that calls its model behind more of its updates acts or draws, and does not validate.
MAX_SHARE = 0.5


class SeenValidation:
    """Tells the rules of a validation in training mode.

    Calls without gradients count, and between two passes those whose outputs are not passed back.
    Not counted are calls with the batch of the step, several with the same inputs (which draw
    dropout), and those that measure statistics for a validation in eval mode behind them.

    Args:
        state: of the loop; repeats: if its steps can be made again; batch: the last one.
        seen: of the calls of its model, whose inputs are compared.

    Attributes:
        outside: sees updates that belong to no step; rows: that the model is given.
    """

    def __init__(
        self,
        state: Callable[[], str],
        repeats: Callable[[], bool],
        batch: Callable[[], Batch],
        seen: SeenCalls,
    ) -> None:
        self._state, self._repeats, self._batch = state, repeats, batch
        self._loop: Loop | None = None
        self._scales, self.rows = seen.scales, seen.rows
        self.outside = OutsideUpdates(state)
        self._parameters: Named = ()
        self._roots: set[int] = set()
        self._handles: tuple[Handle, ...] = ()
        self._gaps = self._with_calls = 0
        self._held: list[Kept] = []
        self._clear()

    def attach(self, loop: Loop, parameters: Named) -> None:
        """Set the loop of the training, and the parameters of its only optimizer."""
        self.outside.attach(loop)
        model = loop.session.model
        if not parameters or any(is_compiled(module) for module in model.modules()):
            # Of compiled models torch warns where they are watched.
            return
        roots = list(model.values() if isinstance(model, nn.ModuleDict) else [model])
        self.rows.attach(loop.history, roots, lambda: getattr(loop.session.sampler, "number", 0))
        self._loop, self._parameters = loop, parameters
        self._roots = {id(root) for root in roots}

    def _clear(self) -> None:
        self._calls = 0
        self._scales.clear()
        self.rows.clear()
        self._evaluated = self._repeated = self._moves = self._passes = False
        self._layers: tuple[str, ...] = ()
        self._line, self._step = "", 0
        self._inputs: list[Kept] = []
        self._marks: Marks | None = None

    def begin(self, step: int, watched: bool) -> None:
        """See what comes behind an update, unless on trial; called in the thread of the loop."""
        if not watched or self._loop is None or self._handles:
            return
        self._clear()
        self._step = step
        self._handles = after_any_forward(self._called), before_any_forward(self._entered)

    def end(self) -> None:
        """See nothing more until the next update, and judge what was seen."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = ()
        self._gaps += 1
        with suppress(Exception):
            self._judge_scales()
        with suppress(Exception):
            self._judge()
        self._inputs = []

    def _entered(self, module: nn.Module, args: Any) -> None:
        self.rows.entered(module, args)

    def _called(self, module: nn.Module, args: Any, output: Any) -> None:
        with suppress(Exception):
            self.rows.called(module, args)
        if id(module) not in self._roots:
            return
        self.outside.see_call()
        state = self._state()
        if state not in ("works", "apart", "between") or torch.compiler.is_compiling():
            return
        if state == "works" and not self._repeats():
            # In the block of `with dbg.step():` the batch of the step is not known.
            return
        if not module.training:
            self._evaluated = True
            if not torch.is_grad_enabled():
                with suppress(Exception):
                    self._scales.evaluated(args)
        elif not torch.is_grad_enabled():
            self._passes = state == "between"
            self._note(module, args)
        elif state == "between":
            self._passes, self._marks = True, self._marks or gradient_marks(self._parameters)
            self._note(module, args)

    def _note(self, module: nn.Module, args: Any) -> None:
        """Count a call in training mode, unless it is with the batch of the step."""
        given = next(iter(tensors_of(args)), None)
        acting = [m for m in module.modules() if m.training and depends_on_mode(m)]
        if (
            given is None
            or not acting
            or any(given is one for one in tensors_of(self._batch().data))
        ):
            return
        norms = [m for m in acting if isinstance(m, _NormBase)]
        if any(norm.momentum is None for norm in norms):
            # Statistics are averaged over all data, as by `update_bn`.
            return
        self._calls, self._moves = self._calls + 1, self._moves or bool(norms)
        self._layers = tuple(dict.fromkeys(type(m).__name__ for m in acting))
        self._line = self._line or user_line()
        self._repeated = self._repeated or any(one() is given for one in self._inputs)
        if len(self._inputs) < MAX_INPUTS:
            self._inputs.append(weakref.ref(given))

    def _judge_scales(self) -> None:
        assert self._loop is not None
        found = self._scales.judge(self._step + 1)
        history = self._loop.history
        # The loop that runs now may be another one than that of which was told.
        if found is not None and (found.step or history.results.of(OtherInputs)):
            history.set_result(found)

    def _judge(self) -> None:
        assert self._loop is not None
        history = self._loop.history
        told = history.results.of(ValidationInTraining)
        if self._evaluated:
            if told is not None and told.step is not None:
                history.set_result(ValidationInTraining(None))
            return
        passed_back = self._marks is not None and self._marks != gradient_marks(self._parameters)
        if not self._calls or self._repeated or passed_back:
            return
        self._with_calls += 1
        # Data of a validation stays; what is acted on or drawn is made for each step.
        again = any(old() is new() for old in self._held for new in self._inputs)
        self._held = [one for one in self._inputs if one() is not None]
        seldom = self._with_calls <= MAX_SHARE * self._gaps
        if (told is None or told.step is None) and (again or seldom or self._passes):
            history.set_result(
                ValidationInTraining(
                    self._step + 1, self._calls, self._layers, self._moves, self._line
                )
            )
