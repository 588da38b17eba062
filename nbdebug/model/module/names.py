"""Stable names of the layers and parameters of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import nn
from torch.nn.modules.loss import _Loss

WRAPPER = "_orig_mod"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
UNMEASURED = (*DROPOUTS, nn.Identity, nn.Flatten, nn.Unflatten, _Loss)


class Layer(NamedTuple):
    """A module with its name: the path that `named_modules` gives it.

    What `torch.compile` puts into the path is left out, so a compiled model has the names
    of the plain one. A model that is itself a single layer is called by its class in
    lowercase letters.
    """

    name: str
    module: nn.Module


def every_module(model: nn.Module) -> tuple[Layer, ...]:
    """Every module in the order of registration, the model itself first, shared ones once."""
    return tuple(
        Layer(name or _root_name(model), module) for name, module in _walk(model, "", set())
    )


def layers(model: nn.Module) -> tuple[Layer, ...]:
    """Modules without modules inside, in the order of registration, shared ones once.

    `nn.MultiheadAttention` counts as one layer, since it never calls the layer inside it;
    so does a layer whose weight is parametrized. Containers are no layers, even empty ones.
    """
    return tuple(
        layer
        for layer in every_module(model)
        if not _children(layer.module) and not isinstance(layer.module, CONTAINERS)
    )


def measured_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Layers whose activations say something: not dropout, reshaping, identity or loss."""
    return tuple(layer for layer in layers(model) if not isinstance(layer.module, UNMEASURED))


def trainable(model: nn.Module) -> tuple[tuple[str, nn.Parameter], ...]:
    """Parameters that require a gradient, in the order of registration, shared ones once."""
    return tuple(
        (stable_name(name), parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    )


def stable_name(path: str) -> str:
    """A dotted path without what `torch.compile` puts into it."""
    return ".".join(part for part in path.split(".") if part != WRAPPER)


def within(name: str, names: Iterable[str]) -> list[str]:
    """Of all names, that of a module and those of what is inside it."""
    return [other for other in names if other == name or other.startswith(f"{name}.")]


def title(layer: Layer) -> str:
    """What to call a layer in a sentence."""
    return f"{layer.name or 'the model'} ({type(layer.module).__name__})"


def sentences(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """One sentence for each ending, about the first of those it is said of."""
    return [
        f"{titles[0]}{f' and {len(titles) - 1} more' if len(titles) > 1 else ''} {words}"
        for words, titles in notes.items()
    ]


def is_compiled(module: nn.Module) -> bool:
    """Whether `torch.compile` wrapped this module or `.compile()` was called on it."""
    return WRAPPER in module._modules or module._compiled_call_impl is not None


def _root_name(model: nn.Module) -> str:
    while WRAPPER in model._modules:
        model = model.get_submodule(WRAPPER)
    return "" if _children(model) else type(model).__name__.lower()


def _walk(module: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    if module in seen:
        return
    seen.add(module)
    # The wrapper and what it wraps share a name; the wrapped one is the layer.
    if WRAPPER not in module._modules:
        yield path, module
    for key, child in _children(module):
        step = path if key == WRAPPER else f"{path}.{key}".lstrip(".")
        yield from _walk(child, step, seen)


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    if isinstance(module, nn.MultiheadAttention):
        return []
    return [
        (key, child)
        for key, child in module._modules.items()
        if child is not None and key != "parametrizations"
    ]
