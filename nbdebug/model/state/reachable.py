"""Networks, optimizers and tensors that a function of the user can reach and change."""

from __future__ import annotations

import logging
import queue
import types
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from nbdebug.core.attributes import attribute
from nbdebug.model.source_code import (
    LIBRARIES,
    cells_bound,
    globals_of,
    is_library_file,
    is_of_library,
    used_names,
)
from nbdebug.model.state.copying import SIMPLE_TYPES, is_plain
from nbdebug.model.state.values.iterators import RESTORED_TYPES
from nbdebug.model.state.values.places import (
    ABSENT,
    GENERATOR_TYPES,
    OWNED_TYPES,
    attributes_of_parameters,
    content,
    fill,
    fills_by_chance,
    functions_in,
    handlers_of,
    held_by,
    hooks_of,
    owner_of,
    parts_of_process,
    put,
    set_in_class,
    slots,
)
from nbdebug.model.state.values.reached import (
    DATA_TYPES,
    MAX_PARTS,
    TRAINED_TYPES,
    Bind,
    Reached,
    is_carried,
    is_data,
)
from nbdebug.model.state.values.records import Records
from nbdebug.model.state.values.written import Wanted, is_batch, none_of_them
from nbdebug.model.state.wrapped_optimizer import bare_optimizer

MAX_FUNCTIONS, MAX_VALUES = 500, 20_000
# Objects of a library that hold what moves with the training, or count its batches.
HOLDERS = {
    "accelerate.accelerator.Accelerator": ("step", "scaler", "_optimizers", "_schedulers"),
    "accelerate.scheduler.AcceleratedScheduler": ("scheduler",),
    "csv.DictWriter": ("writer",),
}

# Numbers that users read as a count; all else of such an object is none of ours.
COUNTERS = {"tqdm.std.tqdm": ("n", "last_print_n"), "queue.Queue": ("unfinished_tasks",)}


def reachable(
    functions: Iterable[tuple[str, Any] | tuple[str, Any, Bind | None]],
    records: Records | None = None,
    large: Wanted = none_of_them,
) -> list[Reached]:
    """Values with a state that functions reach by closures, globals, defaults and attributes.

    Functions, methods and classes that these use are followed, unless they belong to a library,
    whose decorators are looked behind. Large tensors without gradient are data, and left alone.

    Args:
        functions: name and value, and what binds another value to the name if anything does.
        records: is shown plain numbers, lists and objects of the user's own; they are left alone
            without it.
        large: tells which large tensors without gradient are no data.
    """
    walk = _Walk(records, large)
    for root in functions:
        walk.enter(*root)
    return walk.run()


