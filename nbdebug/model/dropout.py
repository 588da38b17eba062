"""The dropout probabilities of a model."""

from __future__ import annotations

from torch import nn

from nbdebug.errors import ControlValueError
from nbdebug.model.module.names import DROPOUTS, every_module


class DropoutSite:
    """The dropout probability of a dropout layer, an attention layer or a recurrent layer."""

    def __init__(self, module: nn.Module, attribute: str) -> None:
        self.module = module
        self._attribute = attribute

    def get(self) -> float:
        """The probability of dropping a unit while training."""
        return float(getattr(self.module, self._attribute))

    def set(self, p: float) -> None:
        """Set the probability, from the next forward pass on.

        Args:
            p: at least 0, below 1.

        Raises:
            ControlValueError: any other value; nothing is changed.
        """
        value: object = p
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise ControlValueError(
                f"A dropout probability must be at least 0 and below 1, got {p!r}."
            )
        setattr(self.module, self._attribute, float(value))


def dropouts(model: nn.Module) -> dict[str, DropoutSite]:
    """Every dropout of a model by the name of its layer, in the order of registration.

    These are the dropout layers of torch.nn, `nn.MultiheadAttention`, and recurrent layers
    (RNN, LSTM, GRU) with more than one level: only those use their dropout probability. Calls
    of `torch.nn.functional.dropout` in the user's forward are not found.
    """
    sites: dict[str, DropoutSite] = {}
    for name, module in every_module(model):
        if isinstance(module, DROPOUTS):
            sites[name] = DropoutSite(module, "p")
        elif isinstance(module, nn.MultiheadAttention) or (
            isinstance(module, nn.RNNBase) and module.num_layers > 1
        ):
            sites[name] = DropoutSite(module, "dropout")
    return sites
