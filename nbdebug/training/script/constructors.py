"""Expressions that build a model."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

from torch import nn

from nbdebug.errors import ScriptError
from nbdebug.model.module.settings import settings_of
from nbdebug.model.source_code import Sources

CONTAINERS = (nn.Sequential, nn.ModuleList)


def expression(model: nn.Module, sources: Sources) -> str:
    """Return a Python expression that builds a model of the same layers.

    Layers of torch.nn are built from their repr; a user-defined class is copied from its source
    if its constructor needs no argument.

    Raises:
        ScriptError: a constructor needs arguments, which are unknown.
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
        f"The arguments of {kind.__name__} are unknown. Give the expression that builds it: "
        f'dbg.script(path, model="{kind.__name__}(...)").'
    )


def leaf(layer: nn.Module, sources: Sources) -> str:
    """Return the expression that builds a layer of torch.nn.

    Raises:
        ScriptError: the repr of the layer does not build it.
    """
    sources.imports["from torch import nn"] = None
    # The repr has texts without quotes.
    said = re.sub(r"=([a-z]\w*)(?=,|$)", r"='\1'", settings_of(layer))
    text = f"nn.{type(layer).__name__}({said})"
    try:
        positional, named = _literals(said)
        built = getattr(nn, type(layer).__name__)(*positional, **named)
    except Exception as error:
        raise ScriptError(
            f"{text} does not build that layer ({error}). Give the expression that builds it: "
            'dbg.script(path, model="...").'
        ) from error
    if repr(built) != repr(layer) or {n: p.shape for n, p in built.named_parameters()} != {
        n: p.shape for n, p in layer.named_parameters()
    }:
        raise ScriptError(
            f"{text} builds another layer. Give the expression for the model: "
            'dbg.script(path, model="...").'
        )
    return text


def _literals(arguments: str) -> tuple[list[Any], dict[str, Any]]:
    """Values of arguments that are literals.

    A layer says its attributes, which may come from a file: nothing else is evaluated or written.
    """
    call = ast.parse(f"f({arguments})", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"{arguments} are no arguments")
    if any(word.arg is None for word in call.keywords):
        raise ValueError(f"{arguments} are no literals")
    named = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    return [ast.literal_eval(one) for one in call.args], named


def _needs_nothing(kind: type) -> bool:
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        return False
    wanted = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(p.default is not p.empty or p.kind in wanted for p in parameters)