class _Walk:
    def __init__(self, records: Records | None, large: Wanted) -> None:
        self._records, self._large = records, large
        self._around: Any = None
        self._waiting: deque[tuple[str, Any, Bind | None]] = deque()
        self._seen: dict[int, Any] = {}
        self._found: list[Reached] = []
        self._aliases: list[tuple[str, Any, Bind]] = []
        self._functions = 0

    def enter(self, place: str, value: Any, bind: Bind | None = None) -> None:
        if self._records is not None:
            self._records.see(place, value, bind, self._around)
        if type(value) in SIMPLE_TYPES or value is ABSENT:
            return
        given, value = value, bare_optimizer(value)
        if id(value) not in self._seen and len(self._seen) < MAX_VALUES:
            self._seen[id(value)] = value
            # A name of a wrapper stays with it.
            self._waiting.append((place, value, bind if value is given else None))
        elif bind is not None and id(value) in self._seen and value is given:
            # Another variable that holds the same, such as a batch that is kept for the next step.
            self._aliases.append((place, value, bind))

    def run(self) -> list[Reached]:
        while self._waiting:
            place, value, bind = self._waiting.popleft()
            self._around = value
            if isinstance(value, TRAINED_TYPES):
                if not is_data(value, bind is not None, self._large):
                    self._found.append(Reached(place, value, bind))
                self._classes(value)
            elif isinstance(value, DATA_TYPES):
                self._class(type(value), functions=False)  # A step may write into what it holds.
            elif isinstance(value, types.FunctionType):
                self._function(place, value)
            elif isinstance(value, types.MethodType):
                self.enter(place, value.__func__)
                self.enter(f"{place}.self", value.__self__)
            elif isinstance(value, OWNED_TYPES):
                self.enter(place, owner_of(value))
            elif isinstance(value, partial):
                self._parts(place, (value.func, *value.args, *value.keywords.values()))
            elif bind is not None and is_carried(value):
                self._found.append(Reached(place, value, bind))
            elif isinstance(value, list | tuple | deque | set | frozenset):
                self._parts(place, value)
            elif isinstance(value, dict):
                self._dict(place, value)
            elif held := HOLDERS.get(f"{type(value).__module__}.{type(value).__name__}"):
                self._holder(place, value, held)
            elif isinstance(value, type):
                self._class(value)
            elif not isinstance(value, types.ModuleType):
                self._object(place, value)
        return self._with_aliases()

    def _with_aliases(self) -> list[Reached]:
        """Values that were found, also by their other names."""
        if not self._aliases:
            return self._found
        named = {id(value) for _, value, _ in self._aliases}
        found = [replace(one, shared=id(one.value) in named) for one in self._found]
        known = {id(one.value) for one in found}
        others = (Reached(*one, shared=True) for one in self._aliases if id(one[1]) in known)
        return [*found, *others]

    def _dict(self, place: str, value: dict[Any, Any]) -> None:
        self._parts(place, value)
        if isinstance(value, defaultdict):
            self.enter(place, value.default_factory)
        for key, part in list(value.items()):
            self.enter(f"{place}[{key!r}]", part, partial(value.__setitem__, key))

    def _classes(self, value: Any) -> None:
        """Enter the classes of a network or another value with a state, and of parameters more."""
        if isinstance(value, nn.Module | torch.Tensor):
            for root in attributes_of_parameters(value):
                self.enter(*root)
        self._see_space(value)
        for one in value.modules() if isinstance(value, nn.Module) else (value,):
            if not isinstance(one, torch.Tensor):
                self.enter(type(one).__name__, type(one))
        for place, hook in hooks_of(value):
            self.enter(place, hook)

    def _class(self, kind: type, functions: bool = True) -> None:
        for one in () if is_of_library(kind) else kind.__mro__:
            for name, member in () if is_of_library(one) else list(vars(one).items()):
                found = functions_in(member)
                for function in found if functions else ():
                    self.enter(f"{one.__name__}.{name}", function)
                if not (found or name.startswith("__")):
                    self._see(f"{one.__name__}.{name}", member, partial(set_in_class, one, name))
            self._see_space(one)

    def _see_space(self, space: Any) -> None:
        if self._records is not None:
            self._records.spaces.append(space)

    def _see(self, place: str, value: Any, bind: Bind) -> None:
        if isinstance(value, TRAINED_TYPES):
            self.enter(place, value, bind)
        elif self._records is not None:
            self._records.see(place, value, bind, None)

    def _holder(self, place: str, value: Any, held: Iterable[str]) -> None:
        for name in held:
            part = attribute(value, name, None)
            if type(part) is int:
                bind = partial(setattr, value, name)
                self._found.append(Reached(f"{place}.{name}", part, bind))
            else:
                self.enter(f"{place}.{name}", part)

    def _parts(self, place: str, parts: Iterable[Any]) -> None:
        parts = list(parts)
        if SIMPLE_TYPES.issuperset(map(type, parts)):
            return
        data = len(parts) > MAX_PARTS
        for number, part in enumerate(parts):
            if data and (is_batch(part) or (torch.is_tensor(part) and not part.requires_grad)):
                continue
            self.enter(f"{place}[{number}]", part)

    def _object(self, place: str, value: Any) -> None:
        inside = attribute(value, "__dict__", {})
        if self._records is not None and self._records.leaves(place, value):
            return
        if is_of_library(type(value)):
            self._counters(place, value)
            if self._records is not None and fills_by_chance(value):
                self._records.caches.append(value)
            # Such as a function with a cache.
            self.enter(place, inside.get("__wrapped__"))
            for handler in handlers_of(value) if isinstance(value, logging.Logger) else ():
                self.enter(f"{place}.handlers", handler)
            self.enter(f"{place}.queue", value.queue if isinstance(value, queue.Queue) else None)
            return
        self.enter(type(value).__name__, type(value))
        for name in slots(type(value)):
            self.enter(f"{place}.{name}", attribute(value, name, None))
        for name, part in list(inside.items()):
            self.enter(f"{place}.{name}", part, partial(inside.__setitem__, name))

    def _counters(self, place: str, value: Any) -> None:
        """Take the numbers of an object of a library that are a count, such as of a bar."""
        for one in type(value).__mro__:
            for name in COUNTERS.get(f"{one.__module__}.{one.__name__}", ()):
                part, bind = attribute(value, name, None), partial(setattr, value, name)
                self._see(f"{place}.{name}", part, bind)

    def _function(self, place: str, function: types.FunctionType) -> None:
        self._functions += 1
        if self._functions > MAX_FUNCTIONS:
            return
        if function.__code__.co_filename.startswith(LIBRARIES):
            return self._behind(place, function)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        bound = cells_bound(function.__code__)
        for name, cell in cells:
            value = content(cell)
            # A number that nothing binds anew is no state; a tensor may be bound by others.
            bind = partial(fill, cell) if name in bound or not is_plain(value) else None
            self.enter(f"{place}.{name}", value, bind)
        read, stored = globals_of(function.__code__)
        space = function.__globals__
        for name in sorted(read | stored):
            value = space.get(name, ABSENT)
            moves = name in stored or isinstance(value, RESTORED_TYPES)
            bind = partial(put, space, name) if moves else None
            if isinstance(value, types.ModuleType):
                self._module(name, value, function.__code__)
            self.enter(name, value, bind)
        for name, part in list(vars(function).items()):
            self._see(f"{place}.{name}", part, partial(put, vars(function), name))
        self._see_space(vars(function))
        self._parts(place, function.__defaults__ or ())
        self._parts(place, (function.__kwdefaults__ or {}).values())

    def _behind(self, place: str, function: types.FunctionType) -> None:
        """Enter what a function of a library decorates, such as one under `torch.no_grad()`."""
        held = [content(cell) for cell in function.__closure__ or ()]
        held += [part for each in held if isinstance(each, Mapping) for part in each.values()]
        for value in (attribute(function, "__wrapped__", None), *held):
            if isinstance(value, types.FunctionType | types.MethodType | partial):
                self.enter(place, value)

    def _module(self, place: str, module: types.ModuleType, code: types.CodeType) -> None:
        """Enter what code uses of a module of the user's."""
        if is_library_file(module.__name__, getattr(module, "__file__", None)):
            for part in parts_of_process(module, code):
                self.enter(*part)
            return
        for name in used_names(code) & vars(module).keys():
            value = vars(module)[name]
            if isinstance(value, types.ModuleType) and id(value) not in self._seen:
                self._seen[id(value)] = value
                self._module(f"{place}.{name}", value, code)
            elif not isinstance(value, types.ModuleType):
                self._see(f"{place}.{name}", value, partial(vars(module).__setitem__, name))
                self.enter(f"{place}.{name}", value)


def generators_of(kinds: Iterable[type], functions: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Random number generators that functions and the classes of objects draw from, by place."""
    found = reachable([*functions, *held_by(kinds)])
    return {one.place: one.value for one in found if isinstance(one.value, GENERATOR_TYPES)}
