"""Validation classes that are numbered otherwise than those of training, and models that err."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

import nbdebug as nbd
from nbdebug.core.results.checks.check_result import CheckResult
from tests.checks.result_of import result_of

FEATURES = 12
CE, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()
Pair = tuple[Any, torch.Tensor]
Case = tuple[nn.Module, Pair, Pair, Any]
WRONG, RIGHT = ("warning", "fail"), ("pass", "not_applicable")


def clouds(classes: int, apart: float = 2.0, count: int = 900, held_out: int = 300) -> list[Pair]:
    """Training and validation samples of clouds around random centres."""
    draws = torch.Generator().manual_seed(classes)
    centres = apart * torch.randn(classes, FEATURES, generator=draws)
    y = torch.randint(classes, (count,), generator=draws)
    x = centres[y] + torch.randn(count, FEATURES, generator=draws)
    return [(x[held_out:], y[held_out:]), (x[:held_out], y[:held_out])]


def mlp(out: int, *end: nn.Module, width: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, out), *end)


def fitted(model: nn.Module, data: Pair, loss: Any, steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(data[0]), data[1]).backward()
        optimizer.step()
    return model


def numbered(
    of: Sequence[int] | Callable[[torch.Tensor], torch.Tensor], classes: int = 6, *,
    keep: Sequence[int] | None = None, apart: float = 2.0, out: int | None = None,
) -> Case:  # fmt: skip
    """A trained network, and validation classes that `of` numbers; only those of `keep`."""
    train, (x, y) = clouds(classes, apart)
    if keep is not None:
        kept = torch.isin(y, torch.tensor(keep))
        x, y = x[kept], y[kept]
    other = of(y) if callable(of) else torch.tensor(of)[y]
    return fitted(mlp(out or classes), train, CE), train, (x, other), CE


def own_index(y: torch.Tensor) -> torch.Tensor:
    """Classes numbered among those that are there, as sorted(set(y)) does."""
    _, place = torch.unique(y, return_inverse=True)
    return torch.as_tensor(place)


def first_seen(y: torch.Tensor) -> torch.Tensor:
    order = list(dict.fromkeys(y.tolist()))
    return torch.tensor([order.index(one) for one in y.tolist()])


def two(
    change: Callable[[torch.Tensor], torch.Tensor], loss: Any, *end: nn.Module
) -> Case:  # fmt: skip
    """Two classes with one output, in the form that `change` gives to labels 0 and 1."""
    (x, y), (held_out, labels) = clouds(2)
    train = (x, change(y))
    return fitted(mlp(1, *end), train, loss), train, (held_out, change(1 - labels)), loss


def column(y: torch.Tensor) -> torch.Tensor:
    return y.float()[:, None]


def signs(y: torch.Tensor) -> torch.Tensor:
    return 2 * column(y) - 1


def one_hot() -> Case:
    train, (x, y) = clouds(5)
    codes = train[0], F.one_hot(train[1], 5).float()
    return fitted(mlp(5), codes, CE), codes, (x, F.one_hot((y + 2) % 5, 5).float()), CE


def sentences() -> Case:
    draws = torch.Generator().manual_seed(0)
    y = torch.randint(5, (700,), generator=draws)
    words = torch.randint(10, 30, (700, 9), generator=draws)
    words[:, 2] = words[:, 5] = y
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(30, 16), nn.Linear(16, 5))
    train = words[:500], y[:500]
    return (
        fitted(model, train, CE, 300),
        train,
        (words[500:], torch.tensor([1, 2, 0, 4, 3])[y[500:]]),
        CE,
    )


def pictures(change: Callable[[torch.Tensor], torch.Tensor], classes: int = 3) -> Case:
    """Pixels whose brightness tells their class."""
    draws = torch.Generator().manual_seed(0)
    y = torch.randint(classes, (120, 6, 6), generator=draws)
    x = 2.0 * y[:, None] + 0.3 * torch.randn(120, 1, 6, 6, generator=draws)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, classes, 1))
    train = x[:80], y[:80]
    return fitted(model, train, CE, 300), train, (x[80:], change(y[80:])), CE


def masks(change: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    draws = torch.Generator().manual_seed(0)
    y = torch.randint(2, (120, 1, 6, 6), generator=draws).float()
    x = y + 0.2 * torch.randn(120, 1, 6, 6, generator=draws)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    train = x[:80], y[:80]
    return fitted(model, train, BCE, 200), train, (x[80:], change(y[80:])), BCE


def learnt_by_heart(of: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    """Clouds that overlap, and a network that knows each training sample."""
    train, (x, y) = clouds(6, 0.7)
    return fitted(mlp(6, width=256), train, CE, 300), train, (x, of(y)), CE


def in_a_loader() -> Case:
    model, train, held_out, loss = numbered([3, 0, 1, 2], 4)
    return model, train, DataLoader(TensorDataset(*held_out), 50), loss  # type: ignore[return-value]


def likelihood() -> Case:
    train, (x, y) = clouds(4)
    model = fitted(mlp(4, nn.LogSoftmax(1)), train, nn.NLLLoss())
    return model, train, (x, (y + 1) % 4), nn.NLLLoss()


def by_name(y: torch.Tensor) -> torch.Tensor:
    """Numbers in the order of their names, in which 10 comes before 2."""
    return torch.tensor([sorted(map(str, range(12))).index(str(one)) for one in y.tolist()])


SICK: dict[str, Callable[[], Case]] = {
    "a permutation": lambda: numbered([4, 2, 0, 5, 1, 3]),
    "one too high": lambda: numbered(lambda y: y + 1),
    "in the order in which they come": lambda: numbered(first_seen),
    "without the first class": lambda: numbered(own_index, keep=[1, 2, 3, 4, 5]),
    "without one in the middle": lambda: numbered(own_index, keep=[0, 1, 3, 4, 5]),
    "one too low, the first left out": lambda: numbered(lambda y: y - 1, keep=[1, 2, 3, 4, 5]),
    "two of six exchanged": lambda: numbered([0, 3, 2, 1, 4, 5]),
    "without the last but one": lambda: numbered(own_index, keep=[0, 1, 2, 3, 5]),
    "in the order of names": lambda: numbered(by_name, 12),
    "three classes in reverse": lambda: numbered([2, 1, 0], 3),
    "two classes and two outputs": lambda: numbered([1, 0], 2),
    "two classes of four": lambda: numbered(own_index, 4, keep=[1, 3]),
    "two classes, one output": lambda: two(column, BCE),
    "two classes, a probability": lambda: two(column, nn.BCELoss(), nn.Sigmoid()),
    "two classes, flat": lambda: two(torch.Tensor.float, BCE, nn.Flatten(0)),
    "two classes of -1 and 1": lambda: two(signs, nn.SoftMarginLoss()),
    "two classes by least squares": lambda: two(column, nn.MSELoss()),
    "one-hot targets": one_hot,
    "sentences": sentences,
    "pixels": lambda: pictures(lambda y: (y + 1) % 3),
    "inverted masks": lambda: masks(lambda y: 1 - y),
    "classes that overlap": lambda: numbered([4, 2, 0, 5, 1, 3], apart=0.9),
    "learnt by heart": lambda: learnt_by_heart(lambda y: torch.tensor([3, 4, 5, 0, 1, 2])[y]),
    "a loader": in_a_loader,
    "log-likelihoods": likelihood,
    "rare classes": lambda: numbered(lambda y: 9 - y, 10),
    "more outputs than classes": lambda: numbered([4, 2, 0, 5, 1, 3], out=9),
}  # fmt: skip


def row(case: Case) -> CheckResult:
    model, train, held_out, loss = case
    return result_of("class_numbering", model, train, loss, val_data=held_out)


@pytest.mark.parametrize("name", SICK)
def test_other_numbers(name: str) -> None:
    found = row(SICK[name]())
    assert found.status in WRONG, found.seen
    assert "is predicted as" in found.seen
    assert "training data" in found.remedy


def with_inputs(change: Callable[[torch.Tensor], torch.Tensor], classes: int = 6) -> Case:
    model, train, (x, y), loss = numbered(range(classes), classes)
    return model, train, (change(x), y), loss


def few(each: int) -> Case:
    """A few validation samples of each class, in random classes."""
    model, train, (x, y), loss = numbered(range(4), 4)
    return model, train, (x[: 4 * each], (y + 1)[: 4 * each] % 4), loss


def weak(apart: float) -> Case:
    train, held_out = clouds(6, apart)
    return fitted(mlp(6, width=2), train, CE, 25), train, held_out, CE


def rare() -> Case:
    """Nearly all samples are of one class."""
    (x, y), (held_out, labels) = clouds(2, 0.3)
    y, labels = ((one + torch.arange(len(one)) % 12 > 1).long() for one in (y, labels))
    return fitted(mlp(2), (x, y), CE, 60), (x, y), (held_out, labels), CE


def brightness() -> Case:
    """Steps of brightness, of which the validation data has one more."""
    draws = torch.Generator().manual_seed(0)
    y = torch.randint(5, (600,), generator=draws)
    x = 2.0 * y[:, None] + 0.3 * torch.randn(600, FEATURES, generator=draws)
    train = x[:400], y[:400]
    return fitted(mlp(5), train, CE, 300), train, (x[400:] + 2, y[400:]), CE


def several() -> Case:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(600, FEATURES, generator=draws)
    y = (x[:, :4] > 0).float()
    return fitted(mlp(4), (x[:400], y[:400]), BCE), (x[:400], y[:400]), (x[400:], 1 - y[400:]), BCE


def numbers() -> Case:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(600, FEATURES, generator=draws)
    y, loss = x[:, :1], nn.MSELoss()
    return fitted(mlp(1), (x[:400], y[:400]), loss), (x[:400], y[:400]), (x[400:], -y[400:]), loss


def at_random(part: int, classes: int) -> Case:
    """Labels that nothing tells, of validation alone (1) or of both parts (2)."""
    parts = clouds(classes)
    draws = torch.Generator().manual_seed(1)
    for place in range(2 - part, 2):
        x, y = parts[place]
        parts[place] = x, y[torch.randperm(len(y), generator=draws)]
    train, held_out = parts
    return fitted(mlp(classes, width=128), train, CE, 300), train, held_out, CE


def smoothed() -> Case:
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    train, held_out = clouds(5)
    return fitted(mlp(5), train, loss), train, held_out, loss


def unseen() -> Case:
    """A class that training has not, of which all samples look like another one."""
    (x, y), held_out = clouds(6)
    known = x[y != 2], y[y != 2]
    return fitted(mlp(6), known, CE), known, held_out, CE


def sorted_parts() -> Case:
    model, train, (x, y), loss = numbered(range(6))
    return model, train, (x[y.argsort()], y.sort().values), loss


def untrained() -> Case:
    train, held_out = clouds(6)
    return mlp(6), train, held_out, CE


def constant() -> Case:
    model, train, (x, y), loss = numbered(range(6))
    return model, train, (torch.zeros_like(x), y), loss


HEALTHY: dict[str, Callable[[], Case]] = {
    "the same numbers": lambda: numbered(range(6)),
    "some of the classes": lambda: numbered(range(6), keep=[1, 3, 4]),
    "only the first classes": lambda: numbered(range(6), keep=[0, 1]),
    "one class": lambda: numbered(range(6), keep=[3]),
    "untrained": untrained,
    "barely trained": lambda: weak(0.5),
    "a weak model": lambda: weak(1.5),
    "a very weak model": lambda: weak(0.2),
    "classes that overlap": lambda: numbered(range(6), apart=0.6),
    "learnt by heart": lambda: learnt_by_heart(lambda y: y),
    "inputs negated": lambda: with_inputs(torch.neg),
    "inputs negated, three classes": lambda: with_inputs(torch.neg, 3),
    "inputs negated, two classes": lambda: with_inputs(torch.neg, 2),
    "inputs moved": lambda: with_inputs(lambda x: x + 3),
    "inputs not scaled": lambda: with_inputs(lambda x: 20 * x + 5),
    "features in another order": lambda: with_inputs(lambda x: x.flip(1)),
    "features in another order, four classes": lambda: with_inputs(lambda x: x.roll(1, 1), 4),
    "all predicted as one": constant,
    "few samples of each class": lambda: few(5),
    "nearly one class": rare,
    "steps of brightness": brightness,
    "several classes at a time": several,
    "numbers": numbers,
    "validation at random": lambda: at_random(1, 4),
    "validation at random, two classes": lambda: at_random(1, 2),
    "both at random": lambda: at_random(2, 3),
    "smoothed labels": smoothed,
    "a class that is new": unseen,
    "sorted by class": sorted_parts,
    "two classes": lambda: numbered(range(2), 2),
    "pixels": lambda: pictures(lambda y: y),
    "masks": lambda: masks(lambda y: y),
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_honest_numbers(name: str) -> None:
    found = row(HEALTHY[name]())
    assert found.status in RIGHT, found.seen


@pytest.mark.slow
def test_the_same_numbers_pass() -> None:
    for name in ("the same numbers", "some of the classes", "two classes", "pixels", "masks"):
        assert row(HEALTHY[name]()).status == "pass", name


def test_it_names_the_classes_and_the_offset() -> None:
    model, train, (x, y), loss = numbered(lambda y: y - 1, keep=[1, 2, 3, 4, 5])
    found = row((model, train, (x, y), loss))
    with torch.no_grad():
        predicted = model(x).argmax(1)
    at = y == 0
    share, count = float((predicted[at] == 1).double().mean()), int(at.sum())
    assert f"validation class 0 is predicted as 1 in {share:.0%} of {count} samples" in found.seen
    assert found.status == "fail"
    assert "one less" in found.remedy


def test_without_validation_data_it_says_nothing() -> None:
    model, train, _, loss = numbered(range(4), 4)
    found = result_of("class_numbering", model, train, loss)
    assert (found.status, found.seen) == ("not_applicable", "there is no validation data.")


def test_a_step_of_ones_own_does_not_hide_it() -> None:
    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    for of, status in (([1, 2, 3, 0], WRONG), (range(4), RIGHT)):
        model, train, held_out, _ = numbered(of, 4)
        found = result_of("class_numbering", model, train, val_data=held_out, step_fn=step)
        assert found.status in status, found.seen


def test_a_rule_asks_for_it_while_it_trains() -> None:
    _, train, held_out, loss = numbered([4, 2, 0, 5, 1, 3])
    with nbd.Debugger(
        mlp(6), train, loss, val_data=held_out, batch_size=16, lr=1e-2, val_every=20
    ) as dbg:
        assert dbg.check("class_numbering")["class_numbering"].status == "not_applicable"
        dbg.run(steps=240)
        found = {one.name: one for one in dbg.findings}
    assert "is predicted as" in found["failed_check"].seen
    assert found["overfitting"].cause == "failed_check"
