"""New initial weights for layers of a model that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.nn.modules.conv import _ConvNd

from nbdebug.model.module.names import layers
from nbdebug.model.state.optimizer import copied

SCHEMES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "he": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": init.xavier_uniform_,
    "orthogonal": init.orthogonal_,
}
KINDS = (*SCHEMES, "default")
WITH_MATRICES = (
    nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention,
)  # fmt: skip
GATES: dict[type[nn.Module], int] = {
    nn.LSTM: 4,
    nn.GRU: 3,
    nn.LSTMCell: 4,
    nn.GRUCell: 3,
    nn.MultiheadAttention: 3,
}
STACKED = ("weight_ih", "weight_hh", "in_proj_weight")


@dataclass(frozen=True)
class _Kept:
    """What the last re-initialisation overwrote.

    Attributes:
        values: the tensors, each with a copy of what it held.
        gathered: the optimizer's state by parameter, None where it had none.
        state: where that state belongs.
    """

    values: list[tuple[torch.Tensor, torch.Tensor]]
    gathered: dict[torch.Tensor, Any]
    state: dict[torch.Tensor, Any]

    def copied(self) -> _Kept:
        """The same, apart from what undoing and training go on to change."""
        return _Kept(self.values, copied(self.gathered), self.state)


class Initialisation:
    """Draws new initial weights for layers; the last time can be undone.

    he: normal with variance 2 / fan_in (He et al. 2015). xavier: uniform (Glorot and Bengio
    2010). orthogonal: Saxe et al. 2013. They draw the matrices of linear, convolutional,
    recurrent and attention layers (each gate for itself) and set biases to 0. default: what
    the layer does when it is built. Layers with a parametrization (weight norm, spectral
    norm) are left out.

    Attributes:
        layers: layers that can be drawn anew, by name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = {name: module for name, module in layers(model) if _plain(module)}
        self._kept: _Kept | None = None

    @property
    def undoable(self) -> bool:
        """Whether there is a re-initialisation to undo."""
        return self._kept is not None

    def kinds(self, layer: str) -> tuple[str, ...]:
        """What a layer can be initialised with."""
        return KINDS if isinstance(self.layers[layer], WITH_MATRICES) else ("default",)

    def draw(self, kinds: Mapping[str, str], optimizer: torch.optim.Optimizer) -> None:
        """Draw layers anew, in place, and clear what the optimizer gathered for them.

        Random numbers come from torch's global generators, layer by layer.

        Args:
            kinds: he, xavier, orthogonal or default, by layer.
        """
        modules = {self.layers[name]: kind for name, kind in kinds.items()}
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        values = [(tensor, tensor.detach().clone()) for tensor in dict.fromkeys(tensors)]
        for module, kind in modules.items():
            _draw(module, kind)
        state = optimizer.state
        gathered = {tensor: state.pop(tensor, None) for tensor, _ in values}
        self._kept = _Kept(values, gathered, state)

    def undo(self) -> None:
        """Put back what the last re-initialisation overwrote; weights and optimizer state."""
        if self._kept is None:
            return
        with torch.no_grad():
            for tensor, value in self._kept.values:
                tensor.copy_(value)
        for tensor, gathered in self._kept.gathered.items():
            self._kept.state.pop(tensor, None)
            if gathered is not None:
                self._kept.state[tensor] = gathered
        self._kept = None

    def capture(self) -> _Kept | None:
        """A copy of what could be undone, for `restore`."""
        return None if self._kept is None else self._kept.copied()

    def restore(self, kept: _Kept | None) -> None:
        """Let that be undone which could be when it was captured."""
        self._kept = None if kept is None else kept.copied()


def _plain(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    parametrized = "parametrizations" in module._modules or (
        isinstance(weight, torch.Tensor) and not isinstance(weight, nn.Parameter)
    )
    return (
        not parametrized and any(True for _ in module.parameters()) and _reset(module) is not None
    )


def _reset(module: nn.Module) -> Callable[[], None] | None:
    found = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return found if callable(found) else None


def _draw(module: nn.Module, kind: str) -> None:
    if kind == "default":
        reset = _reset(module)
        assert reset is not None  # such layers are not in the list: _plain
        reset()
        return
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim < 2:
                parameter.zero_()
            elif "weight" in name:
                for matrix in _matrices(module, name, parameter):
                    SCHEMES[kind](matrix)


def _matrices(module: nn.Module, name: str, parameter: nn.Parameter) -> Iterator[torch.Tensor]:
    gates = GATES.get(type(module), 1) if name.startswith(STACKED) else 1
    yield from parameter.chunk(gates)
