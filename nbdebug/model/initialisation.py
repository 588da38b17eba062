"""Re-initialisation of layers of a model in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.nn.modules.conv import _ConvNd

from nbdebug.model.module.names import layers
from nbdebug.model.state.optimizer import copy_nested

SCHEMES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "he": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": init.xavier_uniform_,
    "orthogonal": init.orthogonal_,
}
SCHEME_NAMES = (*SCHEMES, "default")
LAYERS_WITH_MATRICES = (
    nn.Linear, nn.Bilinear, _ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention,
)  # fmt: skip
GATE_COUNTS: dict[type[nn.Module], int] = {
    nn.LSTM: 4,
    nn.GRU: 3,
    nn.LSTMCell: 4,
    nn.GRUCell: 3,
    nn.MultiheadAttention: 3,
}
STACKED_WEIGHTS = ("weight_ih", "weight_hh", "in_proj_weight")


@dataclass(frozen=True)
class Overwritten:
    """Tensors and optimizer state that the last re-initialisation overwrote.

    Attributes:
        values: the tensors, each with a copy of its old values.
        optimizer_state: the optimizer's state by parameter, None for a parameter without any.
        state: the optimizer's own mapping, to which that state belongs.
    """

    values: list[tuple[torch.Tensor, torch.Tensor]]
    optimizer_state: dict[torch.Tensor, Any]
    state: dict[torch.Tensor, Any]

    def copy(self) -> Overwritten:
        """A copy that undoing and training do not change."""
        return Overwritten(self.values, copy_nested(self.optimizer_state), self.state)


class Initialisation:
    """Draws new initial weights for layers; the last draw can be undone.

    he: normal with variance 2 / fan_in (He et al. 2015). xavier: uniform (Glorot and Bengio
    2010). orthogonal: Saxe et al. 2013. They draw the matrices of linear, convolutional,
    recurrent and attention layers (each gate by itself) and set biases to 0. default: the
    initialisation of the layer's constructor. Layers with a parametrization (weight norm,
    spectral norm) are excluded.

    Attributes:
        layers: layers that can be re-initialised, by name.
    """

    def __init__(self, model: nn.Module) -> None:
        self._kept: Overwritten | None = None
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take the layers that the model has now."""
        self.layers = {name: module for name, module in layers(model) if _can_be_reset(module)}
        self._there = {id(t): t for t in (*model.parameters(), *model.buffers())}

    @property
    def undoable(self) -> bool:
        """True if there is a re-initialisation to undo."""
        return self._kept is not None

    @property
    def exchanged(self) -> bool:
        """True if the model has lost a tensor that the last re-initialisation overwrote."""
        kept = [] if self._kept is None else self._kept.values
        return any(id(tensor) not in self._there for tensor, _ in kept)

    def kinds(self, layer: str) -> tuple[str, ...]:
        """Names of the schemes that a layer can be initialised with."""
        return (
            SCHEME_NAMES if isinstance(self.layers[layer], LAYERS_WITH_MATRICES) else ("default",)
        )

    def draw(self, kinds: Mapping[str, str], optimizer: torch.optim.Optimizer) -> None:
        """Re-initialise layers in place, and clear their optimizer state.

        Random numbers come from torch's global generators, layer by layer.

        Args:
            kinds: he, xavier, orthogonal or default, by layer.
        """
        modules = {self.layers[name]: kind for name, kind in kinds.items()}
        tensors = [t for m in modules for t in (*m.parameters(), *m.buffers())]
        values = [(tensor, tensor.detach().clone()) for tensor in dict.fromkeys(tensors)]
        for module, kind in modules.items():
            _initialise(module, kind)
        state = optimizer.state
        optimizer_state = {tensor: state.pop(tensor, None) for tensor, _ in values}
        self._kept = Overwritten(values, optimizer_state, state)

    def undo(self) -> None:
        """Restore the weights and the optimizer state that the last re-initialisation overwrote."""
        if self._kept is None:
            return
        with torch.no_grad():
            for tensor, value in self._kept.values:
                tensor.copy_(value)
        for tensor, optimizer_state in self._kept.optimizer_state.items():
            self._kept.state.pop(tensor, None)
            if optimizer_state is not None:
                self._kept.state[tensor] = optimizer_state
        self._kept = None

    def capture(self) -> Overwritten | None:
        """A copy of the undo information, for `restore`."""
        return None if self._kept is None else self._kept.copy()

    def restore(self, kept: Overwritten | None) -> None:
        """Restore the undo information of `capture`."""
        self._kept = None if kept is None else kept.copy()


def _can_be_reset(module: nn.Module) -> bool:
    # Not by getattr: a parametrization such as spectral_norm computes its weight when it is read.
    weight = vars(module).get("weight")
    parametrized = "parametrizations" in module._modules or isinstance(weight, torch.Tensor)
    return (
        not parametrized
        and any(True for _ in module.parameters())
        and _reset_function(module) is not None
    )


def _reset_function(module: nn.Module) -> Callable[[], None] | None:
    found = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return found if callable(found) else None


def _initialise(module: nn.Module, kind: str) -> None:
    if kind == "default":
        reset = _reset_function(module)
        assert reset is not None  # `layers` holds only layers with one: _can_be_reset
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
    gates = GATE_COUNTS.get(type(module), 1) if name.startswith(STACKED_WEIGHTS) else 1
    yield from parameter.chunk(gates)
