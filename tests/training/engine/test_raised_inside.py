"""Whatever the user's code raises, `run` raises it and training can go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

import nbdebug as nbd
from nbdebug.core.commands.examining import SummarizeModel
from nbdebug.core.commands.running import Close, Run, SetControl
from nbdebug.core.error_text import kind_of
from nbdebug.errors import ClosedError
from tests.hanging import HANG, in_time
from tests.hidden import Hidden
from tests.inside import break_the_thread, put_together, thread_of
from tests.problems import CLASSES, FEATURES, blobs, tiny_mlp

loss_fn = nn.CrossEntropyLoss()


class Own(BaseException):
    """An exception that is no Exception."""


class SilentError(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class Nameless(type):
    """A metaclass that does not say what its classes are called."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ValueError("no name")


class NamelessError(Exception, metaclass=Nameless):
    """An exception whose class has no name to read."""


def circular() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


ERRORS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit("no data left"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration("end"),
    "StopAsyncIteration": StopAsyncIteration,
    "a BaseException": Own,
    "no text": SilentError,
    "no name": NamelessError,
    "a long text": lambda: ValueError("x" * 5_000_000),
    "a circle of causes": circular,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "a group": lambda: BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError("one")]),
}


class Trap:
    """Raises an exception at its fourth call, until it is mended."""

    calls, mended, raised = Hidden(), Hidden(), Hidden()

    def __init__(self, make: Callable[[], BaseException]) -> None:
        self.make, self.calls, self.mended = make, 0, False
        self.raised = ()

    def has_raised(self, error: BaseException) -> bool:
        return any(error is one for one in self.raised)

    def __call__(self) -> None:
        self.calls += 1
        if self.calls > 3 and not self.mended:
            error = self.make()
            # Undoing the step calls it again.
            self.raised = (*self.raised, error)
            raise error


def in_loss(trap: Trap) -> nbd.Debugger:
    def loss(outputs: Any, targets: Any) -> Any:
        trap()
        return loss_fn(outputs, targets)

    return nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32)


def in_step_fn(trap: Trap) -> nbd.Debugger:
    def step_fn(model: nn.Module, batch: Any) -> Any:
        trap()
        return loss_fn(model(batch[0]), batch[1])

    return nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn, batch_size=32)


class Trapped(nn.Module):
    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self.net, self.trap = tiny_mlp(), trap

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        self.trap()
        outputs: torch.Tensor = self.net(X)
        return outputs


def in_forward(trap: Trap) -> nbd.Debugger:
    return nbd.Debugger(Trapped(trap), blobs(), loss_fn, batch_size=32)


def in_a_hook(trap: Trap) -> nbd.Debugger:
    model = tiny_mlp()
    model.register_forward_hook(lambda *_: trap())
    return nbd.Debugger(model, blobs(), loss_fn, batch_size=32)


def in_a_gradient_hook(trap: Trap) -> nbd.Debugger:
    model = tiny_mlp()
    next(model.parameters()).register_hook(lambda _: trap())
    return nbd.Debugger(model, blobs(), loss_fn, batch_size=32)


def in_backward(trap: Trap) -> nbd.Debugger:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            trap()
            return grad * 2

    def loss(outputs: Any, targets: Any) -> Any:
        return loss_fn(Doubled.apply(outputs), targets)

    return nbd.Debugger(tiny_mlp(), blobs(), loss, batch_size=32)


