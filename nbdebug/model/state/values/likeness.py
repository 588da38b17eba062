"""Check that kept values of a file fit the values that are there now."""

from __future__ import annotations

import cmath
from typing import Any

import torch

from nbdebug.errors import CheckpointError
from nbdebug.model.state.values.kept import (
    AsIs,
    Constant,
    Kept,
    KeptArray,
    KeptContainer,
    KeptGenerator,
    KeptObject,
    KeptTensor,
    KeptTuple,
    Unchanged,
)
from nbdebug.model.state.values.kept_optimizer import KeptOptimizer
from nbdebug.model.state.values.kept_records import KeptElements


class Likeness:
    """Compares kept values of a file with those of the same place now; refuses other kinds."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def check(self, saved: Kept, now: Kept, place: str) -> None:
        """Check one value and all in it.

        Raises:
            CheckpointError: it has another type, shape or form than the value that is there.
        """
        if isinstance(saved, Unchanged) or id(saved) in self._seen:
            return
        self._seen.add(id(saved))
        if isinstance(saved, Constant):
            self._constant(saved.value, now, place)
        elif isinstance(now, Constant) and now.value is None and _is_whole(saved):
            # It gets its first value later in a training.
            return
        elif type(saved) is not type(now):
            _refuse(place)
        elif isinstance(saved, KeptTensor | KeptArray):
            assert isinstance(now, KeptTensor | KeptArray)
            if saved.data.shape != now.data.shape or saved.data.dtype != now.data.dtype:
                _refuse(place)
        elif isinstance(saved, KeptGenerator):
            _check_generator(saved, place)
        elif isinstance(saved, KeptOptimizer):
            assert isinstance(now, KeptOptimizer)
            self._optimizer(saved, now, place)
        else:
            self._parts(saved, now, place)

    def _constant(self, value: Any, now: Kept, place: str) -> None:
        there: Any = now.value if isinstance(now, AsIs) else MISMATCH
        if value is None or there is None:
            return
        number = isinstance(value, int | float | complex)
        if type(value) is not type(there) or (number and not cmath.isfinite(complex(value))):
            _refuse(place)

    def _parts(self, saved: Kept, now: Kept, place: str) -> None:
        if isinstance(saved, KeptObject):
            assert isinstance(now, KeptObject)
            if saved.kind != now.kind or not saved.parts.keys() <= now.parts.keys():
                _refuse(place)
            for name, part in saved.parts.items():
                self.check(part, now.parts[name], f"{place}.{name}")
        elif isinstance(saved, KeptElements):
            assert isinstance(now, KeptElements)
            if saved.shape != now.shape or len(saved.parts) != len(now.parts):
                _refuse(place)
            for number, (part, there) in enumerate(zip(saved.parts, now.parts, strict=True)):
                self.check(part, there, f"{place}[{number}]")
        elif isinstance(saved, KeptTuple):
            assert isinstance(now, KeptTuple)
            for number, (part, there) in enumerate(zip(saved.parts, now.parts, strict=False)):
                self.check(part, there, f"{place}[{number}]")
        elif isinstance(saved, KeptContainer):
            assert isinstance(now, KeptContainer)
            if saved.kind is not now.kind:
                _refuse(place)
            if not (saved.simple or now.simple):
                for key, (part, there) in enumerate(zip(saved.values, now.values, strict=False)):
                    self.check(part, there, f"{place}[{key}]")

    def _optimizer(self, saved: KeptOptimizer, now: KeptOptimizer, place: str) -> None:
        groups, known = (one.state_dict()["param_groups"] for one in (saved, now))
        if not isinstance(groups, list) or len(groups) != len(known):
            _refuse(place)
        for group, there in zip(groups, known, strict=True):
            if group.keys() != there.keys() or group["params"] != there["params"]:
                _refuse(place)
            for key, value in group.items():
                finite = not isinstance(value, float) or cmath.isfinite(value)
                alike = isinstance(value, int | float) and isinstance(there[key], int | float)
                if not finite or not (alike or type(value) is type(there[key])):
                    _refuse(f"{place}.{key}")
        # Parameters of the model are copied elsewhere, and left as they are here.
        held = [part.value if isinstance(part, AsIs) else part for part in now.parameters]
        data = [part.data if isinstance(part, KeptTensor) else part for part in held]
        shapes = [one.shape for one in data if isinstance(one, torch.Tensor)]
        for number, state in saved.state_dict()["state"].items():
            if type(number) is not int or not 0 <= number < len(shapes):
                _refuse(place)
            for value in state.values():
                tensor = isinstance(value, torch.Tensor) and value.ndim
                if tensor and value.shape != shapes[number]:
                    _refuse(place)
        for number, part in enumerate(saved.parameters):
            self.check(part, now.parameters[number], f"{place} parameter {number}")


MISMATCH = object()


def _is_whole(saved: Kept) -> bool:
    """True for a value that needs nothing of what is there: a tensor, an array, or some of them."""
    if isinstance(saved, KeptContainer):
        return saved.simple or all(map(_is_whole, saved.values))
    return isinstance(saved, Constant | KeptTensor | KeptArray)


def _check_generator(saved: KeptGenerator, place: str) -> None:
    if isinstance(saved.state, torch.Tensor):
        try:
            torch.Generator().set_state(saved.state)
        except (RuntimeError, TypeError):
            _refuse(place)


def _refuse(place: str) -> None:
    raise CheckpointError(
        f"{place} is not as it was in the checkpoint: it has another type, shape or number of "
        "parts. Define what loss_fn or step_fn uses as before."
    )
