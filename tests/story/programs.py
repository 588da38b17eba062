"""Programs of commands, given to a Debugger and to a plain second computation alike."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.fork import Fork
from tests.story.plain_lr import FACTOR, LENGTH
from tests.story.plain_training import (
    EXCLUDED,
    SEED,
    CannotTrain,
    NotFiniteLoss,
    Old,
    PlainTraining,
)
from tests.story.problem import Problem
from tests.story.verbs import Verb
from tests.training.timeline.timelines import state

NOT_SET_BACK = {"reinit", "relabelled", EXCLUDED}


@dataclass
class _Made:
    """A fork that was made: it can be kept as long as training has not left its way."""

    fork: Fork
    place: int
    steps: int
    changes: dict[str, Any]
    reachable: bool = True


class Program:
    """Carries out verbs both ways and compares after each."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.plain = PlainTraining(problem)
        self.names: dict[str, int] = {}
        self.forks: list[_Made] = []
        self.dbg = nbd.Debugger(
            problem.build(), problem.data, nn.CrossEntropyLoss(), seed=SEED, runs=None,
            schedule_steps=LENGTH, schedule_factor=FACTOR, **{"batch_size": 8, **problem.start},
        )  # fmt: skip

    def do(self, verb: Verb) -> None:
        """Carry out one verb; afterwards both ways must be the same to the bit."""
        name, *arguments = verb
        getattr(self, f"_{name}")(*arguments)
        self.compare()

    def compare(self) -> None:
        """Losses, weights, buffers, optimizer state and learning rate, to the bit."""
        dbg, plain = self.dbg, self.plain
        assert dbg.history.status.step == len(plain.losses)
        if plain.losses:
            assert dbg.history.frame("loss")["loss"].tolist() == plain.losses
        assert dbg.controls["lr"] == plain.curve.lr
        assert dbg.controls["batch_size"] == plain.values["batch_size"]
        expected, found = plain.state(), state(self.dbg)
        assert found.keys() == expected.keys()
        assert [n for n in expected if not torch.equal(found[n], expected[n])] == []

    # Training

    def _set(self, values: dict[str, Any]) -> None:
        if self._taken(values):
            self.dbg.set(**values)
            self.plain.set(values, self._old(values))
        else:
            self._refused(values)

    def _taken(self, values: dict[str, Any]) -> bool:
        """Whether the controls of this model and optimizer take these values."""
        plain = self.plain
        kinds = {type(module) for module in plain.model.modules()}
        if "frozen" in values:
            return plain.trains_with(values["frozen"])
        if "momentum" in values:
            return not (plain.optimizers.kind == "nesterov" and values["momentum"] == 0.0)
        if "beta2" in values:
            return plain.optimizers.kind in ("adam", "adamw", "rmsprop")
        if "layer_order" in values:
            return bool(plain.problem.orders)
        if "activation" in values:
            return nn.ReLU in kinds
        if "bn_momentum" in values or "bn_statistics" in values:
            return bool({nn.BatchNorm1d, nn.BatchNorm2d} & kinds)
        if "reinit" in values:
            return values["reinit"] != "undo" or plain.can_undo_reinit
        return True

    def _old(self, names: Iterable[str]) -> Old:
        """What takes the last change of these controls back; None where that is refused."""
        made = self.dbg.history.changes[-len(list(names)) :]
        changed = {change.control: change.old for change in made[::-1] if change.old != change.new}
        return None if NOT_SET_BACK & changed.keys() else changed

    def _undo(self, rewind: bool) -> None:
        edits = self.plain.edits
        if not edits:
            self._unchanged(lambda: self.dbg.undo(rewind=rewind))
            return
        place, old = edits[-1]
        if rewind:
            assert self.dbg.undo(rewind=True).rewound
            self._went_back(place)
        elif old is None or not self._taken(old):
            self._unchanged(self.dbg.undo)
        else:
            self.dbg.undo()
            self.plain.undo(old)

    def _run(self, steps: int) -> None:
        self._both(lambda: self.dbg.run(steps=steps), lambda: self.plain.run(steps))

    def _run_epochs(self, epochs: float) -> None:
        self._both(lambda: self.dbg.run(epochs=epochs), lambda: self.plain.run_epochs(epochs))

    def _both(self, live: Callable[[], None], plain: Callable[[], None]) -> None:
        """Both train, or both stop with the same complaint."""
        error: Exception | None = None
        try:
            plain()
        except (NotFiniteLoss, CannotTrain) as raised:
            error = raised
        if error is None:
            live()
            return
        # What the model raises comes out as it is.
        _expect(live, nbd.NonFiniteError if isinstance(error, NotFiniteLoss) else ValueError)

    # The timeline

    def _rewind(self, share: float) -> None:
        step = round(share * len(self.plain.losses))
        assert self.dbg.rewind(step).equal
        self._went_back(self.plain.at(step))

    def _rewind_by(self, steps: int) -> None:
        there = len(self.plain.losses) - steps
        if there < 0:
            self._unchanged(lambda: self.dbg.rewind(-steps))
            return
        assert self.dbg.rewind(-steps).equal
        self._went_back(self.plain.at(there))

    def _rewind_to(self, name: str) -> None:
        if name not in self.names:
            self._unchanged(lambda: self.dbg.rewind(name))
            return
        assert self.dbg.rewind(name).equal
        self._went_back(self.names[name])

    def _went_back(self, place: int) -> None:
        self.plain = self.plain.back(place)
        self.names = {name: there for name, there in self.names.items() if there <= place}
        for made in self.forks:
            made.reachable = made.reachable and made.place <= place

    def _checkpoint(self, name: str) -> None:
        assert self.dbg.checkpoint(name) == len(self.plain.losses)
        self.names[name] = len(self.plain.past)

    def _replay(self) -> None:
        found = self.dbg.replay()
        assert found.equal, str(found)

    def _reset(self) -> None:
        self.dbg.reset()
        self._went_back(0)
        self.names = {}
        for made in self.forks:
            made.reachable = False

    # Forks

    def _fork(
        self, steps: int, changes: dict[str, Any], start: float | None, discard: bool
    ) -> None:
        there = None if start is None else round(start * len(self.plain.losses))
        place = len(self.plain.past) if there is None else self.plain.at(there)
        if not steps or not self._taken(changes):
            self._unchanged(lambda: self.dbg.fork(steps, start=there, **changes))
            return
        given = dict(changes)
        base, changed = self.plain.back(place), self.plain.back(place)
        if there is not None and not _same_controls(base, self.plain):
            # What is on offer there may not be on offer here.
            changes = {"lr": 0.02}
        if "clip_threshold" in changes and base.values["clip_mode"] == "off":
            changes = {"clip_mode": "norm", **changes}
        changed.set(changes)
        without, wanted = self._losses(base, steps), self._losses(changed, steps)
        if without is None or wanted is None:
            _expect(lambda: self.dbg.fork(steps, start=there, **changes), ValueError)
            return
        asked = {n: v for n, v in changes.items() if n != "clip_mode" or n in given}
        made = self.dbg.fork(steps, start=there, **asked)
        assert np.array_equal(made.base, without, equal_nan=True)
        assert np.array_equal(made.changed, wanted, equal_nan=True)
        if discard:
            made.discard()
        else:
            self.forks.append(_Made(made, place, steps, changes))

    @staticmethod
    def _losses(way: PlainTraining, steps: int) -> list[float] | None:
        """Losses of the steps on a way, NaN from where one was not finite; None: no step."""
        before = len(way.losses)
        try:
            way.run(steps)
        except NotFiniteLoss:
            made = way.losses[before:]
            return made + [float("nan")] * (steps - len(made))
        except CannotTrain:
            return None
        return way.losses[before:]

    def _keep(self, which: int) -> None:
        if which >= len(self.forks):
            return
        made = self.forks[which]
        if not made.reachable:
            self._unchanged(made.fork.keep)
            return
        made.fork.keep()
        self._went_back(made.place)
        self.plain.set(made.changes, self._old(made.changes))
        self._losses(self.plain, made.steps)

    # What leaves everything as it was

    def _look(self, what: str) -> None:
        if what == "note":
            self.dbg.note("Here I was.")
        elif what == "summary":
            assert self.dbg.summary()
        elif what == "sweep":
            # A batch of one sample stops it where there are norms; it is put back all the same.
            with contextlib.suppress(ValueError, nbd.NonFiniteError):
                self.dbg.lr_range_test(1e-4, 1.0, steps=10)
        else:
            assert [result.name for result in self.dbg.check(what)] == [what]

    def _refused(self, values: dict[str, Any]) -> None:
        self._unchanged(lambda: self.dbg.set(**values))

    def _lost(self, what: str) -> None:
        calls: dict[str, Callable[[], Any]] = {
            "ahead": lambda: self.dbg.rewind(len(self.plain.losses) + 1),
            "nameless": lambda: self.dbg.rewind("nowhere"),
            "back": lambda: self.dbg.rewind(-len(self.plain.losses) - 1),
            "steps": lambda: self.dbg.run(steps=-1),
            "fork": lambda: self.dbg.fork(3, lr=-1.0),
        }
        self._unchanged(calls[what])

    def _unchanged(self, call: Callable[[], Any]) -> None:
        """An error of nbdebug's own, and nothing was changed by it."""
        before, changes = copy.deepcopy(dict(self.dbg.controls)), len(self.dbg.changes)
        _expect(call, nbd.NbdebugError)
        assert dict(self.dbg.controls) == before
        assert len(self.dbg.changes) == changes


def _same_controls(one: PlainTraining, other: PlainTraining) -> bool:
    return (
        one.optimizers.kind == other.optimizers.kind
        and one.can_undo_reinit == other.can_undo_reinit
    )


def _expect(call: Callable[[], Any], kind: type[Exception]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"Expected {kind.__name__}.")