def in_the_optimizer(trap: Trap) -> nbd.Debugger:
    class Trapped(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            trap()
            return super().step(closure)

    model = tiny_mlp()
    return nbd.Debugger(
        model, blobs(), loss_fn, optimizer=Trapped(model.parameters(), 0.1), batch_size=32
    )


def in_a_metric(trap: Trap) -> nbd.Debugger:
    def metric(outputs: Any, targets: Any) -> float:
        trap()
        return 1.0

    return nbd.Debugger(
        tiny_mlp(), blobs(), loss_fn, val_data=blobs(), val_every=1, metrics={"m": metric},
        batch_size=32,
    )  # fmt: skip


class Samples(Dataset[Any]):
    def __init__(self, trap: Trap) -> None:
        self.trap = trap
        self.X, self.y = blobs()

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Any:
        if index % 32 == 0:
            self.trap()
        return self.X[index], self.y[index]


def in_the_dataset(trap: Trap) -> nbd.Debugger:
    loader = DataLoader(Samples(trap), batch_size=32, shuffle=False)
    return nbd.Debugger(tiny_mlp(), loader, loss_fn)


def in_collate(trap: Trap) -> nbd.Debugger:
    def collate(samples: Any) -> Any:
        trap()
        return torch.utils.data.default_collate(samples)

    data = torch.utils.data.TensorDataset(*blobs())
    return nbd.Debugger(tiny_mlp(), DataLoader(data, batch_size=32, collate_fn=collate), loss_fn)


def in_the_sampler(trap: Trap) -> nbd.Debugger:
    class Order(Sampler[int]):
        def __iter__(self) -> Iterator[int]:
            trap()
            return iter(range(32))

        def __len__(self) -> int:
            return 32

    data = torch.utils.data.TensorDataset(*blobs())
    return nbd.Debugger(tiny_mlp(), DataLoader(data, batch_size=32, sampler=Order()), loss_fn)


def in_a_stream(trap: Trap) -> nbd.Debugger:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            if torch.randint(32, ()) == 0:
                trap()
            return torch.randn(FEATURES), torch.randint(CLASSES, ())

    return nbd.Debugger(tiny_mlp(), Stream(), loss_fn, batch_size=32)


def in_the_schedule(trap: Trap) -> nbd.Debugger:
    def factor(step: int) -> float:
        if threading.current_thread().name == "nbdebug-training" and step == trapped.get("at"):
            trap()
        return 1.0

    trapped: dict[str, int] = {}
    dbg = nbd.Debugger(
        tiny_mlp(), blobs(), loss_fn, batch_size=32,
        schedule=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, factor),
    )  # fmt: skip
    trap.calls, trapped["at"] = 3, 5
    return dbg


def in_a_breakpoint(trap: Trap) -> nbd.Debugger:
    dbg = nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32)

    def condition(values: Any) -> bool:
        trap()
        return False

    dbg.break_when(condition)
    return dbg


def in_validation(trap: Trap) -> nbd.Debugger:
    def loss(outputs: Any, targets: Any) -> Any:
        if not torch.is_grad_enabled():
            trap()
        return loss_fn(outputs, targets)

    return nbd.Debugger(tiny_mlp(), blobs(), loss, val_data=blobs(), val_every=1, batch_size=32)


MAKERS = (
    in_loss, in_step_fn, in_forward, in_a_hook, in_a_gradient_hook, in_backward, in_the_optimizer,
    in_a_metric, in_the_dataset, in_collate, in_the_sampler, in_a_stream, in_the_schedule,
    in_validation,
)  # fmt: skip
PLACES = {make.__name__.replace("_", " "): make for make in MAKERS}
# Each error in a loss, and each place with a SystemExit; StopIteration is what data ends with.
CASES = [("in loss", error) for error in ERRORS]
CASES += [(place, "SystemExit") for place in PLACES if place != "in loss"]
CASES += [(place, "a BaseException") for place in PLACES if place != "in loss"]
CASES += [(place, "GeneratorExit") for place in ("in the dataset", "in validation", "in backward")]


def outcome(dbg: nbd.Debugger, steps: int) -> BaseException | None:
    """What `run` raises."""
    return in_time(lambda: dbg.run(steps=steps))


@pytest.mark.parametrize(("place", "error"), CASES)
def test_run_raises_it_and_training_can_go_on(place: str, error: str) -> None:
    trap = Trap(ERRORS[error])
    with PLACES[place](trap) as dbg:
        raised = outcome(dbg, 40)
        assert raised is not None
        assert trap.has_raised(raised)
        assert thread_of(dbg).is_alive()
        assert dbg.state == "paused"
        failure = dbg.failure
        assert failure is not None
        assert kind_of(raised) in failure.title
        assert len(failure.text) < 3_000
        assert len(failure.traceback) < 25_000
        trap.mended = True
        before = dbg.history.status.step
        assert outcome(dbg, 3) is None
        assert dbg.history.status.step == before + 3
        assert dbg.failure is None
    assert dbg.state == "closed"


