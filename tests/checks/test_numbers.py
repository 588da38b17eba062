"""The numbers that checks show, against a second plain computation."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.checks._samples import limited_by_time
from nbdebug.core.results.checks.check_result import CheckResult, Proposal
from nbdebug.examples.setups.base import CE, X, mlp, regression, y
from tests.problems import CLASSES, FEATURES

NUMBER = r"-?\d+\.?\d*(?:e[+-]?\d+)?"


def result(name: str, model: nn.Module, data: Any = (X, y), loss: Any = CE, **more: Any) -> Any:
    with nbd.Debugger(model, data, loss, **more) as dbg:
        return dbg.check(name)[name]


def numbers(found: CheckResult) -> list[float]:
    return [float(text) for text in re.findall(NUMBER, found.seen.replace(",", ""))]


def all_batches(**more: Any) -> dict[str, Any]:
    """One batch that holds all samples, so that no order plays a part."""
    return {"batch_size": len(X), **more}


def test_gradients_from_last_to_first_layer() -> None:
    model = mlp()
    CE(model(X), y).backward()
    first, last = (model[place].weight.grad.numpy() for place in (0, 4))
    rms = [np.sqrt((gradient.astype(float) ** 2).mean()) for gradient in (first, last)]
    found = result("gradient_ratio", mlp(), **all_batches())
    assert numbers(found)[1] == pytest.approx(rms[0] / rms[1], rel=0.05)


def test_spread_from_first_to_last_layer() -> None:
    model = mlp()
    first = model[0](X).detach()
    second = model[2](first.relu()).detach()
    expected = float(second.std(0).mean() / first.std(0).mean())
    found = result("initial_scale", mlp(), **all_batches())
    assert numbers(found)[1] == pytest.approx(expected, rel=0.05)


def test_weight_decay_as_a_penalty() -> None:
    model, decay = mlp(), 0.01
    squares = sum(float((p.detach().numpy().astype(float) ** 2).sum()) for p in model.parameters())
    data = float(CE(model(X), y).detach())
    settings = all_batches(optimizer="sgd", lr=0.1, weight_decay=decay)
    expected = [data, data + decay / 2 * squares, data + 10 * decay / 2 * squares]
    assert numbers(result("regularisation", mlp(), **settings)) == pytest.approx(expected, rel=1e-3)


def test_the_gradient_of_weight_decay() -> None:
    model, decay = mlp(), 0.01
    CE(model(X), y).backward()
    weights = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    gradients = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])
    expected = decay * np.linalg.norm(weights) / np.linalg.norm(gradients)
    settings = all_batches(optimizer="sgd", lr=0.1, weight_decay=decay)
    found = result("regularisation_gradient", mlp(), **settings)
    assert numbers(found)[0] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("sign", "status"), [(1, "pass"), (-1, "fail")])
def test_a_penalty_of_the_losss_own(sign: int, status: str) -> None:
    model = mlp()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        penalty = sum((p**2).sum() for p in model.parameters())
        return CE(outputs, targets) + sign * 1e-3 * penalty

    found = result("regularisation", model, loss=loss)
    assert found.status == status
    none, now, double = numbers(found)
    assert (double - none) == pytest.approx(4 * (now - none), rel=0.02)


def test_a_bias_that_knows_the_frequencies() -> None:
    rare = (torch.arange(len(y)) % 20 == 0).long()
    share = np.bincount(rare.numpy()) / len(rare)
    entropy = float(-(share * np.log(share)).sum())
    found = result("prior_bias", mlp(out=2), (X, rare), **all_batches())
    assert numbers(found)[:2] == pytest.approx([entropy, np.log(2)], rel=1e-3)
    assert found.status == "warning"


def test_shared_rows_are_counted() -> None:
    held_out = torch.cat([X[:10], X[150:] + 0.5])
    labels = torch.cat([y[:10], y[150:]])
    found = result("overlap", mlp(), (X[:150], y[:150]), val_data=(held_out, labels))
    assert numbers(found)[:2] == [round(100 * 10 / 60, 1), 60]
    assert found.status == "warning"


def test_data_that_repeats_itself_is_no_leak() -> None:
    few = torch.randint(0, 2, (200, 3), generator=torch.Generator().manual_seed(0)).float()
    model = nn.Linear(3, CLASSES)
    found = result("overlap", model, (few[:150], y[:150]), val_data=(few[150:], y[150:]))
    assert found.status == "pass"


def test_rare_samples_that_were_drawn_before_the_split_are_shared() -> None:
    generator = torch.Generator().manual_seed(0)
    # A class of one in ten, drawn until it is one of two: no value of it occurs twice by accident.
    rare = torch.randint(0, 20, (160,), generator=generator)
    inputs = torch.cat([X[20:180], X[rare]])
    labels = torch.cat([torch.zeros(160), torch.ones(160)]).long()
    order = torch.randperm(320, generator=generator)
    train, held_out = order[:220], order[220:]
    found = result(
        "overlap", mlp(out=2), (inputs[train], labels[train]),
        val_data=(inputs[held_out], labels[held_out]),
    )  # fmt: skip
    assert found.status in ("warning", "fail")
    assert "before rare classes are drawn several times" in found.remedy
    # Rounded to a few values, samples are equal by accident.
    coarse = (inputs[:, :2] > 0).float()
    same = result(
        "overlap", nn.Linear(2, 2), (coarse[train], labels[train]),
        val_data=(coarse[held_out], labels[held_out]),
    )  # fmt: skip
    assert same.status == "pass"


def test_the_clip_threshold_against_numpys_percentile() -> None:
    with nbd.Debugger(mlp(), (X, y), CE, clip_mode="norm", clip_threshold=0.01) as dbg:
        early = dbg.check("clip_threshold")["clip_threshold"]
        dbg.run(steps=40)
        norms = dbg.history.frame("grad_norm")["grad_norm"].to_numpy()
        found = dbg.check("clip_threshold")["clip_threshold"]
    assert early.status == "not_applicable"
    assert found.status == "warning"
    assert numbers(found)[0] == 100
    p90 = float(f"{np.percentile(norms, 90):.2g}")
    assert found.proposal == Proposal("clip_threshold", p90)


def test_shuffling_against_a_count_of_classes() -> None:
    order = torch.argsort(y)
    for data, status in (
        (TensorDataset(X, y), "pass"),
        (TensorDataset(X[order], y[order]), "fail"),
    ):
        found = result("shuffling", mlp(), DataLoader(data, batch_size=16))
        assert found.status == status
    assert numbers(found)[0] < 0.5


def test_the_fingerprint_is_that_of_the_bytes() -> None:
    digest = hashlib.sha256()
    for part in (X, y):
        digest.update(f"{part.dtype}{tuple(part[:128].shape)}".encode())
        digest.update(part[:128].numpy().tobytes())
    found = result("data_fingerprint", mlp())
    assert found.seen.startswith(digest.hexdigest()[:12])
    assert result("data_fingerprint", mlp(), (X + 1e-6, y)).seen != found.seen


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_state_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert result("git_state", mlp()).status == "not_applicable"

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        return subprocess.run(
            ["git", *who, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "train.py").write_text("1\n")
    git("add", "train.py")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short", "HEAD")
    assert result("git_state", mlp()).seen == f"commit {commit}, no changes since"
    (tmp_path / "train.py").write_text("2\n")
    assert result("git_state", mlp()).seen == f"commit {commit}, 1 changed file since"


def test_the_record_is_named(tmp_path: Path) -> None:
    with nbd.Debugger(mlp(), (X, y), CE, runs=tmp_path / "mine.db") as dbg:
        found = dbg.check("run_record")["run_record"]
        written = dbg.record.checks
    assert (found.status, found.seen) == ("pass", "recorded in mine.db")
    assert written["name"].tolist() == ["run_record"]
    without = result("run_record", mlp(), runs=None)
    assert without.status == "not_applicable"
    assert "switched off" in without.seen


def test_a_broken_layer_is_named_with_its_shape() -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(8, CLASSES))
    found = result("shapes", model, batch_size=32)
    assert found.status == "fail"
    assert found.seen.startswith("2 (Linear) got (32, 16)")
    assert "1 returned (32, 16)" in found.seen
    assert found.expected.startswith("8 features")


@pytest.mark.parametrize(("size", "value"), [(2, 32), (199, 200)])
def test_another_batch_size_is_proposed_for_batchnorm(size: int, value: int) -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    found = result("batchnorm_batch", model, batch_size=size)
    assert found.proposal == Proposal("batch_size", value)
    assert len(X) % value != 1


def test_a_loss_that_is_not_finite_names_its_batch() -> None:
    broken = X.clone()
    broken[:] = torch.inf
    found = result("one_epoch", mlp(), (broken, y))
    assert found.status == "fail"
    assert "batch 1 " in found.seen


@pytest.mark.parametrize(
    ("inputs", "words"), [(100.0, "standardise the inputs"), (1.0, "initial weights")]
)
def test_a_loss_far_above_chance_says_whether_data_or_weights_are_at_fault(
    inputs: float, words: str
) -> None:
    model = mlp()
    for parameter in model.parameters():
        parameter.data.mul_(1.0 if inputs > 1 else 10.0)
    found = result("initial_loss", model, (inputs * X, y))
    assert found.status == "fail"
    assert words in found.remedy


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_an_untrained_model_is_no_quantile(share: float) -> None:
    """The best constant of an asymmetric loss is far from the outputs of healthy weights."""
    inputs, numbers = regression()

    def pinball(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        error = targets - outputs
        return torch.maximum(share * error, (share - 1) * error).mean()

    targets = (numbers - numbers.mean()) / numbers.std()
    assert result("initial_loss", mlp(out=1), (inputs, targets), pinball).status == "pass"
    wide = mlp(out=1)
    with torch.no_grad():
        wide[-1].weight.mul_(100.0)
    assert result("initial_loss", wide, (inputs, targets), pinball).status != "pass"


@pytest.mark.slow
def test_a_failed_overfit_says_what_one_example_gives() -> None:
    found = result("overfit", mlp(nn.Hardtanh(-0.01, 0.01)))
    assert found.status == "fail"
    assert 0.9 < float(found.seen.split("single example, ")[1].split()[0]) <= 1.0


def test_of_much_data_the_shared_part_is_estimated() -> None:
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(20_000, FEATURES, generator=generator)
    labels = torch.randint(0, CLASSES, (20_000,), generator=generator)
    held_out = torch.cat([many[:500], many[:500] + 9])
    found = result(
        "overlap", mlp(), (many, labels), val_data=(held_out, labels[:1000]), batch_size=256
    )
    assert numbers(found)[0] == pytest.approx(50, abs=20)


def test_data_that_is_slow_to_read_is_not_read_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("nbdebug.checks._samples.time.monotonic", lambda: next(clock))
    assert list(limited_by_time(range(100), 25.0)) == [0, 1, 2]


@pytest.mark.parametrize(("drop_last", "status"), [(True, "pass"), (False, "fail")])
def test_a_last_batch_of_one_counts_only_where_training_takes_it(
    drop_last: bool, status: str
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    data = TensorDataset(X[:193], y[:193])
    loader = DataLoader(data, batch_size=32, shuffle=True, drop_last=drop_last)
    for check in ("one_epoch", "batchnorm_batch"):
        assert result(check, model, loader).status == status
