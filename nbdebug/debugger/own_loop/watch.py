"""A loop of the user's own, and the dashboard around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.commands.loops import LogValues
from nbdebug.core.commands.queue import Ticket
from nbdebug.core.commands.running import Run
from nbdebug.core.contexts import contextmanager
from nbdebug.debugger.debugger import Debugger
from nbdebug.debugger.own_loop.cell_magic import offer_magic
from nbdebug.debugger.own_loop.meet_ranks import met
from nbdebug.debugger.own_loop.several import modules, optimizers, with_schedulers
from nbdebug.elsewhere.listener import Serve
from nbdebug.errors import ArgumentError
from nbdebug.model.module.forward import StepFn, detached
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.state.wrapped_optimizer import scaler_of
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.loops.positions import Updates
from nbdebug.training.data.loops.rng import LoopRng
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.loops.source import LoopSource
from nbdebug.training.data.val_function import ValFn
from nbdebug.training.engine.probing.logged import check_logged
from nbdebug.training.engine.setup import OVERHEAD, Setup
from nbdebug.training.own_loop.loop_body import LoopBody
from nbdebug.training.own_loop.meeting.loop_thread import (
    LoopEnded,
    LoopThread,
    PassOver,
    wait_for_end,
)
from nbdebug.training.own_loop.messages import RUNS_ALREADY, RUNS_TO_ITS_END

SETTLE_SECONDS = 5.0
ARGUMENTS = (
    "scaler", "state", "val_every", "name", "runs", "overhead", "checkpoint_memory", "serve"
)  # fmt: skip
Scheduler = LRScheduler | Sequence[LRScheduler]
SchedulerLike = Scheduler | Mapping[str, Scheduler] | None


class Watch(Debugger):
    """A training whose loop is the user's own; made by `nbdebug.watch`.

    The dashboard, its controls and everything that goes back in time work as with `Debugger`; the
    steps are made by the loop, between two batches of `batches`.
    """

    def __init__(self, body: LoopBody, setup: Setup, notices: Any, controls: Any) -> None:
        self._body = body
        self._logged: Ticket | None = None
        self._begin(setup, controls, *notices)
        body.let_run = partial(self._parts.queue.put, Run(), inside=True)

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the number of each epoch, from the present one to `count`.

        After a rewind it goes on with the epoch that was gone back to.
        """
        sampler, body = self._parts.training.session.sampler, self._body
        body.planned = count
        assert isinstance(sampler, LoopSampler)
        try:
            while not body.closed:
                epoch = body.state.epoch_after(sampler.completed)
                # A fork may train beyond the last epoch, and is undone.
                if epoch >= count and not sampler.trying:
                    break
                passes = body.passes
                yield epoch
                if body.passes == passes:
                    raise ArgumentError("epochs() found no loop over batches() inside of its own.")
        finally:
            self.leave()

    @property
    def epoch(self) -> int:
        """Number of the epoch of the present step, also while steps are repeated or tried."""
        return self._body.epoch

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches of a pass over a loader; what follows until the next is one step.

        Between two steps training can be paused, changed and rewound: the batches of earlier
        steps then come again.

        Args:
            loader: a DataLoader, whose batch size becomes live, or any iterable.
        """
        body = self._body
        body.begin_pass(loader)
        try:
            while True:
                yield body.take()
        except PassOver:
            return
        except KeyboardInterrupt:
            body.leave()
            raise
        finally:
            body.cut_pass()

    @contextmanager
    def _update(self) -> Iterator[None]:
        """Make one step of what runs inside, in a loop without data."""
        body = self._body
        if not body.runs:
            body.begin_pass(Updates())
        body.take()
        try:
            yield
        except BaseException as error:
            body.leave(error)
            raise
        body.rest()

    def step(self, n: int | None = None) -> Any:
        """Make one step of what runs inside `with dbg.step():`, in a loop without batches.

        Such a loop does not go back in time. With a number `n`, train that many steps of a paused
        loop, as `Debugger.step`.
        """
        return self._update() if n is None else super().step(n)

    def log(self, loss: Any = None, **values: Any) -> None:
        """Write named values of the present step; they are series, plots and metrics.

        What a step writes that is repeated on trial is left out.

        Args:
            loss: of this step, where the sum of what `backward` is called on is not the loss.
            **values: numbers or tensors of one; between two passes of the last step.

        Raises:
            ArgumentError: a name is measured by nbdebug, or is no name of a series.
        """
        body, updates = self._body, self._body.updates
        check_logged(values, self._parts.training.loop.breakpoints.measured)
        if loss is not None:
            updates.own_loss = loss.detach() if isinstance(loss, torch.Tensor) else loss
        # A loop that ends because its watch was closed may come by here once more.
        left_out = body.closed or (
            body.is_called_from() and (body.on_trial or body.updates.skipped)
        )
        if values and not left_out:
            named = {name: detached(value) for name, value in values.items()}
            updates.validation.rows.logged(named, body.step)
            self._logged = self._client.put(LogValues(body.step, named, user_line()))

    @property
    def on_trial(self) -> bool:
        """True while the loop repeats or tries steps: leave out prints and files then."""
        return self._body.on_trial

    def run(  # type: ignore[override]
        self,
        loop: Callable[[], Any] | None = None,
        *,
        steps: int | None = None,
        epochs: float | None = None,
    ) -> None:
        """Run a function with a loop in a thread of its own, or let a paused loop run on.

        Args:
            loop: a function that iterates over `batches`; returns at once.
            steps, epochs: as for `Debugger.run`, of a paused loop; ArgumentError with `loop`.
        """
        if loop is None:
            return super().run(steps, epochs)
        if self._body.runs or (steps, epochs) != (None, None):
            raise ArgumentError(RUNS_ALREADY if self._body.runs else RUNS_TO_ITS_END)
        thread = LoopThread(self._run, loop)
        passes, self._body.started = self._body.passes, None
        thread.start()
        while thread.is_alive() and not (self._body.passes > passes and self.has_started):
            thread.join(0.01)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until training is paused, or what was given to `run` is over; False if too late."""
        return wait_for_end(super().wait, self._body, timeout)

    @property
    def has_started(self) -> bool:
        """True if training runs, or has run and was paused since."""
        ticket = self._body.started
        return self.state != "paused" or (ticket is not None and ticket.answer.done())

    def _run(self, loop: Callable[[], Any]) -> None:
        failure: BaseException | None = None
        try:
            loop()
        except LoopEnded:
            pass
        except BaseException as error:
            failure = error
            raise
        finally:
            self.leave(failure)

    def end_loop(self) -> None:
        """End the loop that runs in a thread of its own, at its next batch."""
        self._body.end()

    def leave(self, error: BaseException | None = None) -> None:
        """Say that the loop has ended, or failed; called in its thread."""
        if self._body.thread in (None, threading.get_ident()):
            self._body.leave(error)
            # The last step is being written down, and what was logged behind it.
            self.wait(SETTLE_SECONDS)
            logged, self._logged = self._logged, None
            if logged is not None:
                futures.wait([logged.answer], SETTLE_SECONDS)

    def close(self) -> None:
        self._body.close()
        super().close()


