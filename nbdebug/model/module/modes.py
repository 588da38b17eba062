"""Training and eval mode of the modules of a model, as it was handed over."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from nbdebug.model.module.names import DROPOUTS, every_module, layer_title

WITH_DROPOUT = (nn.RNNBase, nn.MultiheadAttention)


def depends_on_mode(module: nn.Module) -> bool:
    """True if a layer of torch.nn works differently in eval mode: Dropout, BatchNorm, ..."""
    if isinstance(module, DROPOUTS):
        return module.p > 0
    if isinstance(module, _NormBase):
        return bool(module.track_running_stats)
    if isinstance(module, WITH_DROPOUT):
        return module.dropout > 0
    return isinstance(module, nn.RReLU)


class Modes:
    """Modes in which the modules of a model are trained.

    Args:
        model: as it was handed over.

    Attributes:
        whole: True if the model itself was in eval mode.
        resting: layers that depend on the mode and were in eval mode, for a sentence.
        current: `as_passed`, or `train` after `model.train()`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._passed = [(module, module.training) for module in model.modules()]
        self.whole = not model.training
        self.resting = self._resting()
        self.current = "as_passed"
        self._known = set(self.resting)
        # True while there are modules that came after the last call of `set`.
        self._behind = False

    def follow(self) -> None:
        """Take modules that the user's code has added, in the mode that they have now."""
        known = {module for module, _ in self._passed}
        fresh = [
            (module, module.training) for module in self._model.modules() if module not in known
        ]
        if fresh:
            self._passed += fresh
            self.resting = tuple(dict.fromkeys((*self.resting, *self._resting())))
            self._behind = True

    def _resting(self) -> tuple[str, ...]:
        return tuple(
            layer_title(layer)
            for layer in every_module(self._model)
            if not layer.module.training and depends_on_mode(layer.module)
        )

    def newly_resting(self) -> tuple[str, ...]:
        """Layers that depend on the mode and were put into eval mode since the last call."""
        resting = self._resting()
        found = tuple(title for title in resting if title not in self._known)
        self._known = set(resting)
        return found

    def set(self, mode: str) -> None:
        """Call `model.train()`, or put every module back into the mode it was passed in."""
        if mode == self.current and not self._behind:
            return
        self.current, self._behind = mode, False
        if mode == "train":
            self._model.train()
        else:
            for module, training in self._passed:
                module.training = training
        self._known = set(self._resting())
