"""Models in which dropout can move, each with the forward that a person would write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Architecture:
    """One model.

    Attributes:
        build: makes it.
        shape: of its input.
        written: by order, the forward of a hand-written model with the same layers.
        keyword: what its input is called, where it must be.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    written: Mapping[str, Forward]
    keyword: str = ""

    def call(self, model: nn.Module, inputs: torch.Tensor) -> Any:
        return model(**{self.keyword: inputs}) if self.keyword else model(inputs)


def tensors(outputs: Any) -> Iterator[torch.Tensor]:
    """All tensors in what a model gives."""
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from tensors(value)
    else:
        for value in vars(outputs).values() if hasattr(outputs, "__dict__") else outputs:
            yield from tensors(value)


class NestedSequential(nn.Sequential):
    def __init__(self) -> None:
        block = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Dropout2d(0.4))
        super().__init__(nn.Sequential(block, nn.Flatten()), nn.Linear(64, 3))


def nested(*keys: int) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for key in keys:
            x = model[0][0][key](x)
        return model[1](model[0][1](x))

    return forward


class FunctionalRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.drop(self.inner(x))
        x = F.relu(x)
        x = torch.tanh(self.norm(x))
        return self.outer(x)


class Residual(nn.Module):
    """Its activation works in place, and its input is needed once more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout1d(0.4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.act(self.norm(self.drop(self.conv(x))))


class Residuals(nn.Module):
    """The same block at two places, one of them run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Residual(), Residual()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.blocks[0](x)


def residuals(path: Forward) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for block in (*model.blocks, model.blocks[0]):
            x = x + path(block, block.conv(x))
        return x

    return forward


class Wide(nn.Module):
    """A pre-activation block: dropout between its convolutions, the last norm behind both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3)
        self.norm1, self.norm2 = nn.BatchNorm2d(2), nn.BatchNorm2d(4)
        self.drop = nn.Dropout2d(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(F.relu(self.drop(self.norm1(x)), inplace=True))
        return self.conv2(self.norm2(x).relu()).mean((2, 3))


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4)
        self.act, self.drop = nn.SiLU(), nn.Dropout3d(0.4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.drop(self.act(self.norm(self.conv(x))))
        return hidden, hidden.mean((2, 3, 4))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.drop1 = nn.LayerNorm(8), nn.Dropout(0.4)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.drop2, self.norm2 = nn.Dropout(0.2), nn.LayerNorm(8)
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.drop1(self.norm1(x))
        return self.rest(x, mask)

    def rest(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is not None:
            x = x * mask
        attended, _ = self.attention(x, x, x, need_weights=False)
        x = self.norm2(x + self.drop2(attended))
        return x + self.narrow(F.gelu(self.wide(x)))


class DictOutput(FunctionalRelu):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        hidden = self.drop(self.norm(self.inner(x)).sigmoid())
        return {"logits": self.outer(hidden), "hidden": hidden}


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)
        self.drop = nn.Dropout2d(0.4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(self.norm(self.drop(self.conv(x))), 0.2)


class SelfNormalizing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 3)
        self.norm, self.act, self.drop = nn.LayerNorm(8), nn.SELU(), nn.AlphaDropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.drop(self.act(self.norm(self.inner(x)))))


class ModeDependent(FunctionalRelu):
    """Calls its dropout while training alone, and writes to itself meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        x = self.inner(x)
        if self.training:
            x = self.drop(x)
        x = F.dropout(self.norm(x), 0.2, training=self.training)
        return self.outer(x if self.training else x * 0.5)


def mode_dependent(*first: str) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = model.inner(x)
        for name in first:
            if name != "drop" or model.training:
                x = getattr(model, name)(x)
        x = F.dropout(x, 0.2, training=model.training)
        return model.outer(x if model.training else x * 0.5)

    return forward


