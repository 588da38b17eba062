"""Damaged and crafted checkpoint files are passed over or refused; the model is not touched."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import nbdebug as nbd
from nbdebug.training.timeline.disk.paths import path_of, previous_of
from nbdebug.training.timeline.disk.reader import read
from tests.draw import draw
from tests.training.timeline.damage import VALUES, outcome, places, replaced, write
from tests.training.timeline.timelines import Counting, N, X, Y, make, net

DRAWS = draw(15, 1500)
P = path_of("c")


def weighted() -> DataLoader[Any]:
    drawn = WeightedRandomSampler(torch.ones(N), N, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(X, Y), batch_size=16, sampler=drawn)


def tensors() -> Any:
    return X, Y


Case = tuple[Callable[[], nn.Module], Callable[[], Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "cosine": (net, tensors, {"schedule": "cosine", "warmup_steps": 5}),
    "one cycle": (net, tensors, {"schedule": "one_cycle", "optimizer": "sgd", "momentum": 0.9}),
    "plateau": (net, tensors, {"schedule": "plateau", "optimizer": "rmsprop"}),
    "counting": (Counting, tensors, {"clip_mode": "adaptive"}),
    "own sampler": (net, weighted, {"batch_size": None, "schedule": "inverse_time"}),
}


def trained(case: str, reinit: bool = True) -> None:
    """Train with changes at the last boundary that can be undone, and write to disk."""
    model, data, options = CASES[case]
    with make(model=model(), data=data(), name="c", runs=None, val_data=None, **options) as dbg:
        dbg.run(steps=9)
        dbg.set(clip_mode="norm", dropout=0.5)
        dbg.run(steps=4)
        if reinit:
            dbg.set(reinit="he")
        dbg.set(lr=2e-3, relabelled={3: 1}, excluded_samples=[5])


def attempt(case: str) -> str:
    model, data, _ = CASES[case]
    return outcome(
        model(),
        lambda one: nbd.Debugger.resume("c", one, data(), nn.CrossEntropyLoss(), runs=None),
    )


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def keep_only(content: bytes) -> None:
    P.write_bytes(content)
    previous_of(P).unlink(missing_ok=True)


def damaged(raw: bytes, draw: random.Random, kind: str) -> bytes:
    one = bytearray(raw)
    if kind == "bit":
        one[draw.randrange(len(one))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del one[draw.randrange(len(one)) :]
    elif kind == "block":
        start = draw.randrange(len(one) - 512)
        one[start : start + 512] = bytes(512)
    elif kind == "appended":
        one += draw.randbytes(draw.randrange(1, 200))
    elif kind == "dropped":
        start = draw.randrange(len(one) - 64)
        del one[start : start + draw.randrange(1, 64)]
    else:
        one = bytearray(draw.randbytes(draw.randrange(3000)))
    return bytes(one)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["bit", "cut", "block", "appended", "dropped", "garbage"])
def test_damage_anywhere_is_found(kind: str) -> None:
    trained("cosine")
    raw, draw = P.read_bytes(), random.Random(kind)
    for _ in range(DRAWS):
        content = damaged(raw, draw, kind)
        if content == raw:
            continue
        keep_only(content)
        with pytest.raises(nbd.CheckpointError, match="cannot be read"):
            read("c")
    assert attempt("cosine") == "refused"


def test_every_bit_of_the_checksum_itself_counts() -> None:
    trained("cosine")
    raw = P.read_bytes()
    for back in range(1, 110):
        keep_only(raw[:-back] + bytes([raw[-back] ^ 1]) + raw[len(raw) - back + 1 :])
        with pytest.raises(nbd.CheckpointError):
            read("c")


def two_files() -> tuple[bytes, bytes]:
    """The file before, of step 13, and the last one, of step 16."""
    trained("cosine")
    with nbd.Debugger.resume("c", net(), (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        dbg.run(steps=3)
    return previous_of(P).read_bytes(), P.read_bytes()


@pytest.mark.parametrize("content", [b"", b"x", None], ids=["empty", "garbage", "flipped"])
def test_the_file_before_a_damaged_one_is_used_named_and_kept(content: bytes | None) -> None:
    before, last = two_files()
    P.write_bytes(last[:700] + b"?" + last[701:] if content is None else content)
    with nbd.Debugger.resume("c", net(), (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        assert dbg.history.status.step == 13
        (notice,) = [n for n in dbg.history.notices if n.title == "An older checkpoint"]
        assert str(P) in notice.text
        assert str(previous_of(P)) in notice.text
        dbg.run(steps=1)
    # A damaged file does not take the place of the good one.
    assert previous_of(P).read_bytes() == before
    assert read("c")[0]["counters"]["step"] == 14


def test_two_damaged_files_are_an_error_that_names_both() -> None:
    before, last = two_files()
    P.write_bytes(last[:-1])
    previous_of(P).write_bytes(before[1:])
    with pytest.raises(nbd.CheckpointError) as caught:
        read("c")
    assert str(P) in str(caught.value)
    assert str(previous_of(P)) in str(caught.value)
    assert attempt("cosine") == "refused"


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES)
def test_crafted_values_are_refused_or_harmless(case: str) -> None:
    trained(case)
    good = read("c")[0]
    assert attempt(case) == "trained"
    every, draw = list(places(good)), random.Random(case)
    wrong = []
    for _ in range(DRAWS):
        path, new = draw.choice(every), draw.choice([*VALUES, KeyError])
        if new is KeyError and isinstance(path[-1], int):
            continue
        previous_of(P).unlink(missing_ok=True)
        write(P, replaced(good, path, new))
        found = attempt(case)
        # An epsilon of 0 is a number like others, and may lead to NaN.
        if found not in ("refused", "trained") and "NonFinite" not in found:
            wrong.append((path, str(new)[:40], found))
    assert wrong == []


WRONG: dict[str, tuple[tuple[Any, ...], Any]] = {
    "a step that is negative": (("counters", "step"), -1),
    "an epoch of NaN": (("counters", "epoch"), float("nan")),
    "weights of another shape": (("weights", "parameters", "0.weight"), torch.zeros(2)),
    "weights of another dtype": (("weights", "parameters", "0.bias"), torch.zeros(16).double()),
    "a weight that is missing": (("weights", "parameters", "0.bias"), KeyError),
    "a buffer of another shape": (("weights", "buffers", "1", "running_var"), torch.zeros(2)),
    "a buffer that is missing": (("weights", "buffers", "1", "running_var"), KeyError),
    "a mode that is a text": (("weights", "training", "1"), "yes"),
    "a method replaced": (("weights", "values", "0", "forward"), 5),
    "a probability of 2": (("weights", "values", "3", "p"), 2.0),
    "another class of a layer": (("classes", "0"), "Bilinear"),
    "moments that are a text": (("optimizers", 0, 1, "state", "0.weight", "exp_avg"), "x"),
    "moments of another shape": (
        ("optimizers", 0, 1, "state", "0.weight", "exp_avg"), torch.zeros(2),
    ),
    "moments larger than memory": (
        ("optimizers", 0, 1, "state", "0.weight", "exp_avg"), torch.zeros(1).expand(16, 10**12),
    ),
    "half of the moments": (("optimizers", 0, 1, "state", "0.weight", "exp_avg_sq"), KeyError),
    "betas out of range": (("optimizers", 0, 1, "groups", 0, "betas"), (1.5, 0.9)),
    "a learning rate of NaN": (("optimizers", 0, 1, "groups", 0, "lr"), float("nan")),
    "a group without parameters": (("optimizers", 0, 1, "groups", 0, "params"), []),
    "another optimizer": (("optimizers", 0, 0), "lion"),
    "a replaced step": (("optimizers", 0, 1, "attributes", "step"), 5),
    "a schedule of another kind": (("schedule", 0, "plan", "kind"), "steep"),
    "a schedule without its state": (("schedule", 0, "schedulers"), []),
    "a schedule with a base of NaN": (
        ("schedule", 0, "schedulers", 0, "base_lrs"), [float("nan")],
    ),
    "random numbers of zeros": (("rng", "parts", 0), torch.zeros(10, dtype=torch.uint8)),
    "a place beyond the data": (("position", "parts", 1), 10**6),
    "a place before the data": (("position", "parts", 1), -5),
    "other data": (("length",), 97),
    "a control that is a tensor": (("controls", "lr"), torch.zeros(2)),
    "a control out of range": (("controls", "dropout"), 7.0),
    "a control that is unknown": (("controls", "no such control"), 1),
    "a seed of text": (("seed",), "x"),
    "norms of NaN": (("window",), [float("nan")]),
    "a foreign format": (("format",), 99),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_file_with_a_wrong_value_is_refused(what: str) -> None:
    trained("cosine", reinit=False)
    path, new = WRONG[what]
    write(P, replaced(read("c")[0], path, new))
    previous_of(P).unlink(missing_ok=True)
    assert attempt("cosine") == "refused"


def test_a_refused_resume_leaves_everything_as_it_was() -> None:
    """The optimizer of the user, its schedule and the generator of the sampler included."""
    drawn = torch.Generator().manual_seed(1)

    def loader() -> DataLoader[Any]:
        order = WeightedRandomSampler(torch.ones(N), N, generator=drawn)
        return DataLoader(TensorDataset(X, Y), batch_size=16, sampler=order)

    def parts() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(3)
        model = net()
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    loss = nn.CrossEntropyLoss()
    model, optimizer = parts()
    with nbd.Debugger(model, loader(), loss, optimizer=optimizer, name="c", runs=None) as dbg:
        dbg.run(steps=9)
        dbg.set(schedule="cosine", momentum=0.5, activation="tanh")
        dbg.run(steps=2)
    good = read("c")[0]
    # The last that is restored.
    scheduler = ("schedule", 0, "schedulers", 0, "last_epoch")
    for path, new in ((scheduler, "x"), (("controls", "clip_mode"), "no such mode")):
        write(P, replaced(good, path, new))
        previous_of(P).unlink(missing_ok=True)
        drawn.manual_seed(1)
        model, optimizer = parts()
        weights = {n: t.clone() for n, t in model.state_dict().items()}
        kinds = [type(module) for module in model.modules()]
        before = copy.deepcopy(optimizer.state_dict()), drawn.get_state(), torch.get_rng_state()
        with pytest.raises(nbd.CheckpointError):
            nbd.Debugger.resume("c", model, loader(), loss, optimizer=optimizer, runs=None)
        assert optimizer.state_dict() == before[0]
        assert torch.equal(drawn.get_state(), before[1])
        assert torch.equal(torch.get_rng_state(), before[2])
        assert all(torch.equal(weights[n], t) for n, t in model.state_dict().items())
        assert [type(module) for module in model.modules()] == kinds


OTHERS: dict[str, Callable[[nn.Sequential], Any]] = {
    "an activation": lambda model: model.__setitem__(2, nn.SiLU()),
    "a norm": lambda model: model.__setitem__(1, nn.BatchNorm1d(16, eps=0.1)),
    "a layer fewer": lambda model: model.__delitem__(6),
    "a width": lambda model: model.__setitem__(0, nn.Linear(6, 17)),
    "a bias fewer": lambda model: model.__setitem__(0, nn.Linear(6, 16, bias=False)),
    "a dtype": lambda model: model.double(),
    "a dropout that is none": lambda model: model.__setitem__(3, nn.Identity()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_model_that_differs_is_refused(what: str) -> None:
    trained("cosine")
    model = net()
    OTHERS[what](model)
    data = tuple(t.double() if t.is_floating_point() and what == "a dtype" else t for t in (X, Y))
    found = outcome(
        model, lambda one: nbd.Debugger.resume("c", one, data, nn.CrossEntropyLoss(), runs=None)
    )
    assert found == "refused"
