"""Pictures of models and data of unusual kinds: what can be shown is shown, and nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import nbdebug as nbd
from nbdebug.core.results.inside.detail_page import detail_page
from tests.problems import same_weights

X, Y = torch.ones(32, 8), torch.arange(32) % 3


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, packed: Any) -> Any:
        return self.head(self.gru(packed)[1][0])


def collate(samples: list[Any]) -> Any:
    sequences, targets = zip(*samples, strict=True)
    packed = nn.utils.rnn.pack_sequence(list(sequences), enforce_sorted=False)
    return packed, torch.stack(list(targets))


class Graph(nn.Module):
    """Each row is a node, so no row can be taken alone."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, near: torch.Tensor) -> Any:
        return self.one(near @ x)


class WritesInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.one(x.mul_(2))


class Slope(nn.Module):
    """Differentiates in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        x = x.requires_grad_(True)
        out = self.one(x).tanh().sum()
        return torch.autograd.grad(out, x, create_graph=True)[0][:, :3]


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.calls = nn.Linear(8, 3), 0

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        return self.one(x)


class Between(nn.Module):
    """A layer that gives something unusual, which the next ones do not need."""

    def __init__(self, gives: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.one, self.odd, self.two = nn.Linear(8, 6), Gives(gives), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        h = self.one(x).relu()
        self.odd(h)
        return self.two(h)


class Gives(nn.Module):
    def __init__(self, gives: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, x: torch.Tensor) -> Any:
        return self.gives(x)


@dataclass
class Answer:
    """Outputs of a layer or a model."""

    scores: torch.Tensor
    hidden: Any


class Pair(NamedTuple):
    """The same as a tuple."""

    scores: torch.Tensor
    hidden: Any


class Answers(nn.Module):
    """A model and a layer that give other things than tensors."""

    def __init__(self, kind: type[Answer | Pair]) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 6), nn.Linear(6, 3)
        self.between = Gives(lambda x: kind(x.tanh(), [x]))
        self.kind = kind

    def forward(self, x: torch.Tensor) -> Any:
        hidden = self.between(self.one(x))
        return self.kind(self.two(hidden.scores), hidden)


ODD: dict[str, Callable[[torch.Tensor], Any]] = {
    "sparse": lambda x: x.to_sparse(),
    "compressed": lambda x: x.to_sparse_csr(),
    "nested": lambda x: torch.nested.nested_tensor([x[0], x[0, :3]]),
    "quantized": lambda x: torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8),
    "complex": lambda x: x + 1j,
    "half": lambda x: x.bfloat16(),
    "dataclass": lambda x: Answer(x, [x.sum()]),
    "named tuple": lambda x: Pair(x, {"deep": (x.sum(),)}),
    "whole numbers": lambda x: x.long(),
    "true and false": lambda x: x > 0,
    "empty": lambda x: x[:, :0],
    "no axes": lambda x: x.sum(),
    "nothing": lambda x: None,
    "text": lambda x: {"name": "x", "deep": [("y", {"z": 3})]},
    "NaN": lambda x: x * float("nan"),
    "five axes": lambda x: x[:, :, None, None, None],
    "other rows": lambda x: x.repeat(3, 1),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings(
    "ignore:Sparse CSR", "ignore:The PyTorch API of nested", "ignore:.*quant"
)
def test_whatever_a_layer_gives_is_shown_or_said_why_not(kind: str) -> None:
    torch.manual_seed(0)
    model = Between(ODD[kind])
    with nbd.Debugger(model, (X.clone(), Y), nn.CrossEntropyLoss(), runs=None) as dbg:
        for show in ("activations", "gradients"):
            found = dbg.network(0, show, part="odd" if kind != "nothing" else "one")  # type: ignore[arg-type]
            assert found.structure.error is None
            assert found.detail is not None
            for part in found.structure.parts:
                assert detail_page(found, part)
        points = dbg.embedding("odd")
        assert len(points.points) or points.reason
        assert points._repr_html_()
        assert dbg.explain().values.shape == (8,)
        assert dbg.predictions().why == ""


@pytest.mark.parametrize("kind", [Answer, Pair])
def test_outputs_in_a_dataclass_are_looked_into(kind: type[Answer | Pair]) -> None:
    torch.manual_seed(0)
    model, X = Answers(kind), torch.randn(32, 8)

    def loss(found: Any, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(found.scores, targets)

    with nbd.Debugger(model, (X, Y), loss, batch_size=8, runs=None) as dbg:
        dbg.run(steps=2)
        picture, slopes = dbg.network(3, part="between"), dbg.network(3, "gradients")
        explained, points = dbg.explain(3, of=1), dbg.embedding("between")
    names = [part.name for part in picture.structure.parts]
    assert {"one", "between", "two"} <= {*names}
    two = picture.structure.parts[names.index("two")]
    assert names.index("between") in two.inputs
    x = X[3:4].clone().requires_grad_()
    model.eval()
    hidden = model.one(x).tanh()
    assert picture.values["between"].mean == pytest.approx(float(hidden.mean().detach()), rel=1e-5)
    assert slopes.values["between"].count == hidden.numel()
    model(x).scores[0, 1].backward()
    assert x.grad is not None
    assert explained.values == pytest.approx(x.grad[0].abs().double().numpy(), rel=1e-5)
    assert points.points.shape == (32, 2)


def sequences() -> DataLoader[Any]:
    made = [(torch.ones(3 + at % 4, 4), Y[at]) for at in range(32)]
    return DataLoader(made, batch_size=8, collate_fn=collate)  # type: ignore[arg-type]


def graphs() -> list[Any]:
    return [(torch.ones(5, 8), torch.eye(5), torch.arange(5) % 3) for _ in range(4)]


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "packed sequences": (Packed, sequences),
    "graphs": (Graph, graphs),
    "input written to": (WritesInput, lambda: (X.clone(), Y)),
    "slope in forward": (Slope, lambda: (X.clone(), Y)),
    "counter": (Counts, lambda: (X.clone(), Y)),
}


def made(kind: str) -> nbd.Debugger:
    torch.manual_seed(0)
    model, data = KINDS[kind]
    return nbd.Debugger(model(), data(), nn.CrossEntropyLoss(), runs=None)


@pytest.mark.parametrize("kind", KINDS)
def test_unusual_models_are_pictured_and_train_as_before(kind: str) -> None:
    with made(kind) as bare, made(kind) as dbg:
        bare.run(steps=6)
        pages = []
        for step in range(6):
            dbg.run(steps=1)
            found = dbg.network(0, ("activations", "gradients")[step % 2])
            assert found.structure.error is None
            assert found.values
            dbg.network(0, part=found.structure.parts[0].name)
            assert dbg.predictions().why == ""
            pages.append(found._repr_html_())
        assert same_weights(bare.model, dbg.model)
    assert all(pages)


def test_fixed_samples_stay_what_they_are_when_a_model_writes_to_its_inputs() -> None:
    with made("input written to") as dbg:
        means = [dbg.network().inputs.mean for _ in range(3)]  # type: ignore[union-attr]
        dbg.predictions()
        dbg.network(0, "gradients", "one")
        assert means == [1.0, 1.0, 1.0]
        assert dbg.network().inputs.mean == 1.0  # type: ignore[union-attr]


def test_a_counter_of_the_model_is_put_back() -> None:
    with made("counter") as dbg:
        dbg.run(steps=3)
        before = dbg.model.calls
        dbg.network(0, "gradients", "one")
        dbg.predictions()
        assert dbg.model.calls == before


def test_packed_sequences_are_one_argument_also_in_training() -> None:
    model = Packed()
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with nbd.Debugger(
        Packed(), sequences(), nn.CrossEntropyLoss(), optimizer="sgd", lr=0.1, runs=None
    ) as dbg:
        model.load_state_dict(dbg.model.state_dict())
        dbg.run(steps=4)
        for packed, targets in sequences():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(packed), targets).backward()
            optimizer.step()
        assert same_weights(model, dbg.model)