class Answer(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor


class KeywordOnly(FunctionalRelu):
    def forward(self, *, x: torch.Tensor, scale: float = 2.0, bias: Any = None, **rest: Any) -> Any:  # type: ignore[override]
        hidden = F.relu(self.drop(self.norm(self.inner(x)))) * scale
        if bias is not None:
            hidden = hidden + bias
        return Answer(self.outer(hidden), hidden)


def keyword_only(path: Forward) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> Answer:
        hidden = path(model, model.inner(x)) * 2.0
        return Answer(model.outer(hidden), hidden)

    return forward


class Listed(nn.Module):
    """Layers in lists, called one by one, in a model that reshapes its input by its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(6), nn.BatchNorm1d(6)])
        self.drops = nn.ModuleDict({"a": nn.Dropout(0.3), "b": nn.Dropout(0.4)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, width = x.shape
        for linear, norm, drop in zip(self.linears, self.norms, self.drops.values(), strict=True):
            x = norm(F.silu(drop(linear(x)))).view(batch, width)
        return x


def listed(path: Forward) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for linear, norm, key in zip(model.linears, model.norms, "ab", strict=True):
            x = path(norm, model.drops[key], linear(x))
        return x

    return forward


class OwnForward(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


def mapped(*keys: int) -> Forward:
    def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        for key in keys:
            x = model[key](x)
        return x * 2

    return forward


WIDE_END: Forward = lambda m, x: m.conv2(F.relu(m.norm2(x))).mean((2, 3))  # noqa: E731

ARCHITECTURES = {
    "nested_sequential": Architecture(
        NestedSequential,
        (8, 1, 6, 6),
        {
            "as_built": nested(0, 1, 2, 3),
            "norm_dropout": nested(0, 1, 3, 2),
            "dropout_norm": nested(0, 3, 1, 2),
            "activation_dropout": nested(0, 1, 2, 3),
        },
    ),
    "functional_relu": Architecture(
        FunctionalRelu,
        (16, 6),
        {
            "as_built": lambda m, x: m.outer(m.norm(m.drop(m.inner(x)).relu()).tanh()),
            "norm_dropout": lambda m, x: m.outer(m.drop(m.norm(m.inner(x).relu())).tanh()),
            "dropout_norm": lambda m, x: m.outer(m.norm(m.drop(m.inner(x).relu())).tanh()),
            "activation_dropout": lambda m, x: m.outer(m.drop(m.norm(m.inner(x).relu()).tanh())),
        },
    ),
    "residual": Architecture(
        Residuals,
        (8, 4, 5),
        {
            "as_built": residuals(lambda m, x: m.act(m.norm(m.drop(x)))),
            "norm_dropout": residuals(lambda m, x: m.act(m.drop(m.norm(x)))),
            "dropout_norm": residuals(lambda m, x: m.act(m.norm(m.drop(x)))),
            "activation_dropout": residuals(lambda m, x: m.drop(m.act(m.norm(x)))),
        },
    ),
    "wide": Architecture(
        Wide,
        (6, 2, 8, 8),
        {
            "as_built": lambda m, x: WIDE_END(m, m.conv1(F.relu(m.drop(m.norm1(x))))),
            "norm_dropout": lambda m, x: WIDE_END(m, m.conv1(F.relu(m.drop(m.norm1(x))))),
            "dropout_norm": lambda m, x: WIDE_END(m, m.conv1(F.relu(m.norm1(m.drop(x))))),
            "activation_dropout": lambda m, x: WIDE_END(m, m.conv1(m.drop(F.relu(m.norm1(x))))),
            "dropout_last": lambda m, x: m.conv2(
                F.relu(m.drop(m.norm2(m.conv1(F.relu(m.norm1(x))))))
            ).mean((2, 3)),
        },
    ),
    "volume": Architecture(
        Volume,
        (4, 1, 4, 4, 4),
        {
            order: lambda m, x, path=path: (lambda hidden: (hidden, hidden.mean((2, 3, 4))))(
                path(m, m.conv(x))
            )
            for order, path in {
                "as_built": lambda m, x: m.drop(m.act(m.norm(x))),
                "norm_dropout": lambda m, x: m.act(m.drop(m.norm(x))),
                "dropout_norm": lambda m, x: m.act(m.norm(m.drop(x))),
                "activation_dropout": lambda m, x: m.drop(m.act(m.norm(x))),
            }.items()
        },
    ),
    "transformer": Architecture(
        Transformer,
        (4, 5, 8),
        {
            "as_built": lambda m, x: m.rest(m.drop1(m.norm1(x))),
            "norm_dropout": lambda m, x: m.rest(m.drop1(m.norm1(x))),
            "dropout_norm": lambda m, x: m.rest(m.norm1(m.drop1(x))),
        },
    ),
    "dict_output": Architecture(
        DictOutput,
        (16, 6),
        {
            order: lambda m, x, path=path: (
                lambda hidden: {"logits": m.outer(hidden), "hidden": hidden}
            )(path(m, m.inner(x)))
            for order, path in {
                "as_built": lambda m, x: m.drop(m.norm(x).sigmoid()),
                "norm_dropout": lambda m, x: m.drop(m.norm(x)).sigmoid(),
                "dropout_norm": lambda m, x: m.norm(m.drop(x)).sigmoid(),
                "activation_dropout": lambda m, x: m.drop(m.norm(x).sigmoid()),
            }.items()
        },
    ),
    "group_norm": Architecture(
        Grouped,
        (6, 1, 6, 6),
        {
            "as_built": lambda m, x: F.leaky_relu(m.norm(m.drop(m.conv(x))), 0.2),
            "norm_dropout": lambda m, x: F.leaky_relu(m.drop(m.norm(m.conv(x))), 0.2),
            "dropout_norm": lambda m, x: F.leaky_relu(m.norm(m.drop(m.conv(x))), 0.2),
            "activation_dropout": lambda m, x: m.drop(F.leaky_relu(m.norm(m.conv(x)), 0.2)),
        },
    ),
    "alpha_dropout": Architecture(
        SelfNormalizing,
        (16, 6),
        {
            "as_built": lambda m, x: m.outer(m.drop(m.act(m.norm(m.inner(x))))),
            "norm_dropout": lambda m, x: m.outer(m.act(m.drop(m.norm(m.inner(x))))),
            "dropout_norm": lambda m, x: m.outer(m.act(m.norm(m.drop(m.inner(x))))),
            "activation_dropout": lambda m, x: m.outer(m.drop(m.act(m.norm(m.inner(x))))),
        },
    ),
    "mode_dependent": Architecture(
        ModeDependent,
        (16, 6),
        {
            "as_built": mode_dependent("drop", "norm"),
            "norm_dropout": mode_dependent("norm", "drop"),
            "dropout_norm": mode_dependent("drop", "norm"),
        },
    ),
    "keyword_only": Architecture(
        KeywordOnly,
        (16, 6),
        {
            "as_built": keyword_only(lambda m, x: m.drop(m.norm(x)).relu()),
            "norm_dropout": keyword_only(lambda m, x: m.drop(m.norm(x)).relu()),
            "dropout_norm": keyword_only(lambda m, x: m.norm(m.drop(x)).relu()),
        },
        keyword="x",
    ),
    "listed": Architecture(
        Listed,
        (16, 6),
        {
            "as_built": listed(lambda norm, drop, x: norm(F.silu(drop(x)))),
            "norm_dropout": listed(lambda norm, drop, x: drop(norm(F.silu(x)))),
            "dropout_norm": listed(lambda norm, drop, x: norm(drop(F.silu(x)))),
        },
    ),
    "own_forward": Architecture(
        OwnForward,
        (16, 6),
        {
            "as_built": mapped(0, 1, 2, 3),
            "norm_dropout": mapped(0, 1, 2, 3),
            "dropout_norm": mapped(0, 2, 1, 3),
            "activation_dropout": mapped(0, 1, 3, 2),
        },
    ),
}
