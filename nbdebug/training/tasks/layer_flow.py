"""Order in which the layers of a model are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.results.network import Network, NetworkLayer
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import (
    Layer,
    compiled_parts,
    every_module,
    is_script,
    layers,
    stable_name,
)
from nbdebug.training.engine.session import Session

NOTHING = nullcontext()


class LayerFlow:
    """Up-to-date `Network` in History.

    The order is that of registration until the first step, and is observed with forward hooks
    at the first step and at the first step after a change of the layer order.

    Args:
        note_call: gets the arguments of the first call of the model in those steps.
    """

    def __init__(
        self, session: Session, history: History, note_call: Callable[[Any], None]
    ) -> None:
        self._session, self._history, self._note_call = session, history, note_call
        self._observed: str | None = None
        self.restart()

    def restart(self) -> None:
        """Publish the order again, and observe it at the next step."""
        self._observed = None
        self._publish(layers(self._session.model))

    def observing(self) -> AbstractContextManager[None]:
        """Observe the order of the calls inside, if it may have changed."""
        order = self._session.layer_order.current
        return NOTHING if order == self._observed else self._observing(order)

    @contextmanager
    def _observing(self, order: str) -> Iterator[None]:
        found = layers(self._session.model)
        calls: list[str] = []
        inside = compiled_parts(self._session.model)
        handles = [
            before_forward(layer.module, lambda *_, name=layer.name: calls.append(name))
            for layer in found
            if layer.module not in inside
        ]
        shapes = dict[str, tuple[int, ...]]()
        handles += [
            after_forward(one.module, partial(_note_shape, shapes, one.name))
            for one in every_module(self._session.model)
            if one.module not in inside and not is_script(one.module)
        ]
        model, given = self._session.model, list[Any]()

        def note(_: Any, args: Any, named: Any) -> None:
            if not given:
                given.append((args, named))
                self._note_call(given[0])

        if model not in inside:
            handles.append(before_forward(model, note, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        if calls:
            self._observed = order
            root = every_module(self._session.model)[0].name
            named = [("" if name == root else name, shape) for name, shape in shapes.items()]
            self._publish(in_order(found, calls), tuple(named))

    def _publish(
        self, found: Sequence[Layer], shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ) -> None:
        made = tuple(
            NetworkLayer(
                layer.name, type(layer.module).__name__, tuple(_parameter_names(layer, found))
            )
            for layer in found
        )
        self._history.set_result(Network(made, shapes))


def _note_shape(
    shapes: dict[str, tuple[int, ...]], name: str, module: nn.Module, given: Any, output: Any
) -> None:
    if name not in shapes:
        first = next(tensors_of(output), None)
        shapes[name] = () if first is None else tuple(first.shape)


def in_order(found: Sequence[Layer], calls: Sequence[str]) -> list[Layer]:
    """Sort layers by their first call; one that was not called stays behind its predecessor."""
    first: dict[str, int] = {}
    for position, name in enumerate(calls):
        first.setdefault(name, position)
    keys, before = {}, -1
    for layer in found:
        before = first.get(layer.name, before)
        keys[layer.name] = before
    return sorted(found, key=lambda layer: keys[layer.name])


def _parameter_names(layer: Layer, found: Sequence[Layer]) -> Iterator[str]:
    alone = len(found) == 1 and layer.name == type(layer.module).__name__.lower()
    for name, _ in layer.module.named_parameters():
        yield stable_name(name if alone else f"{layer.name}.{name}")
