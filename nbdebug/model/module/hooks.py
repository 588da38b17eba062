"""Forward hooks that belong to one module: copies and files of it are free of them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module
from torch.utils.hooks import RemovableHandle

# Takes anything, does nothing, and can be loaded where nbdebug is not installed.
NOTHING = functools.partial(sys.audit, "nbdebug.hook_of_a_copy")


class _Hook:
    """A hook that becomes one that does nothing where its module is copied or pickled.

    A loop may copy or save its model within a step in which something is measured.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __deepcopy__(self, memo: Any) -> Any:
        return NOTHING

    def __reduce__(self) -> Any:
        return NOTHING.__reduce__()


def before_forward(
    module: nn.Module, hook: Callable[..., Any], *, with_kwargs: bool = False
) -> RemovableHandle:
    """Register a hook that is called with module and inputs before each forward."""
    return module.register_forward_pre_hook(_Hook(hook), with_kwargs=with_kwargs)


def after_forward(
    module: nn.Module,
    hook: Callable[..., Any],
    *,
    with_kwargs: bool = False,
    always_call: bool = False,
) -> RemovableHandle:
    """Register a hook that is called with module, inputs and outputs after each forward."""
    return module.register_forward_hook(
        _Hook(hook), with_kwargs=with_kwargs, always_call=always_call
    )


def remove_global(handle: RemovableHandle) -> None:
    """Remove a hook of all modules that takes keywords.

    torch keeps the number of such a hook, and warns of it afterwards.
    """
    handle.remove()
    getattr(torch_module, "_global_forward_hooks_with_kwargs", {}).pop(handle.id, None)
