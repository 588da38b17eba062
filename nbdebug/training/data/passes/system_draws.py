"""Draws from the operating system in functions that read data, which nobody can repeat."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterable
from typing import Any

import torch

from nbdebug.model.state.values.places import functions_of
from nbdebug.training.data.passes.data_copier import DataCopier

READING = ("__iter__", "__next__", "__call__", "__getitem__", "__getitems__")
SYSTEM = frozenset({"urandom", "SystemRandom", "secrets"})
# Seeded by the operating system if they are called without a seed.
WITHOUT_SEED = frozenset({
    "default_rng", "Random", "RandomState", "SeedSequence", "PCG64", "Philox", "MT19937", "seed",
})  # fmt: skip
BETWEEN = ("PUSH_NULL", "PRECALL", "CACHE", "NOP", "EXTENDED_ARG")
CALLS = ("CALL", "CALL_FUNCTION", "CALL_METHOD")
MAX_FUNCTIONS = 500
Methods = dict[str, list[Any]]
# Seeds of users are shorter; without one NumPy takes 128 bits of the operating system.
MAX_SEED = 2**64
MAX_TORCH_SEED, DEFAULT_TORCH_SEED = 2**40, torch.Generator().initial_seed()


def system_draws(data: Any) -> str:
    """Explain that data draws from the operating system where it is read; "" if none is seen."""
    found = _first_draw(data)
    return found and (
        f"The order of the data could not go on after a restart: {found}, random numbers of the "
        "operating system, which never come again. Give the generator a seed, make it once in "
        "__init__, or draw from the global generators, which are seeded for each pass."
    )


def is_seeded_by_system(generator: Any) -> bool:
    """Tell if a generator was seeded by the operating system; False where nobody can tell."""
    if isinstance(generator, torch.Generator):
        return MAX_TORCH_SEED < generator.initial_seed() != DEFAULT_TORCH_SEED
    sequence = getattr(getattr(generator, "bit_generator", None), "seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return isinstance(entropy, int) and entropy > MAX_SEED


def _first_draw(data: Any) -> str:
    copier = DataCopier()
    copier.keep(data)
    methods = _methods(copier.kinds)
    waiting = [one for name in READING for one in methods.get(name, ())]
    waiting += [one for _, one in copier.functions if isinstance(one, types.FunctionType)]
    if isinstance(data, types.GeneratorType) and (found := _in_code(data.gi_code, methods)):
        return f"{data.__name__} uses {found}"
    seen: set[int] = set()
    while waiting and len(seen) < MAX_FUNCTIONS:
        function = waiting.pop()
        if id(function.__code__) in seen:
            continue
        seen.add(id(function.__code__))
        if found := _in_code(function.__code__, methods):
            return f"{function.__qualname__} uses {found}"
        waiting += _called(function, methods)
    return ""


def _methods(kinds: Iterable[type]) -> Methods:
    """Functions of classes by name, without those that a class overrides."""
    methods: Methods = {}
    for kind in kinds:
        own: dict[str, Any] = {}
        for _, function in functions_of([kind]):
            own.setdefault(function.__name__, function)
        for name, function in own.items():
            methods.setdefault(name, []).append(function)
    return methods


def _called(function: Any, methods: Methods) -> list[Any]:
    """Functions of the same program that a function names."""
    space, found = function.__globals__, []
    for code in _codes(function.__code__):
        for name in code.co_names:
            one = space.get(name)
            same = isinstance(one, types.FunctionType) and one.__module__ == function.__module__
            found += methods.get(name, [one] if same else [])
    return found


def _codes(code: types.CodeType) -> list[types.CodeType]:
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [code, *(part for one in inner for part in _codes(one))]


def _in_code(code: types.CodeType, methods: Methods) -> str:
    for one in _codes(code):
        steps = [step for step in dis.get_instructions(one) if step.opname not in BETWEEN]
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            name = step.argval if isinstance(step.argval, str) else ""
            loads = step.opname.startswith("LOAD") and step.opname != "LOAD_CONST"
            if not loads or name in methods:
                continue
            if name in SYSTEM:
                return name
            called = following is not None and following.opname in CALLS and following.arg == 0
            if name in WITHOUT_SEED and called:
                return f"{name}() without a seed"
    return ""
