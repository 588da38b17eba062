"""Predictions of odd models and data: what can be shown is shown, the rest is said in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.results.inside.predictions import Predictions
from tests.inside import client_of

DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(40, 6, generator=DRAWN)
Y = torch.arange(40) % 3


@dataclass
class Answer:
    """Outputs of a model."""

    hidden: torch.Tensor
    logits: torch.Tensor


class Wrapped(nn.Module):
    """A linear layer whose outputs come in some form."""

    def __init__(self, wrap: Callable[[torch.Tensor], Any], classes: int = 3) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(6, classes), wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.layer(x))


WRAPS: dict[str, tuple[Callable[[torch.Tensor], Any], Callable[[Any], torch.Tensor]]] = {
    "a tuple": (lambda t: (t, t.sum()), lambda o: o[0]),
    "a dict": (lambda t: {"loss": t.sum(), "logits": t}, lambda o: o["logits"]),
    "a dataclass": (lambda t: Answer(t.sum(), t), lambda o: o.logits),
}


@pytest.mark.parametrize("name", WRAPS)
def test_outputs_of_any_kind(name: str) -> None:
    wrap, unwrap = WRAPS[name]

    def loss(outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(unwrap(outputs), targets)

    torch.manual_seed(0)
    model = Wrapped(wrap)
    with nbd.Debugger(model, (X, Y), loss, runs=None) as dbg:
        found = dbg.predictions()
        assert found.samples.indices is not None
        inputs = X[list(found.samples.indices)]
        with torch.no_grad():
            expected = torch.softmax(model.layer(inputs), 1).numpy()
    assert found.kind == "classes"
    assert (found.values == expected).all()


def test_outputs_without_samples_are_said() -> None:
    with nbd.Debugger(Wrapped(lambda t: t.sum(0)), (X, Y), lambda o, t: o.sum(), runs=None) as dbg:
        found = dbg.predictions()
    assert found.why == (
        "The predictions cannot be shown, because the model gives no tensor with one row for each "
        "of the 40 samples."
    )
    assert found.why in repr(found)


def test_nan_is_no_class() -> None:
    model = Wrapped(lambda t: t * torch.nan)
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.predictions()
    assert found.to_frame()["predicted"].isna().all()
    assert found.confusion()["NaN"].sum() == 40
    assert "0 of 40 right" in repr(found)


def test_half_precision_and_one_sample() -> None:
    torch.manual_seed(0)
    model = Wrapped(lambda t: t).bfloat16()
    data = (X.bfloat16(), Y)
    with nbd.Debugger(model, data, nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.predictions((X[:1].numpy(), Y[:1].numpy()))
        with torch.no_grad():
            expected = torch.softmax(model(X[:1].bfloat16()).float(), 1).numpy()
    assert (found.values == expected).all()
    assert repr(found).startswith("Predictions (3 classes) for 1 sample that were given")


def test_ten_thousand_classes_stay_small() -> None:
    model = Wrapped(lambda t: t, 10_000)
    with nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.predictions()
        expected = model(X[list(found.samples.indices or ())]).argmax(1)
    assert found.values.shape == (40, 5)
    assert (found.to_frame()["predicted"] == expected.numpy()).all()
    assert len(found.confusion()) <= 43


def test_words_of_sequences_are_counted_by_position() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Embedding(7, 8), nn.Linear(8, 7)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(ids))  # type: ignore[no-any-return]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    ids = torch.randint(0, 7, (30, 12), generator=DRAWN)
    with nbd.Debugger(Words(), (ids, ids.roll(-1, 1)), loss, runs=None) as dbg:
        found = dbg.predictions()
    assert found.kind == "classes"
    assert found.values.shape == (30, 7)
    assert found.confusion().to_numpy().sum() == 30 * 12
    assert "several positions" in found.notes[0]


def test_targets_of_another_length_are_left_out() -> None:
    with nbd.Debugger(Wrapped(lambda t: t), (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        found = dbg.predictions((X, torch.zeros(3, dtype=torch.int64)))
    assert found.kind == "classes"
    assert found.targets is None
    assert "The targets hold 3 samples, the outputs 40" in repr(found)


class FailsInEval(nn.Module):
    """A model that cannot be evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            raise ValueError("no eval")
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_model_that_raises_is_said_in_the_tab_and_raised_in_the_cell() -> None:
    torch.manual_seed(0)
    with nbd.Debugger(FailsInEval(), (X, Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        client_of(dbg).do(WatchProbe("predictions", True))
        dbg.run(steps=5)
        with pytest.raises(ValueError, match="no eval"):
            dbg.predictions()
        dbg.run(steps=5)
        found = dbg.history.results.of(Predictions)
        assert found is not None
        assert found.why == "The samples could not be evaluated: no eval"
        assert dbg.history.status.step == 10
        assert dbg.failure is None
        assert not any("could not be made" in notice.title for notice in dbg.history.notices)


def test_a_loop_without_a_step_says_what_to_do() -> None:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.watch(model, optimizer, runs=None) as dbg:
        with pytest.raises(nbd.NbdebugError, match="make a step first"):
            dbg.predictions()
        assert dbg.predictions((X, Y)).targets is not None


def test_a_model_of_two_inputs_that_takes_no_other_ones_has_no_regions() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Parameter(torch.zeros(40, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scores + x

    with nbd.Debugger(
        Fixed(), (X[:, :2], Y % 2), nn.CrossEntropyLoss(), batch_size=40, runs=None
    ) as dbg:
        found = dbg.predictions()
        again = dbg.predictions()
    assert found.regions is None
    assert "no regions are drawn" in found.notes[-1]
    assert again.notes == found.notes


def test_a_graph_is_evaluated_whole() -> None:
    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
            found = self.layer(nodes)
            return found.index_add(0, edges[1], found[edges[0]])  # type: ignore[no-any-return]

    nodes = torch.randn(300, 6, generator=DRAWN)
    edges = torch.randint(0, 300, (2, 700), generator=DRAWN)
    labels = torch.arange(300) % 3
    model = Graph()
    with nbd.Debugger(
        model, [(nodes, edges, labels)], nn.CrossEntropyLoss(), runs=None, batch_size_of=lambda b: 1
    ) as dbg:
        found = dbg.predictions()
        with torch.no_grad():
            expected = torch.softmax(model(nodes, edges), 1).numpy()
    assert (found.values == expected).all()
    assert np.array_equal(found.targets, labels.numpy())  # type: ignore[arg-type]


class Says(nn.Module):
    """Scores of texts by their length."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, texts: Any) -> Any:
        return self.layer(torch.tensor([[float(len(text))] for text in texts]))


def test_texts_that_cannot_be_cut_are_shown_as_a_batch() -> None:
    texts = [("so" * (1 + at), at % 3) for at in range(32)]
    with nbd.Debugger(
        Says(), DataLoader(texts, batch_size=8), nn.CrossEntropyLoss(), runs=None
    ) as dbg:
        dbg.run(steps=2)
        found = dbg.predictions()
        assert found.samples.count == 32
        assert "of 32 right" in repr(found)
        assert len(found.errors()) <= 32
        assert found._repr_html_()
        assert dbg.network().structure.error is None
        with pytest.raises(nbd.NbdebugError, match="no tensor"):
            dbg.explain()


def test_a_loss_that_counts_its_calls_is_left_as_it_was() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return functional.cross_entropy(outputs, targets)

    loss = Counting()
    with nbd.Debugger(Wrapped(lambda t: t), (X, Y), loss, batch_size=20, runs=None) as dbg:
        dbg.run(steps=3)
        before = loss.calls
        dbg.predictions()
        assert loss.calls == before
