"""Stable names of the layers and parameters of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.loss import _Loss

COMPILE_WRAPPER = "_orig_mod"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
UNMEASURED_LAYERS = (*DROPOUTS, nn.Identity, nn.Flatten, nn.Unflatten, _Loss)


class Layer(NamedTuple):
    """A module with its name: the path that `named_modules` gives it.

    The prefixes of `torch.compile` are removed, so a compiled model has the names of the
    original. A model that is itself a single layer has the name of its class in lowercase
    letters.
    """

    name: str
    module: nn.Module


def every_module(model: nn.Module) -> tuple[Layer, ...]:
    """All modules in the order of registration, the model itself first, shared ones once."""
    return tuple(
        Layer(name or _root_name(model), module) for name, module in _walk(model, "", set())
    )


def layers(model: nn.Module) -> tuple[Layer, ...]:
    """Modules without submodules, in the order of registration, shared ones once.

    `nn.MultiheadAttention` counts as one layer, since it never calls the layer inside of it,
    and so does a layer with a parametrized weight. Containers are no layers, even empty ones.
    """
    return tuple(
        layer
        for layer in every_module(model)
        if not _children(layer.module) and not isinstance(layer.module, CONTAINERS)
    )


def measured_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Layers whose activations are measured: not dropout, reshaping, identity or loss."""
    return tuple(
        layer for layer in layers(model) if not isinstance(layer.module, UNMEASURED_LAYERS)
    )


def hooked_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Layers whose activations are measured by hooks in a step of training.

    Hooks inside of a compiled module would become a part of the compiled program, and change its
    numbers and its number of compilations.
    """
    inside = compiled_parts(model)
    return tuple(layer for layer in measured_layers(model) if layer.module not in inside)


def compiled_parts(model: nn.Module) -> set[nn.Module]:
    """Compiled modules, those of TorchScript too, and all modules inside of them."""
    compiled = [one for one in model.modules() if is_compiled(one) or is_script(one)]
    return {part for module in compiled for part in module.modules()}


def is_script(module: nn.Module) -> bool:
    """True for a module of TorchScript, which takes no hooks."""
    return isinstance(module, torch.jit.ScriptModule)


def trainable(model: nn.Module) -> tuple[tuple[str, nn.Parameter], ...]:
    """Parameters that require a gradient, in the order of registration, shared ones once."""
    return tuple(
        (stable_name(name), parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    )


def stable_name(path: str) -> str:
    """A dotted path without the prefixes of `torch.compile`."""
    return ".".join(part for part in path.split(".") if part != COMPILE_WRAPPER)


def within(name: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are `name` or inside the module of that name."""
    return [other for other in names if other == name or other.startswith(f"{name}.")]


def layer_title(layer: Layer) -> str:
    """Name and class of a layer, for a sentence."""
    return f"{layer.name or 'the model'} ({type(layer.module).__name__})"


def reason_sentences(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each reason, about the first of the layers it applies to."""
    return [
        f"{titles[0]}{f' and {len(titles) - 1} more' if len(titles) > 1 else ''} {reason}"
        for reason, titles in notes.items()
    ]


def is_compiled(module: nn.Module) -> bool:
    """True if `torch.compile` wrapped this module or `.compile()` was called on it."""
    return COMPILE_WRAPPER in module._modules or module._compiled_call_impl is not None


def _root_name(model: nn.Module) -> str:
    while COMPILE_WRAPPER in model._modules:
        model = model.get_submodule(COMPILE_WRAPPER)
    return "" if _children(model) else type(model).__name__.lower()


def _walk(module: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    if module in seen:
        return
    seen.add(module)
    # The wrapper and the wrapped module share a name; the wrapped one is the layer.
    if COMPILE_WRAPPER not in module._modules:
        yield path, module
    for key, child in _children(module):
        step = path if key == COMPILE_WRAPPER else f"{path}.{key}".lstrip(".")
        yield from _walk(child, step, seen)


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(module, nn.MultiheadAttention):
        return []
    return [
        (key, child)
        for key, child in module._modules.items()
        if child is not None and key != "parametrizations"
    ]
