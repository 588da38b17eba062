"""Checks of a loop that cannot repeat a step: its first steps are computed again without it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.examples.catalogue import SICK_SETUPS
from nbdebug.model.module.forward import call, split
from nbdebug.model.state.bits import bitwise_equal
from tests.draw import some
from tests.inside import global_hooks

X = torch.randn(256, 10, generator=torch.Generator().manual_seed(1))
Y = (X[:, :3].sum(1) > 0).long() + (X[:, 3] > 1).long()
Loss = Callable[[Any, torch.Tensor], torch.Tensor]
CANNOT = "This loop cannot repeat a step."


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3)
    )


def train(
    loss: Loss = F.cross_entropy,
    model: nn.Module | None = None,
    watched: bool = True,
    look_at: int | None = 9,
    steps: int = 12,
    change: Callable[[int, torch.Tensor], torch.Tensor] = lambda step, x: x,
) -> tuple[Any, CheckReport | None]:
    """Train in a loop whose data nbdebug does not see; return what came of it, and a report."""
    model = model or network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    dbg = nbd.watch(model, optimizer, runs=None) if watched else None
    torch.manual_seed(5)
    report = None

    def step(number: int) -> None:
        chosen = torch.randint(len(X), (32,))
        value = loss(model(change(number, X[chosen])), Y[chosen])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    for number in range(steps):
        if dbg is None:
            step(number)
            continue
        with dbg.step():
            step(number)
        if number == look_at:
            report = dbg.check()
    if dbg is not None:
        dbg.close()
    return (model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), report


def bad(report: CheckReport | None) -> dict[str, str]:
    assert report is not None
    # About the folder, not about the loop.
    outside = ("git_state", "run_record")
    return {
        one.name: one.seen
        for one in report
        if one.status in ("fail", "warning") and one.name not in outside
    }


def applied(report: CheckReport | None) -> set[str]:
    assert report is not None
    return {one.name for one in report if one.status not in ("not_applicable", "not_run")}


def test_a_healthy_loop_passes_and_is_not_changed() -> None:
    plain, _ = train(watched=False)
    looked_at, report = train()
    assert bitwise_equal(looked_at, plain)
    assert bad(report) == {}
    wanted = {"shapes", "loss_graph", "reduction", "label_range", "zero_gradient", "features"}
    assert wanted <= applied(report)


def test_what_else_a_step_does_is_not_judged() -> None:
    _, report = train()
    assert report is not None
    for name in ("teacher_mode", "index_arithmetic", "mixed_targets", "wrapped_integers"):
        assert report[name].status == "not_applicable"
        assert report[name].seen == CANNOT


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (lambda o, y: F.cross_entropy(torch.softmax(o, 1), y), "loss_inputs"),
        (lambda o, y: F.cross_entropy(o, y, reduction="sum"), "reduction"),
        (lambda o, y: F.cross_entropy(o, torch.zeros_like(y)), "labels"),
        (lambda o, y: -F.cross_entropy(o, y), "loss_direction"),
    ],
)
def test_faults_of_the_loss_are_named(loss: Loss, name: str) -> None:
    _, report = train(loss)
    assert name in bad(report)


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, y: F.cross_entropy(o, y) + o.pow(2).mean(),
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
        lambda o, y: (F.cross_entropy(o, y, reduction="none") * torch.rand(len(y))).mean(),
    ],
)
def test_a_loss_that_is_not_found_is_not_judged(loss: Loss) -> None:
    plain, _ = train(loss, watched=False)
    looked_at, report = train(loss)
    assert bitwise_equal(looked_at, plain)
    assert bad(report) == {}
    assert report is not None
    assert report["reduction"].status == "not_applicable"


def test_losses_in_turn_are_not_judged() -> None:
    number = 0

    def in_turn(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        nonlocal number
        number += 1
        return F.cross_entropy(outputs, targets) if number % 2 else outputs.square().mean()

    _, report = train(in_turn)
    assert report is not None
    assert report["reduction"].status == "not_applicable"


def test_inputs_that_the_loop_overwrote_are_not_used() -> None:
    buffer = torch.zeros(32, 10)
    _, report = train(change=lambda step, x: buffer.copy_(x))
    assert report is not None
    # The last batch is still as it was; it is not among the first ones.
    assert report["reduction"].status == "not_applicable"


class WithLoss(nn.Module):
    """Returns its outputs and its loss, as many language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"logits": logits, "loss": F.cross_entropy(logits, y)}


@pytest.mark.parametrize("divided", [1, 4])
def test_a_model_may_compute_its_loss_itself(divided: int) -> None:
    model = WithLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(6):
            with dbg.step():
                chosen = torch.randint(len(X), (32,))
                loss = model(X[chosen], Y[chosen])["loss"] / divided
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        report = dbg.check()
    assert bad(report) == {}
    assert {"zero_gradient", "loss_graph", "shapes"} <= applied(report)


