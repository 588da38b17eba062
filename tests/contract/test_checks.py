"""What holds for every check there is: it moves nothing, and its row says what it must."""

from __future__ import annotations

import hashlib
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import nbdebug as nbd
from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.plugins import discover, instances
from nbdebug.core.results.checks.check_result import CHECKLIST_STEPS, Outcome
from nbdebug.training.engine.progress import TaskProgress
from tests.inside import order_of, session_of
from tests.problems import PlainLoop, blobs, images, same_weights, tiny_cnn, tiny_mlp

CHECKS = discover("nbdebug.checks", Check)
PROBLEMS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "mlp": (tiny_mlp, blobs),
    "cnn": (tiny_cnn, images),
}
STEPS_BEFORE, STEPS_AFTER = 5, 5


def digest(dbg: nbd.Debugger) -> dict[str, str]:
    """A hash of everything that a check could move, by name; not the code under test."""
    session, model = session_of(dbg), dbg.model
    indices = session.sampler.indices  # type: ignore[attr-defined]
    hooks = [
        [sorted(getattr(module, kind)) for kind in vars(module) if kind.endswith("_hooks")]
        for module in model.modules()
    ]
    parts = {
        "weights": [(n, p.detach().numpy().tobytes()) for n, p in model.named_parameters()],
        "buffers": [(n, b.numpy().tobytes()) for n, b in model.named_buffers()],
        "gradients": [
            None if p.grad is None else (id(p.grad), p.grad.numpy().tobytes())
            for p in model.parameters()
        ],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "hooks": hooks,
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "optimizer": _plain(session.optimizer.state_dict()),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": _plain(np.random.get_state()),
        "python": random.getstate(),
        "session rng": session.rng.position().cpu.numpy().tobytes(),
        "sampler": order_of(indices),
    }
    return {n: hashlib.sha256(pickle.dumps(part)).hexdigest() for n, part in parts.items()}


def _plain(value: Any) -> Any:
    """Nested containers without tensors, in which equal values pickle alike."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return np.asarray(value).tobytes()
    if isinstance(value, dict):
        return [(repr(key), _plain(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return repr(value)


@pytest.fixture(params=CHECKS, ids=lambda check: check.name)
def check(request: pytest.FixtureRequest) -> type[Check]:
    kind: type[Check] = request.param
    return kind


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_check_moves_nothing(check: type[Check], problem: str) -> None:
    make, data = PROBLEMS[problem]
    with nbd.Debugger(make(), data(), nn.CrossEntropyLoss(), batch_size=32) as dbg:
        dbg.run(steps=STEPS_BEFORE)
        before = digest(dbg)
        result = dbg.check(check.name)[check.name]
        assert digest(dbg) == before
        assert result.status in ("pass", "not_applicable", "warning")
        dbg.run(steps=STEPS_AFTER)
        weights = dbg.model
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    plain = PlainLoop(model, data(), optimizer).run(STEPS_BEFORE + STEPS_AFTER)
    assert same_weights(weights, plain.model)


@pytest.mark.parametrize("end", ["raises", "stopped"])
def test_also_when_it_breaks_off(
    check: type[Check], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]

    def broken(inputs: Any, targets: Any) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > STEPS_BEFORE and end == "raises" and calls[0] % 3 == 0:
            raise RuntimeError("no luck")
        return nn.functional.cross_entropy(inputs, targets)

    if end == "stopped":
        monkeypatch.setattr(
            "nbdebug.training.tasks.examining.RunChecksHandler.handle",
            lambda self, command, progress: self.training.checks.run(
                command.checks, TaskProgress("run_checks", self.training.history, lambda: True)
            ),
        )
    with nbd.Debugger(tiny_mlp(), blobs(), broken) as dbg:
        dbg.run(steps=STEPS_BEFORE)
        before = digest(dbg)
        result = dbg.check(check.name)[check.name]
        assert digest(dbg) == before
        if end == "stopped":
            assert (result.status, result.seen) == ("not_applicable", "Stopped on request.")


def test_its_words_are_there(check: type[Check]) -> None:
    assert check.step in CHECKLIST_STEPS
    assert check.title
    assert check.source
    assert len((check.__doc__ or "").splitlines()) > 2
    names = {other.name for other in CHECKS} | {"*"}
    assert set(check.explains) <= names - {check.name}


def test_no_check_explains_itself_by_way_of_others() -> None:
    explains = {check.name: check.explains for check in CHECKS}
    for name in explains:
        reached, found = {name}, set(explains[name])
        while found - reached:
            reached |= found
            found = {other for each in found - {"*"} for other in explains[each]}
        assert name not in found


class Rude(Check):
    """Moves everything it can reach, and then raises."""

    name = "rude"
    step = 3
    title = "Rude"
    source = "none"

    def examine(self, context: CheckContext) -> Outcome:
        context.gradients()
        context.subject.optimizer.step()
        context.model.train(not context.model.training)
        for module in context.model.modules():
            module.register_forward_hook(lambda *_: None)
            module.left_over = 1  # type: ignore[assignment]
        for parameter in context.model.parameters():
            parameter.requires_grad_(False)
        for group in context.subject.optimizer.param_groups:
            group["lr"] = 7.0
        torch.rand(3), np.random.rand(), random.random()
        raise RuntimeError("and out")


def test_what_a_rude_check_moves_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_rude(package: str, base: type, on_error: Any) -> tuple[Any, ...]:
        found: Any = instances(package, base, on_error)
        return (*found, Rude()) if package == "nbdebug.checks" else found

    monkeypatch.setattr("nbdebug.debugger.assembly.instances", with_rude)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg:
        dbg.run(steps=STEPS_BEFORE)
        before = digest(dbg)
        result = dbg.check("rude")["rude"]
        assert digest(dbg) == before
        assert result.status == "not_applicable"
        assert "RuntimeError: and out" in result.seen
        dbg.run(steps=STEPS_AFTER)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*blobs(), strict=True))


def test_a_stream_loses_no_sample() -> None:
    losses = []
    for checked in (False, True):
        loader = DataLoader(Stream(), batch_size=32)
        with nbd.Debugger(tiny_mlp(), loader, nn.CrossEntropyLoss()) as dbg:
            dbg.run(steps=2)
            if checked:
                assert len(dbg.check()) == len([c for c in CHECKS if not c.expensive])
            dbg.run(steps=6)
            losses.append(dbg.history.frame("loss")["loss"].tolist())
    assert losses[0] == losses[1]


def test_a_step_fn_and_a_model_that_raises_are_rows_of_the_report() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    with nbd.Debugger(tiny_mlp(), blobs(), step_fn=step_fn) as dbg:
        assert {r.status for r in dbg.check()} <= {"pass", "not_applicable"}
    with nbd.Debugger(nn.Linear(5, 2), blobs(), nn.CrossEntropyLoss()) as dbg:
        report = dbg.check()
    assert report["zero_gradient"].status == "fail"
    assert "RuntimeError" in report["zero_gradient"].seen


def test_a_wrong_name_lists_the_right_ones() -> None:
    with (
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss()) as dbg,
        pytest.raises(nbd.CheckNameError, match="initial_loss"),
    ):
        dbg.check("initial_lose")


def test_the_report_shows_in_text_html_and_pandas() -> None:
    with (
        warnings.catch_warnings(action="ignore"),
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(reduction="sum")) as dbg,
    ):
        report = dbg.check()
    assert "to do:" in str(report)
    assert "<table" in report._repr_html_()
    frame = report.frame()
    assert list(frame["name"]) == [result.name for result in report]
    assert (frame["seconds"] >= 0).all()
