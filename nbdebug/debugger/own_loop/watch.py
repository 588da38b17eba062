"""A loop of the user's own, and the dashboard around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import torch
from torch import nn

from nbdebug.core.commands.running import Run
from nbdebug.debugger.debugger import Debugger
from nbdebug.errors import ArgumentError
from nbdebug.model.module.forward import StepFn
from nbdebug.runs.record.location import AUTO
from nbdebug.training.data.loops.rng import LoopRng
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.loops.source import LoopSource
from nbdebug.training.engine.session import Setup
from nbdebug.training.own_loop.handoff import PassOver
from nbdebug.training.own_loop.loop_body import LoopBody

SETTLE_SECONDS = 5.0


class Watch(Debugger):
    """A training whose loop is the user's own; made by `nbdebug.watch`.

    The dashboard, its controls and everything that goes back in time work as with `Debugger`; the
    steps are made by the loop, between two batches of `batches`.
    """

    def __init__(self, body: LoopBody, setup: Setup, controls: dict[str, Any]) -> None:
        self._body = body
        self._begin(setup, controls)

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the number of each epoch, from the present one to `count`.

        After a rewind it goes on with the epoch that was gone back to.
        """
        sampler, body = self._parts.training.session.sampler, self._body
        assert isinstance(sampler, LoopSampler)
        try:
            while (epoch := sampler.completed) < count and not body.closed:
                passes = body.passes
                yield epoch
                if body.passes == passes:
                    raise ArgumentError("epochs() found no loop over batches() inside of its own.")
        finally:
            self._end()

    def batches(self, loader: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches of a pass over a loader; what follows until the next is one step.

        Between two steps training can be paused, changed and rewound: the batches of earlier
        steps then come again.

        Args:
            loader: a DataLoader, whose batch size becomes live, or any iterable.
        """
        body = self._body
        fresh = not body.runs
        body.begin_pass(loader)
        if fresh:
            self._client.put(Run())
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
            steps, epochs: as for `Debugger.run`.
        """
        if loop is None:
            super().run(steps, epochs)
            return
        if self._body.runs:
            raise ArgumentError("A loop is running: wait for its end, or interrupt it.")
        thread = threading.Thread(target=self._run, args=(loop,), name="nbdebug-loop", daemon=True)
        passes = self._body.passes
        thread.start()
        while thread.is_alive() and (self._body.passes == passes or self.state == "paused"):
            thread.join(0.01)

    def _run(self, loop: Callable[[], Any]) -> None:
        try:
            loop()
        except BaseException as error:
            self._end(error)
            raise
        self._end()

    def _end(self, error: BaseException | None = None) -> None:
        if self._body.thread in (None, threading.get_ident()):
            self._body.leave(error)
            # The last step is being written down.
            self.wait(SETTLE_SECONDS)

    def close(self) -> None:
        self._body.calls.release()
        self._body.close()
        super().close()


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    scaler: torch.amp.GradScaler | None = None,
    state: Mapping[str, Any] | None = None,
    loss: StepFn | None = None,
    name: str | None = None,
    runs: str | PathLike[str] | None = AUTO,
    overhead: float = 0.05,
    checkpoint_memory: int | None = None,
    **controls: Any,
) -> Watch:
    """Watch a training loop of your own.

    Args:
        model: the module that the loop trains; optimizer: whose `step` makes an update.
        scaler: the loop's GradScaler; norms are of unscaled gradients.
        state: what else moves and the loop does not reach by its variables, by name.
        loss: `loss(model, batch)` returns the loss, for checks while no loop is running.
        name, runs, overhead, checkpoint_memory, **controls: as for `Debugger`.

    Raises:
        ArgumentError: a keyword is misspelt.
        ModelError: the optimizer does not hold the model's parameters.
    """
    wanted: Any = optimizer
    if not isinstance(wanted, torch.optim.Optimizer):
        kind = type(wanted).__name__
        raise ArgumentError(f"optimizer is a {kind}: expected the torch optimizer of the loop.")
    given: Any = state
    if given is not None and not isinstance(given, Mapping):
        raise ArgumentError(f"state is a {type(given).__name__}: expected {{name: object}}.")
    body, rng = LoopBody(optimizer), LoopRng()
    setup = Setup(
        model, LoopSource(body, rng), step_fn=loss or body.look, optimizer=optimizer,
        scaler=scaler, state=state,
        name=name, runs=runs, overhead=overhead, checkpoint_memory=checkpoint_memory,
    )  # fmt: skip
    return Watch(body, setup, controls)