def test_autocast_is_in_force_again() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(6):
            with dbg.step():
                chosen = torch.randint(len(X), (32,))
                with torch.autocast("cpu", torch.bfloat16):
                    loss = F.cross_entropy(model(X[chosen]), Y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        report = dbg.check()
    assert bad(report) == {}
    assert report["autocast_rounding"].status == "pass"
    assert report["reduction"].status == "pass"


# They raise in the first steps.
RAISES = {
    "a layer of the wrong width", "labels as floats", "labels in a column", "channels last",
    "one sample with NaN or Inf", "double precision", "NaN in the inputs", "images as bytes",
    "labels that begin at 1", "more classes than outputs", "a parameter that was converted",
}  # fmt: skip
# Of some batches in any order, of a loss with more than one term, or of a hinge that is made by
# hand, these are not seen.
UNSEEN = {
    "labels one row on", "sorted by class", "augmentation that nobody seeds",
    "labels drawn at random",
    "a loss without a slope", "a term that drowns another",
    "a tanh scaled down before cross-entropy", "a hinge loss of 0 and 1",
}  # fmt: skip


def is_plain(name: str) -> bool:
    """True for a setup that is a model, a pair of tensors and a loss, and nothing else."""
    setup = SICK_SETUPS[name]
    if name in RAISES | UNSEEN:
        return False
    return not setup.settings and isinstance(setup.data(), tuple)


@pytest.mark.parametrize("name", some([name for name in SICK_SETUPS if is_plain(name)], 4))
def test_it_says_what_it_says_of_the_same_training_without_a_loop(name: str) -> None:
    setup = SICK_SETUPS[name]
    model, data = setup.model(), setup.data()
    own = copy.deepcopy(model)
    with nbd.Debugger(model, data, setup.loss, batch_size=64, runs=None) as dbg:
        dbg.run(steps=4)
        wanted = dbg.check()
        optimizer = torch.optim.Adam(own.parameters(), lr=dbg.controls["lr"])
    with nbd.watch(own, optimizer, runs=None) as watched:
        for _ in range(4):
            with watched.step():
                chosen = torch.randperm(len(data[0]))[:64]
                inputs, targets = split(tuple(part[chosen] for part in data))
                loss = setup.loss(call(own, inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        found = watched.check()
    assert (setup.check in bad(found)) == (setup.check in bad(wanted))


def in_batches(loss: Loss, targets: torch.Tensor = Y, batch_size: int = 32) -> CheckReport:
    """Checks of a loop over a loader, whose schedule has ended."""
    loader = DataLoader(TensorDataset(X, targets), batch_size=batch_size, shuffle=True)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=4)
    with nbd.watch(model, optimizer, runs=None) as dbg:

        def loop() -> None:
            for _ in dbg.epochs(10):
                for x, y in dbg.batches(loader):
                    value = loss(model(x), y)
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()
                    schedule.step()

        dbg.break_when("step >= 6")
        dbg.run(loop)
        assert dbg.wait(60)
        report = dbg.check()
        dbg.clear_breakpoints()
    return report


@pytest.mark.slow
def test_a_loop_over_a_loader_is_judged_by_its_outputs_too() -> None:
    healthy = in_batches(F.cross_entropy)
    assert bad(healthy) == {}
    assert {"reduction", "label_range", "output_activation"} <= applied(healthy)
    summed = in_batches(lambda o, y: F.cross_entropy(o, y, reduction="sum"))
    assert "reduction" in bad(summed)
    # Mixing is seen in the loop itself, and there is none.
    assert healthy["mixed_targets"].seen == "the step does not mix samples."


def test_terms_of_a_loss_are_followed_in_a_loop() -> None:
    targets = torch.stack([X[:, 0], 3000 * X[:, 1], X[:, 2]], 1)
    report = in_batches(
        lambda o, y: F.mse_loss(o[:, 0], y[:, 0]) + F.mse_loss(o[:, 1], y[:, 1]), targets
    )
    assert "loss_terms" in bad(report)


def test_a_few_equal_targets_are_no_fault() -> None:
    report = in_batches(F.cross_entropy, torch.zeros_like(Y), batch_size=4)
    assert report["labels"].status == "not_applicable"
    assert report["labels"].seen == "only 4 targets were seen, and all of them are equal."


class Jittered(Dataset[Any]):
    """Samples with noise from a generator of the dataset's own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> Any:
        return X[index] + float(self.rng.normal()), Y[index]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_checks_of_its_data_leave_a_loader_as_it_was(workers: int) -> None:
    def run(watched: bool) -> tuple[Any, CheckReport | None]:
        torch.manual_seed(3)
        loader = DataLoader(Jittered(), batch_size=16, shuffle=True, num_workers=workers)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        report = None
        dbg = nbd.watch(model, optimizer, runs=None) if watched else None

        def loop() -> None:
            for _ in range(3) if dbg is None else dbg.epochs(3):
                for x, y in loader if dbg is None else dbg.batches(loader):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

        if dbg is None:
            loop()
        else:
            with dbg:
                dbg.break_when("step >= 4")
                dbg.run(loop)
                assert dbg.wait(60)
                report = dbg.check()
                dbg.clear_breakpoints()
                with pytest.raises(nbd.LoopLeft):
                    dbg.run(steps=1000)
        return (model.state_dict(), loader.dataset.rng.bit_generator.state), report  # type: ignore[attr-defined]

    bare, _ = run(watched=False)
    looked_at, report = run(watched=True)
    assert {"shuffling", "data_fingerprint", "reseeding"} <= applied(report)
    assert bitwise_equal(looked_at, bare)


def test_a_model_may_be_copied_and_saved_in_its_first_steps() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    teachers = []
    with nbd.watch(model, optimizer, runs=None) as dbg:
        for _ in range(3):
            with dbg.step():
                loss = F.cross_entropy(model(X[:32]), Y[:32])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                teachers.append(copy.deepcopy(model))
                torch.save(model, io.BytesIO())
                # A copy that is called is not the model.
                teachers[0](X[:32])
        report = dbg.check("reduction", "shapes")
    assert {one.status for one in report} == {"pass"}
    assert global_hooks() == 0


REAL = torch.randn(256, 4, generator=torch.Generator().manual_seed(3)) + 2
Judged = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def judge() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))


def real_and_fake(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    one, zero = torch.ones(len(real), 1), torch.zeros(len(fake), 1)
    both = F.binary_cross_entropy_with_logits
    return both(model(real), one) + both(model(fake), zero)


def as_probabilities(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    one, zero = torch.ones(len(real), 1), torch.zeros(len(fake), 1)
    both = F.binary_cross_entropy_with_logits
    return (both(model(real).sigmoid(), one) + both(model(fake).sigmoid(), zero)) / 2


def summed(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    one, zero = torch.ones(len(real), 1), torch.zeros(len(fake), 1)
    return F.mse_loss(model(real), one, reduction="sum") + F.mse_loss(
        model(fake), zero, reduction="sum"
    )


def upside_down(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return -real_and_fake(model, real, fake)


def two_views(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    targets = real[:, :1].detach()
    views = [F.mse_loss(model(real + 0.1 * torch.randn_like(real)), targets) for _ in range(3)]
    return sum(views[1:], views[0]) / 3


def distance(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.relu(1 - (model(real) - model(fake)).abs()).mean()


def wasserstein(model: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return model(fake).mean() - model(real).mean()  # type: ignore[no-any-return]


def judged(loss: Judged, watched: bool = True) -> tuple[Any, Any]:
    """State and report of a network that judges real and made samples, called for both."""
    model = judge()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    dbg = nbd.watch(model, optimizer, runs=None) if watched else None
    torch.manual_seed(5)
    report = None
    for number in range(12):
        real, fake = REAL[torch.randint(256, (32,))], torch.randn(32, 4)
        if dbg is None:
            _update(loss, model, optimizer, real, fake)
            continue
        with dbg.step():
            _update(loss, model, optimizer, real, fake)
        report = dbg.check() if number == 9 else report
    if dbg is not None:
        dbg.close()
    return (model.state_dict(), optimizer.state_dict(), torch.get_rng_state()), report


def _update(loss: Judged, model: nn.Module, optimizer: Any, *data: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss(model, *data).backward()
    optimizer.step()


@pytest.mark.parametrize("loss", [real_and_fake, two_views])
def test_a_sum_of_several_calls_is_judged_and_not_changed(loss: Judged) -> None:
    plain, _ = judged(loss, watched=False)
    looked_at, report = judged(loss)
    assert bitwise_equal(looked_at, plain)
    assert bad(report) == {}
    assert {"shapes", "reduction", "zero_gradient", "loss_direction"} <= applied(report)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (as_probabilities, "loss_inputs"),
        (summed, "reduction"),
        (upside_down, "loss_direction"),
    ],
)
def test_faults_of_a_sum_of_several_calls_are_named(loss: Judged, name: str) -> None:
    _, report = judged(loss)
    assert name in bad(report)


@pytest.mark.parametrize("loss", [distance, wasserstein])
def test_the_reason_is_given_where_a_loss_of_two_calls_is_not_found(loss: Judged) -> None:
    plain, _ = judged(loss, watched=False)
    looked_at, report = judged(loss)
    assert bitwise_equal(looked_at, plain)
    assert bad(report) == {}
    assert report["reduction"].status == "not_applicable"
    assert "of 2 calls of the model" in report["reduction"].seen


def test_the_reason_is_given_where_the_loss_is_another_one() -> None:
    _, report = train(lambda o, y: F.cross_entropy(o, y) + o.pow(2).mean())
    assert report is not None
    assert "more than one loss of torch" in report["reduction"].seen
