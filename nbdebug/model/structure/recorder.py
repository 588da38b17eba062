"""Recorder of one call of a model: its modules and functions, and the tensors between them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils.hooks import RemovableHandle

from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import describe_error
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_forward, before_forward
from nbdebug.model.module.names import Layer, every_module, is_script, layers
from nbdebug.model.precision import dense, sizes_of

# Functions that give the values of their input in another shape, type or place, or only look at it.
RESHAPING = frozenset({
    "T", "__get__", "__getitem__", "__setitem__", "broadcast_to", "chunk", "clone", "contiguous",
    "cpu", "cuda", "detach", "dim", "double", "expand", "expand_as", "flatten", "float", "half",
    "is_contiguous", "is_floating_point", "mT", "movedim", "narrow", "numel", "permute", "repeat",
    "requires_grad_", "reshape", "retain_grad", "select", "size", "split", "squeeze", "swapaxes",
    "to", "transpose", "type", "type_as", "unbind", "unflatten", "unsqueeze", "view", "view_as",
})  # fmt: skip
# Their values do not depend on the tensor that they are called with.
FACTORIES = ("new_", "empty_like", "full_like", "ones_like", "rand", "zeros_like")
MAX_PARTS = 5_000
PARAMETER = "Parameter"
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class RecordedPart:
    """A module without submodules, or a function that is called between two of them.

    Attributes:
        name: path of the module; of a function the path of the module that calls it, its name,
            and its number among the functions of that name there.
        kind: class of the module, or name of the function; module: None for a function.
        parameter: the one that a function takes and no layer holds.
        inputs: positions of the parts whose outputs it takes, of earlier and later ones.
        calls: how often it was called; seconds: spent in it.
        output: copy of the first tensor that its first call gave, None if there was none.
        gradient: of what is differentiated afterwards, for that tensor; None without any.
        error: of its call, "" if it returned.
    """

    name: str
    kind: str
    module: nn.Module | None = None
    parameter: torch.Tensor | None = None
    inputs: set[int] = field(default_factory=set)
    calls: int = 0
    seconds: float = 0.0
    output: torch.Tensor | None = None
    gradient: torch.Tensor | None = None
    given: tuple[tuple[int, ...], ...] = ()
    error: str = ""


class Recorder:
    """Parts of a model in the order of their first call, and which part gives what to which.

    Tensors are followed by identity, so control flow of any kind is seen as it ran. What
    leaves torch, as to NumPy, or goes through a module of TorchScript, which takes no hooks, comes
    back without a connection. Compiled modules must run uncompiled, since compiled code skips
    hooks.

    Args:
        synchronize: waits for the device, so that times are those of the parts.
        watched: name of a part whose arguments are kept.

    Attributes:
        arguments: of the first call of the watched part, None if it was not called.
        parts: in the order of their first call; entries: positions of those that take the inputs
            of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        synchronize: Callable[[], None] = lambda: None,
        watched: str = "",
    ) -> None:
        self.model, self._synchronize, self._watched = model, synchronize, watched
        self.arguments: Arguments | None = None
        self.parts: list[RecordedPart] = []
        self.entries: set[int] = set()
        self._positions: dict[str, int] = {}
        # What each tensor comes from; the tensors are kept, so that no other takes their place.
        self._producers: dict[int, frozenset[int]] = {}
        self._kept: list[torch.Tensor] = []
        self._given: set[int] = set()
        self._within: list[str] = []
        self._counted: list[Counter[str]] = [Counter()]
        self._open: list[tuple[int, float]] = []
        # Name of the module, and place of the part, whose call gave nothing: perhaps it raised.
        self._stopped: tuple[str, int | None] | None = None
        # Parameters that no layer holds, such as the embedding of positions.
        held = {id(one) for layer in layers(model) for one in layer.module.parameters()}
        self._loose = {id(p): n for n, p in model.named_parameters() if id(p) not in held}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls of the model inside.

        An exception of the model is marked at the part that raised it, and goes on.
        """
        single = {layer.module for layer in layers(self.model)}
        with ExitStack() as stack:
            hook = before_forward(self.model, self._take_inputs, with_kwargs=True)
            stack.callback(hook.remove)
            for layer in every_module(self.model):
                for handle in self._hooks(layer, layer.module in single):
                    stack.callback(handle.remove)
            stack.enter_context(_Functions(self))
            try:
                yield
            except Exception as error:
                self._fail(error)
                raise
            for part in self.parts:
                # The model caught it.
                part.error = ""

    @property
    def largest(self) -> int:
        """Number of values in the largest output of a part."""
        return max((one.output.numel() for one in self.parts if one.output is not None), default=0)

    def _take_inputs(self, module: nn.Module, args: Any, named: Any) -> None:
        for tensor in tensors_of((args, named)):
            if id(tensor) not in self._producers:
                self._keep(tensor, frozenset())
                self._given.add(id(tensor))

    def _hooks(self, layer: Layer, single: bool) -> tuple[RemovableHandle, ...]:
        module, name = layer.module, layer.name
        if is_script(module):
            return ()
        enter, leave = (self._begin, self._end) if single else (self._enter, self._leave)
        return (
            before_forward(module, partial(enter, name), with_kwargs=True),
            after_forward(module, partial(leave, name), with_kwargs=True, always_call=True),
        )

    def _enter(self, name: str, module: nn.Module, args: Any, named: Any) -> None:
        self._stopped = None
        self._within.append("" if module is self.model else name)
        self._counted.append(Counter())

    def _leave(self, name: str, module: nn.Module, args: Any, named: Any, outputs: Any) -> None:
        within = self._within.pop()
        self._counted.pop()
        if outputs is None and self._stopped is None:
            self._stopped = within or name, None

    def _begin(self, name: str, module: nn.Module, args: Any, named: Any) -> None:
        self._stopped = None
        if not self._open:
            place = self._part(name, type(module).__name__, module)
            self._connect(place, (args, named))
            self._synchronize()
            self._open.append((place, time.perf_counter()))
        else:
            # A layer that calls another one, as MultiheadAttention would.
            self._open.append((-1, 0.0))

    def _end(self, name: str, module: nn.Module, args: Any, named: Any, outputs: Any) -> None:
        place, start = self._open.pop()
        if place >= 0 and outputs is None and self._stopped is None:
            self._stopped = name, place
        if place >= 0:
            self._synchronize()
            self._finish(place, time.perf_counter() - start, outputs)

    def function(self, call: Callable[[], Any], name: str, given: Arguments) -> Any:
        """Call a function of torch between two layers, and record it as a part if it is one."""
        outside = not self._within or bool(self._open)
        if outside or len(self.parts) >= MAX_PARTS or name.startswith(FACTORIES):
            return call()
        sources = self._sources(given)
        known = bool(sources) or any(id(tensor) in self._given for tensor in tensors_of(given))
        if not known:
            return call()
        start = time.perf_counter()
        # Inside of a function of torch no other one is a part.
        self._open.append((-1, 0.0))
        error: Exception | None = None
        try:
            outputs = call()
        except Exception as raised:
            outputs, error = None, raised
        self._open.pop()
        seconds = time.perf_counter() - start
        found = list(tensors_of(outputs))
        if error is None and (name in RESHAPING or not found):
            for tensor in found:
                self._keep(tensor, sources)
                self._given |= set() if sources else {id(tensor)}
            return outputs
        number = self._counted[-1][name] = self._counted[-1][name] + 1
        within = self._within[-1]
        title = f"{name}#{number}" if number > 1 else name
        place = self._part(f"{within}.{title}" if within else title, name, None)
        self._connect(place, given)
        if error is not None:
            self.parts[place].error = describe_error(error)
            raise error
        self._finish(place, seconds, outputs)
        return outputs

    def _part(self, name: str, kind: str, module: nn.Module | None) -> int:
        if name not in self._positions:
            self._positions[name] = len(self.parts)
            self.parts.append(RecordedPart(name, kind, module))
        return self._positions[name]

    def _connect(self, place: int, given: Arguments) -> None:
        tensors = list(tensors_of(given))
        if self.parts[place].name == self._watched and self.arguments is None:
            self.arguments = given
        self.parts[place].inputs |= self._sources(given)
        if not self.parts[place].calls:
            self.parts[place].given = tuple(map(sizes_of, tensors))
        if any(id(tensor) in self._given for tensor in tensors):
            self.entries.add(place)

    def _finish(self, place: int, seconds: float, outputs: Any) -> None:
        part, found = self.parts[place], list(tensors_of(outputs))
        if not part.calls and found:
            # A layer behind may overwrite it in place.
            part.output = dense(found[0].detach()).clone()
            if found[0].requires_grad:
                found[0].register_hook(partial(setattr, part, "gradient"))
        part.calls += 1
        part.seconds += seconds
        for tensor in found:
            self._given.discard(id(tensor))
            self._keep(tensor, frozenset({place}))

    def _sources(self, given: Any) -> frozenset[int]:
        found: set[int] = set()
        for tensor in tensors_of(given):
            if id(tensor) in self._loose and id(tensor) not in self._producers:
                place = self._part(self._loose[id(tensor)], PARAMETER, None)
                self.parts[place].parameter = tensor
                self._finish(place, 0.0, tensor)
            found |= self._producers.get(id(tensor), frozenset())
        return frozenset(found)

    def _keep(self, tensor: torch.Tensor, sources: frozenset[int]) -> None:
        self._producers[id(tensor)] = sources
        self._kept.append(tensor)

    def _fail(self, error: Exception) -> None:
        """Mark the part that raised; what was raised outside of the model is no part's."""
        if self._stopped is None or any(part.error for part in self.parts):
            return
        name, place = self._stopped
        if place is None:
            # A module that calls others raised in its own code.
            place = self._part(name or "forward", type(self.model).__name__, None)
            if self.parts[:-1] and not self.parts[place].inputs:
                self.parts[place].inputs = {len(self.parts) - 2}
        self.parts[place].error = describe_error(error)


class _Functions(TorchFunctionMode):
    """Mode that shows every call of a function of torch to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        name = _short_name(func)
        return self._recorder.function(lambda: func(*args, **named), name, (args, named))


def _short_name(func: Any) -> str:
    """Name of a function as one writes it: "add" for `__add__`, "relu" for `torch.relu_`."""
    name = getattr(func, "__name__", "") or (resolve_name(func) or "function").rpartition(".")[2]
    if name in RESHAPING:
        return name
    bare = name.strip("_")
    return bare[1:] if bare in ("radd", "rsub", "rmul", "iadd", "isub", "imul") else bare
