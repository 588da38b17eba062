"""Recorded structures against hooks by hand, and calls that are recorded as they are bare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nbdebug.model.module.names import layers
from nbdebug.model.structure.attention import attention_weights
from nbdebug.model.structure.recorder import RecordedPart, Recorder

torch.manual_seed(0)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.norm(self.a(x)))
        return self.head(torch.cat([x, x + self.b(x)], 1).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(4, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        h = x.new_zeros(len(x), 8)
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], h)
        return self.out(h)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:
        return (self.encoder(left) - self.encoder(right)).abs().sum(1)


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(11, 6), nn.Parameter(torch.randn(5, 6))
        self.head = nn.Linear(6, 2)

    def forward(self, tokens: torch.Tensor) -> Any:
        return {"scores": self.head(self.word(tokens) + self.place)}


@dataclass
class Found:
    scores: torch.Tensor
    names: tuple[str, ...] = ("x",)


class Nested(nn.Module):
    """Takes and gives containers; one of its modules gives a dataclass."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 3)

        def forward(self, given: dict[str, torch.Tensor]) -> Found:
            return Found(self.one(given["x"]))

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = Nested.Inner(), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.inner({"x": x}).scores)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "residual": (Residual, (torch.randn(1, 3, 8, 8),)),
    "recurrent": (Recurrent, (torch.randn(1, 6, 4),)),
    "siamese": (Siamese, (torch.randn(1, 4), torch.randn(1, 4))),
    "positions": (Positions, (torch.randint(0, 11, (1, 5)),)),
    "nested": (Nested, (torch.randn(1, 4),)),
    "one layer": (lambda: nn.Linear(4, 2), (torch.randn(1, 4),)),
    "lstm": (lambda: nn.Sequential(nn.LSTM(4, 6, batch_first=True)), (torch.randn(1, 5, 4),)),
    "transformer": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
        ),
        (torch.randn(1, 5, 8),),
    ),
}
EDGES = {
    "residual": {
        "a": set(), "norm": {"a"}, "relu": {"norm"}, "b": {"relu"}, "add": {"relu", "b"},
        "cat": {"relu", "add"}, "mean": {"cat"}, "head": {"mean"},
    },
    "recurrent": {"cell": {"cell"}, "out": {"cell"}},
    "siamese": {
        "encoder.0": set(), "encoder.1": {"encoder.0"}, "sub": {"encoder.1"}, "abs": {"sub"},
        "sum": {"abs"},
    },
    "positions": {"word": set(), "place": set(), "add": {"word", "place"}, "head": {"add"}},
    "nested": {"inner.one": set(), "last": {"inner.one"}},
    "one layer": {"linear": set()},
    "lstm": {"0": set()},
}  # fmt: skip


def recorded(model: nn.Module, *args: Any) -> tuple[dict[str, RecordedPart], Recorder, Any]:
    recorder = Recorder(model)
    with recorder.recording():
        found = model(*args)
    return {part.name: part for part in recorder.parts}, recorder, found


@pytest.mark.parametrize("name", EDGES)
def test_parts_and_connections_are_those_of_the_code(name: str) -> None:
    make, args = MODELS[name]
    recorder = recorded(make().eval(), *args)[1]
    names = [part.name for part in recorder.parts]
    edges = {part.name: {names[at] for at in part.inputs} for part in recorder.parts}
    assert edges == EDGES[name]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_are_those_of_hooks_by_hand(name: str) -> None:
    make, args = MODELS[name]
    model = make().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.MultiheadAttention):
            module.eval()
    seen: dict[str, torch.Tensor] = {}
    slopes: dict[str, torch.Tensor] = {}

    def note(name: str, found: Any) -> None:
        first = found[0] if isinstance(found, tuple) else found
        if name not in seen:
            seen[name] = first.detach().clone()
            first.register_hook(lambda gradient: slopes.setdefault(name, gradient.clone()))

    handles = [
        layer.module.register_forward_hook(lambda _, given, found, n=layer.name: note(n, found))
        for layer in layers(model)
    ]
    bare = model(*args)
    total(bare).backward()
    for handle in handles:
        handle.remove()
    kept = {name: gradient.clone() for name, gradient in slopes.items()}
    parts, _, found = recorded(model, *args)
    assert torch.equal(total(bare), total(found))
    total(found).backward()
    assert seen.keys() <= parts.keys()
    for name, expected in seen.items():
        output = parts[name].output
        assert output is not None
        assert torch.equal(output, expected)
        if name in kept:
            gradient = parts[name].gradient
            assert gradient is not None
            assert torch.equal(gradient, kept[name])
    assert kept


def total(found: Any) -> torch.Tensor:
    """A scalar that depends on all outputs."""
    if isinstance(found, dict):
        found = found["scores"]
    if isinstance(found, tuple):
        found = found[0]
    scalar: torch.Tensor = (found * torch.arange(1, found.numel() + 1).view_as(found)).sum()
    return scalar


def test_nothing_is_left_in_the_model() -> None:
    model = Residual()
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    recorded(model, torch.randn(2, 3, 8, 8))
    assert [dict(module._forward_hooks) for module in model.modules()] == hooks
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("model", "given", "at"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 2)), (1, 4), "2"),
        (Residual(), (1, 4, 8, 8), "a"),
        (Positions(), (1, 4), "add"),
    ],
    ids=["layer", "first layer", "function"],
)
def test_the_part_that_fails_is_the_last_one(
    model: nn.Module, given: tuple[int, ...], at: str
) -> None:
    recorder = Recorder(model)
    given_values = torch.zeros(given, dtype=torch.int64 if at == "add" else torch.float32)
    with pytest.raises(RuntimeError), recorder.recording():
        model(given_values)
    failed = [part for part in recorder.parts if part.error]
    assert [part.name for part in failed] == [at]
    assert failed[0].given
    assert not any(module._forward_hooks for module in model.modules())


