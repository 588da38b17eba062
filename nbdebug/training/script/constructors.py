"""The expression that builds a model."""

from __future__ import annotations

import inspect
import re
import textwrap

from torch import nn

from nbdebug.errors import ScriptError
from nbdebug.model.source_code import Sources

CONTAINERS = (nn.Sequential, nn.ModuleList)


def expression(model: nn.Module, sources: Sources) -> str:
    """Python that builds a model of the same layers.

    Layers of torch.nn are built as they print themselves; a class of the user's own is taken
    from its source when it needs no argument.

    Raises:
        ScriptError: it needs arguments, which nobody knows any more.
    """
    kind = type(model)
    if kind in CONTAINERS:
        sources.imports["from torch import nn"] = None
        inner = [expression(child, sources) for child in model.children()]
        keys = list(model._modules)
        if keys != [str(i) for i in range(len(keys))]:
            sources.imports["from collections import OrderedDict"] = None
            pairs = ", ".join(f"({k!r}, {text})" for k, text in zip(keys, inner, strict=True))
            return f"nn.{kind.__name__}(OrderedDict([{pairs}]))"
        if kind is nn.ModuleList:
            return f"nn.ModuleList([{', '.join(inner)}])"
        body = textwrap.indent(",\n".join(inner), "    ")
        return f"nn.Sequential(\n{body},\n)"
    if kind.__module__.startswith("torch.nn") and not list(model.children()):
        return leaf(model, sources)
    if _needs_nothing(kind):
        return f"{sources.add(kind)}()"
    raise ScriptError(
        f"How {kind.__name__} was built is not known: its __init__ takes arguments. Say it: "
        f'dbg.script(path, model="{kind.__name__}(...)").'
    )


def leaf(layer: nn.Module, sources: Sources) -> str:
    """The expression that builds a layer of torch.nn.

    Raises:
        ScriptError: what the layer prints of itself does not build it.
    """
    sources.imports["from torch import nn"] = None
    # Words are printed without their quotes.
    said = re.sub(r"=([a-z]\w*)(?=,|$)", r"='\1'", layer.extra_repr())
    text = f"nn.{type(layer).__name__}({said})"
    try:
        # What torch prints of its own layers is what builds them.
        built = eval(text, {"nn": nn, "__builtins__": {}})
    except Exception as error:
        raise ScriptError(
            f"{text} does not build that layer ({error}). Say how the model is built: "
            'dbg.script(path, model="...").'
        ) from error
    if repr(built) != repr(layer) or {n: p.shape for n, p in built.named_parameters()} != {
        n: p.shape for n, p in layer.named_parameters()
    }:
        raise ScriptError(
            f"{text} builds another layer. Say how the model is built: "
            'dbg.script(path, model="...").'
        )
    return text


def _needs_nothing(kind: type) -> bool:
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        return False
    wanted = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(p.default is not p.empty or p.kind in wanted for p in parameters)