@pytest.mark.parametrize("error", ["SystemExit", "no text", "a BaseException"])
def test_a_breakpoint_that_raises_hangs_nobody(error: str) -> None:
    trap = Trap(ERRORS[error])
    with in_a_breakpoint(trap) as dbg:
        raised = outcome(dbg, 6)
        assert raised is None or trap.has_raised(raised)
        told = [notice.title for notice in dbg.history.notices]
        assert raised is not None or any("breakpoint" in title for title in told)
        assert thread_of(dbg).is_alive()


@pytest.mark.parametrize("verb", ["check", "fork", "lr_range_test", "rewind", "worst_samples"])
@pytest.mark.parametrize("error", ["SystemExit", "no text"])
def test_a_verb_whose_code_raises_leaves_training_as_it_was(verb: str, error: str) -> None:
    trap = Trap(ERRORS[error])
    trap.mended = True
    with in_loss(trap) as dbg:
        dbg.run(steps=5)
        weights = [p.detach().clone() for p in dbg.model.parameters()]
        trap.mended = False
        arguments: dict[str, tuple[Any, ...]] = {"fork": (3,), "rewind": (2,)}
        raised = in_time(lambda: getattr(dbg, verb)(*arguments.get(verb, ())))
        assert raised is None or trap.has_raised(raised)
        assert dbg.state == "paused"
        assert all(map(torch.equal, dbg.model.parameters(), weights))
        trap.mended = True
        dbg.run(steps=2)


@pytest.mark.parametrize("error", ["ValueError", "SystemExit", "KeyboardInterrupt", "Own"])
def test_a_step_that_would_fail_again_does_not_keep_from_going_back(error: str) -> None:
    model, calls = tiny_mlp(), [0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def hook(*_: Any) -> None:
        calls[0] += 1
        if calls[0] == 9:
            raise {"ValueError": ValueError, "Own": Own}.get(error) or ERRORS[error]()

    optimizer.register_step_post_hook(hook)
    with nbd.Debugger(model, blobs(), loss_fn, optimizer=optimizer, batch_size=32) as dbg:
        assert outcome(dbg, 20) is not None
        assert dbg.history.status.step == 8
        dbg.rewind(2)
        assert calls[0] == 2
        dbg.run(steps=4)
        assert dbg.history.status.step == 6


def test_a_command_that_fails_does_not_drop_those_behind_it() -> None:
    model = Trapped(trap := Trap(SystemExit))
    with nbd.Debugger(model, blobs(), loss_fn, batch_size=32) as dbg:
        trap.calls = 3
        commands = SummarizeModel(), SetControl("lr", 0.5), Close(), Run(3)
        failed, changed, closed, late = put_together(dbg, *commands)
        assert isinstance(failed.answer.exception(HANG), SystemExit)
        assert changed.answer.exception(HANG) is None
        assert dbg.controls["lr"] == 0.5
        assert closed.answer.exception(HANG) is None
        assert isinstance(late.answer.exception(HANG), ClosedError)
        thread_of(dbg).join(HANG)
        assert not thread_of(dbg).is_alive()
        assert dbg.state == "closed"


def test_a_fault_of_the_thread_itself_is_told_to_everybody_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dbg = nbd.Debugger(tiny_mlp(), blobs(), loss_fn, batch_size=32)
    break_the_thread(dbg, MemoryError("no memory for a status"), monkeypatch)
    raised = outcome(dbg, 3)
    assert isinstance(raised, MemoryError)
    assert dbg.state == "closed"
    assert dbg.failure is not None
    assert "The training thread has ended" in dbg.failure.text
    assert isinstance(outcome(dbg, 3), ClosedError)
    assert dbg.wait(HANG)
    dbg.close()
