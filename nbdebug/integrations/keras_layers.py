"""Layers of a Keras model as modules of torch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
from torch import nn


class LayerView(nn.Module):
    """A layer of Keras with its weights and the layers in it; hooks on it see its calls.

    Keras calls `call` of a layer and keeps layers in lists, so that torch sees neither calls nor
    layers.
    """

    def __init__(self, layer: Any) -> None:
        # Of a dropout layer, too: it has its probability from Keras.
        nn.Module.__init__(self)
        # Who searches a module for state does not find all of Keras here.
        self._layer = weakref.ref(layer)
        if isinstance(layer, keras.layers.TorchModuleWrapper):
            self.add_module("module", layer.module)
            return
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            self.register_parameter(_free(self._parameters, variable.name), variable.value)
        for inner in layer._layers:
            if isinstance(inner, keras.layers.InputLayer):
                continue
            self.add_module(_free(self._modules, inner.name), view_of(inner))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        layer = self._layer()
        assert layer is not None
        return type(layer).call(layer, *args, **kwargs)

    def layers(self) -> Iterator[tuple[Any, LayerView]]:
        """Layers, and what stands for them, from the outermost one on."""
        for module in self.modules():
            if isinstance(module, LayerView) and (layer := module._layer()) is not None:
                yield layer, module


class DropoutView(LayerView, nn.Dropout):
    """A dropout layer of Keras, whose probability is called `rate` there."""

    inplace = False

    @property
    def p(self) -> float:
        layer = self._layer()
        return 0.0 if layer is None else float(layer.rate)

    @p.setter
    def p(self, value: float) -> None:
        if (layer := self._layer()) is not None:
            layer.rate = value


class ModelView(LayerView):
    """A model of Keras, with all that it draws random numbers from."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        held = {id(parameter) for parameter in self.parameters()}
        for number, variable in enumerate(model.variables):
            value = variable.value
            if id(value) not in held and isinstance(value, nn.Parameter):
                self.register_parameter(f"state_{number}", value)

    def attach(self) -> Callable[[], None]:
        """Let the hooks of each layer see its calls, until what is returned is called."""
        held = []
        for layer, view in self.layers():
            if view is not self and "call" not in vars(layer):
                # Around torch's and Keras' __setattr__, which track what they are given.
                vars(layer)["call"] = _calling(view)
                held.append(layer)

        def detach() -> None:
            while held:
                del vars(held.pop())["call"]

        return detach


def _calling(view: LayerView) -> Callable[..., Any]:
    return lambda *args, **kwargs: view(*args, **kwargs)


def view_of(layer: Any) -> LayerView:
    """Make the view of a layer, of a class with its name."""
    # A layer of rate 0 has nothing to draw random numbers from.
    drops = isinstance(layer, keras.layers.Dropout) and layer.rate > 0
    base = DropoutView if drops else LayerView
    made: LayerView = type(type(layer).__name__, (base,), {})(layer)
    return made


def _free(taken: Any, name: str) -> str:
    """The name, or one like it that is free and has no dots."""
    name = name.replace(".", "_").replace("/", "_") or "layer"
    number, found = 1, name
    while found in taken:
        number, found = number + 1, f"{name}_{number + 1}"
    return found