def test_what_the_model_catches_is_no_failure_and_hides_nothing() -> None:
    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong, self.right, self.head = nn.Linear(9, 3), nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> Any:
            try:
                return self.wrong(x)
            except RuntimeError:
                pass
            try:
                x = x @ torch.ones(7, 7)
            except RuntimeError:
                return self.head(self.right(x))

    parts, recorder, _ = recorded(Catches(), torch.randn(1, 4))
    assert {"right", "head"} <= parts.keys()
    assert parts["head"].inputs == {[part.name for part in recorder.parts].index("right")}
    assert not any(part.error for part in recorder.parts)


def test_a_module_that_raises_in_its_own_code_is_named() -> None:
    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            self.one(x)
            raise ValueError("not like this")

    recorder = Recorder(model := nn.Sequential(nn.Linear(4, 4), Raises()))
    with pytest.raises(ValueError, match="not like this"), recorder.recording():
        model(torch.randn(1, 4))
    assert [(part.name, part.error) for part in recorder.parts if part.error] == [
        ("1", "ValueError: not like this")
    ]


def test_calls_are_counted_and_a_shared_layer_is_one_part() -> None:
    parts, _, _ = recorded(Recurrent(), torch.randn(2, 7, 4))
    assert parts["cell"].calls == 7
    parts, recorder, _ = recorded(Siamese(), torch.randn(2, 4), torch.randn(2, 4))
    assert parts["encoder.0"].calls == 2
    assert recorder.entries == {0}


@pytest.mark.parametrize("average", [True, False])
def test_attention_of_a_module_is_what_it_says_itself(average: bool) -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 5, 8)
    expected = module(x, x, x, need_weights=True, average_attn_weights=False)[1][0]
    named = {"need_weights": False, "average_attn_weights": average}
    found = attention_weights(module, "MultiheadAttention", (x, x, x), named, 64)
    assert found is not None
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kind", ["plain", "causal", "boolean mask", "added mask", "grouped"])
def test_attention_of_the_function_gives_its_outputs(kind: str) -> None:
    query = torch.randn(1, 4, 5, 8)
    heads = 2 if kind == "grouped" else 4
    key, value = torch.randn(1, heads, 6, 8), torch.randn(1, heads, 6, 8)
    named: dict[str, Any] = {
        "plain": {"scale": 0.3},
        "causal": {"is_causal": True},
        "boolean mask": {"attn_mask": torch.rand(5, 6) > 0.2},
        "added mask": {"attn_mask": torch.randn(1, 4, 5, 6)},
        "grouped": {"enable_gqa": True},
    }[kind]
    if "attn_mask" in named and named["attn_mask"].dtype == torch.bool:
        named["attn_mask"][:, 0] = True
    function = nn.functional.scaled_dot_product_attention
    found = attention_weights(None, function.__name__, (query, key, value), named, 64)
    assert found is not None
    values = value[0].repeat_interleave(4 // heads, 0)
    assert torch.allclose(found @ values, function(query, key, value, **named)[0], atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_of_many_queries_some_are_taken(batch_first: bool, masked: bool) -> None:
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = torch.randn(1, 50, 8) if batch_first else torch.randn(50, 1, 8)
    mask = torch.ones(50, 50, dtype=torch.bool).triu(1) if masked else None
    named: dict[str, Any] = {"need_weights": False, "attn_mask": mask}
    every = attention_weights(module, "MultiheadAttention", (x, x, x), named, 50)
    some = attention_weights(module, "MultiheadAttention", (x, x, x), named, 8)
    # The mask by position, as the signature has it.
    other = attention_weights(module, "MultiheadAttention", (x, x, x, None, False, mask), {}, 8)
    rows = np.linspace(0, 49, 8).astype(int)
    assert every is not None
    assert some is not None
    assert other is not None
    assert torch.allclose(some, every[:, rows], atol=1e-6)
    assert torch.equal(some, other)
    assert not masked or some[:, 1, rows[1] + 1 :].abs().max() == 0


@pytest.mark.parametrize("kind", ["causal", "mask", "one row of mask"])
def test_of_many_queries_of_the_function_some_are_taken(kind: str) -> None:
    query, key, value = (torch.randn(1, 2, 40, 8) for _ in range(3))
    named: dict[str, Any] = {
        "causal": {"is_causal": True},
        "mask": {"attn_mask": torch.randn(1, 2, 40, 40)},
        "one row of mask": {"attn_mask": torch.randn(1, 1, 1, 40)},
    }[kind]
    name = nn.functional.scaled_dot_product_attention.__name__
    every = attention_weights(None, name, (query, key, value), named, 40)
    some = attention_weights(None, name, (query, key, value), named, 7)
    assert every is not None
    assert some is not None
    assert torch.allclose(some, every[:, np.linspace(0, 39, 7).astype(int)], atol=1e-6)


def test_other_parts_have_no_attention() -> None:
    assert attention_weights(nn.Linear(2, 2), "Linear", (torch.randn(1, 2),), {}, 64) is None
