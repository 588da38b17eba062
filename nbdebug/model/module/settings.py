"""Settings that a module tells of, without running anything that moves it."""

from __future__ import annotations

from typing import Any

from torch import nn


def settings_of(module: nn.Module) -> str:
    """Text of `extra_repr`, such as "in_features=64, out_features=10, bias=True"; "" if it raises.

    A parametrized weight or bias is not computed: spectral_norm would make a power iteration.
    """
    told: Any = type(module).extra_repr
    parametrized = "parametrizations" in module._modules
    try:
        return str(told(_AsBuilt(module) if parametrized else module))
    except Exception:
        return ""


class _AsBuilt:
    """Stands in for a parametrized module: holds the originals in place of computed values."""

    def __init__(self, module: nn.Module) -> None:
        computed = module.get_submodule("parametrizations")._modules.items()
        # Several where one value is computed of several, as in weight_norm.
        held = {
            name: next(iter((*one._parameters.values(), *one._buffers.values())))
            for name, one in computed
            if one is not None
        }
        vars(self).update({**vars(module), **held})
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