def watch(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer],
    *, scheduler: SchedulerLike = None, scaler: torch.amp.GradScaler | None = None,
    state: Mapping[str, Any] | None = None, loss: StepFn | None = None,
    val: ValFn | None = None, val_every: int | None = None, name: str | None = None,
    runs: str | PathLike[str] | None = AUTO, overhead: float = OVERHEAD,
    checkpoint_memory: int | None = None, serve: Serve = None, **controls: Any,
) -> Watch:  # fmt: skip
    """Watch a training loop of your own.

    Args:
        model: the module that the loop trains, or several by name.
        optimizer: whose `step` makes an update; several by name have a learning rate, a clipping
            threshold, a loss and a gradient norm each, such as `lr/G`.
        scheduler: the scheduler of torch that the loop steps, a list of them, or {optimizer: one
            or a list}; it goes back in time, and is scaled when the learning rate is set. One that
            the loop reaches by its variables is found without it.
        scaler: the loop's GradScaler; norms are of unscaled gradients.
        state: what else moves and the loop does not reach by its variables, by name.
        loss: `loss(model, batch)` returns the loss, for checks while no loop is running.
        val: `val(model)` returns the validation loss, or {"loss": ..., name: ...}; called after
            each pass, or every `val_every` steps, in eval mode, without gradients.
        name, runs, overhead, checkpoint_memory, serve, **controls: as for `Debugger`.

    Raises:
        ArgumentError: a keyword is misspelt, or a scheduler is none of the optimizer.
        ModelError: the optimizer does not hold the model's parameters.
    """
    known, chosen = modules(model), optimizers(optimizer)
    body = LoopBody(chosen)
    given = list(optimizer.values()) if isinstance(optimizer, Mapping) else [optimizer]
    registered = with_schedulers(state, scheduler, chosen)
    return watched(
        body, known, chosen, given, scaler=scaler, state=registered, loss=loss, val=val,
        val_every=val_every, name=name, runs=runs, overhead=overhead,
        checkpoint_memory=checkpoint_memory, serve=serve, **controls,
    )  # fmt: skip


def watched(
    body: LoopBody,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    given_as: Sequence[Any] = (),
    *,
    loss: StepFn | None = None,
    val: ValFn | None = None,
    **arguments: Any,
) -> Watch:
    """Watch the loop of a body; arguments as for `watch`.

    Args:
        given_as: the optimizers as the loop calls them, where they may be wrapped.
    """
    body.calls.wrappers = tuple(given_as)
    scalers = [arguments.get("scaler"), *map(scaler_of, given_as)]
    arguments["scaler"] = next((one for one in scalers if one is not None), None)
    source = LoopSource(body, LoopRng())
    val = body.updates.validation.rows.watching(val, lambda: body.step)
    given = {name: value for name, value in arguments.items() if name in ARGUMENTS}
    controls = {name: value for name, value in arguments.items() if name not in ARGUMENTS}
    # The outputs of a loop are not seen: accuracy is what it logs.
    setup = Setup(
        model, source, step_fn=loss or body.look, val_fn=val, optimizer=optimizer, metrics={},
        **given,
    )  # fmt: skip
    made = Watch(body, *met(setup), controls)
    offer_magic(body)
    return made
