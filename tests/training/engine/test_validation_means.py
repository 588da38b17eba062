"""The means of a validation are those over samples, and it moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import nbdebug as nbd
from nbdebug.errors import ArgumentError
from tests.problems import blobs, tiny_mlp

TEXTS = [torch.full((length,), float(length)) for length in [2] * 8 + [10] * 5]
MEAN = sum(float(text[0]) for text in TEXTS) / len(TEXTS)


def mean_of_first(batch: Any) -> torch.Tensor:
    """Time-first texts and their values."""
    return batch[1].mean()


class Graphs:
    def __init__(self, samples: list[torch.Tensor]) -> None:
        self.samples = samples


class TextStream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(TEXTS)


class Texts(Dataset[Any]):
    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> torch.Tensor:
        return TEXTS[index]


def value_of(batch: Any) -> torch.Tensor:
    if isinstance(batch, Graphs):
        return torch.stack([text[0] for text in batch.samples]).mean()
    return batch[1].mean()


def time_first(texts: list[torch.Tensor]) -> Any:
    return pad_sequence(texts), torch.stack([text[0] for text in texts])


def packed(texts: list[torch.Tensor]) -> Any:
    return pack_sequence(texts, enforce_sorted=False), torch.stack([text[0] for text in texts])


def declared(batch: Any) -> int:
    return len(batch.samples) if isinstance(batch, Graphs) else len(batch[1])


def loader(data: Any, collate: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(data, batch_size=5, collate_fn=collate, **options)


class Doubled(DataLoader[Any]):
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        yield from super().__iter__()


KINDS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "time first": lambda: (loader(TEXTS, time_first), {}),
    "packed": lambda: (loader(TEXTS, packed), {}),
    "objects": lambda: (loader(TEXTS, Graphs), {}),
    "objects of a stream": lambda: (loader(TextStream(), Graphs), {}),
    "a batch sampler": lambda: (
        DataLoader(Texts(), batch_sampler=[[0, 1], list(range(2, 13))], collate_fn=time_first),
        {},
    ),
    "declared, ready": lambda: (
        [Graphs(TEXTS[:3]), Graphs(TEXTS[3:])],
        {"batch_size_of": declared},
    ),
    "declared, own iter": lambda: (
        Doubled(TEXTS, batch_size=5, collate_fn=time_first),
        {"batch_size_of": declared},
    ),
    "declared, no batch size": lambda: (
        DataLoader([time_first(TEXTS[:3]), time_first(TEXTS[3:])], batch_size=None),
        {"batch_size_of": declared},
    ),
}


def validated(val_data: Any, **options: Any) -> float:
    """Mean of a validation, which training does not change."""

    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        if isinstance(batch, torch.Tensor):
            return model(batch).mean()
        return 0 * model(torch.ones(1, 1)).mean() + value_of(batch)

    with nbd.Debugger(
        nn.Linear(1, 1), TensorDatasetOfOnes(), step_fn=step_fn, val_data=val_data, val_every=1,
        runs=None, **options,
    ) as dbg:  # fmt: skip
        dbg.run(steps=1)
        found = dbg.history.last("val_loss")
        assert found is not None
        return found


class TensorDatasetOfOnes(Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.ones(1)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_weigh_the_same_whatever_the_batches_look_like(kind: str) -> None:
    data, options = KINDS[kind]()
    assert validated(data, **options) == pytest.approx(MEAN, rel=1e-7)


@pytest.mark.slow
def test_samples_of_workers_weigh_the_same() -> None:
    assert validated(loader(TEXTS, Graphs, num_workers=1)) == pytest.approx(MEAN, rel=1e-7)


def test_a_dropped_last_batch_does_not_count() -> None:
    expected = sum(float(text[0]) for text in TEXTS[:10]) / 10
    found = validated(loader(TEXTS, time_first, drop_last=True))
    assert found == pytest.approx(expected, rel=1e-7)


def test_means_are_those_of_a_plain_computation_to_the_bit() -> None:
    X, y = blobs(samples=77, seed=4)
    loss_fn = nn.CrossEntropyLoss()
    with nbd.Debugger(
        tiny_mlp(), blobs(), loss_fn, val_data=DataLoader(TensorDataset(X, y), batch_size=10),
        val_every=2, runs=None,
    ) as dbg:  # fmt: skip
        dbg.run(steps=2)
        dbg.model.eval()
        with torch.no_grad():
            parts = list(zip(X.split(10), y.split(10), strict=True))
            total = sum(loss_fn(dbg.model(a), b).double() * len(a) for a, b in parts)
        assert dbg.history.last("val_loss") == float(total / 77)


class Moving(nn.Module):
    """Everything that a forward pass may move, in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_mlp()
        self.register_buffer("seen", torch.zeros(1))
        self.calls, self.last, self.states = 0, torch.zeros(3), [torch.zeros(1)]

    def forward(self, X: torch.Tensor) -> Any:
        outputs = self.net(X) + self.seen + 0.01 * self.calls + self.states[0]
        self.calls += 1
        self.last = outputs[0].detach()
        self.states[0] = self.states[0] + 0.01
        with torch.no_grad():
            self.seen += 0.1 * X.mean()
        return outputs + torch.rand(())


def test_training_with_a_validation_is_that_without_for_models_with_a_state() -> None:
    def losses(**options: Any) -> list[float]:
        torch.manual_seed(0)
        with nbd.Debugger(Moving(), blobs(), nn.CrossEntropyLoss(), runs=None, **options) as dbg:
            dbg.run(steps=12)
            assert dbg.replay().equal
            assert dbg.rewind(5).equal
            dbg.run(steps=7)
            return dbg.history.frame("loss")["loss"].dropna().tolist()

    held_out = blobs(samples=30, seed=6)
    assert losses() == losses(val_data=held_out, val_every=2)


def physics(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs.mean()


def test_a_loss_with_gradients_of_the_inputs_is_validated_on_request() -> None:
    def step_fn(model: nn.Module, batch: Any) -> torch.Tensor:
        X = batch[0].clone().requires_grad_()
        [slope] = torch.autograd.grad(model(X).sum(), X, create_graph=True)
        return ((slope - 1.0) ** 2).mean()

    def debugger(**options: Any) -> nbd.Debugger:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        X = torch.linspace(0, 1, 40)[:, None]
        return nbd.Debugger(
            net, (X, X), step_fn=step_fn, val_data=(X, X), val_every=2, runs=None, **options
        )

    with (
        debugger() as dbg,
        pytest.raises(nbd.LossError, match=r"step_fn takes a gradient.*val_grad=True"),
    ):
        dbg.run(steps=2)
    with debugger(val_grad=True) as dbg:
        dbg.run(steps=6)
        assert dbg.replay().equal
        X = torch.linspace(0, 1, 40)[:, None]
        expected = float(step_fn(dbg.model, (X, X)).detach())
        assert dbg.history.last("val_loss") == expected


def test_arguments_of_another_kind_are_refused() -> None:
    with pytest.raises(ArgumentError, match="val_grad must be True or False"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_grad=1, runs=None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="batch_size_of is a int: expected a function"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), batch_size_of=3, runs=None)  # type: ignore[arg-type]


def test_a_generator_as_held_out_data_is_told_when_it_has_ended() -> None:
    X, y = blobs(samples=20)
    batches = ((X[i : i + 5], y[i : i + 5]) for i in range(0, 20, 5))
    options: dict[str, Any] = {"val_data": batches, "val_every": 1, "runs": None}
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), **options) as dbg:
        dbg.run(steps=1)
        with pytest.raises(nbd.NbdebugError, match="can be read only once"):
            dbg.run(steps=1)
