"""Random number generators of a session, isolated from other cells."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch

from nbdebug.model.state.random_numbers.numpy_generator import NUMPY


class RngPosition(NamedTuple):
    """State of the generators of a session; the tensors are never written to.

    Attributes:
        host: (Python's state, NumPy's state); uses_host: whether steps draw from these;
        detecting: whether the next step detects such draws.
    """

    cpu: torch.Tensor
    cuda: torch.Tensor | None
    host: tuple[Any, Any]
    uses_host: bool
    detecting: bool


class SessionRng:
    """Context that sets torch's global generators to the session's state during a step.

    Between steps other cells have their own state, so neither disturbs the other, and a failed
    step draws the same numbers again. NumPy's and Python's generators are swapped only if
    training draws from them, which `detect_host_draws` finds out: swapping them at every step
    would cost more than measuring.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda = device if device.type == "cuda" else None
        self.reset()

    def reset(self) -> None:
        self._cpu_state = torch.Generator().manual_seed(self._seed).get_state()
        self._cuda_state: torch.Tensor | None = None
        if self._cuda is not None:
            self._cuda_state = torch.Generator(self._cuda).manual_seed(self._seed).get_state()
        own = np.random.RandomState(self._seed % 2**32).get_state()
        self._host: tuple[Any, Any] = random.Random(self._seed).getstate(), own
        self._uses_host = self._detecting = False

    @property
    def uses_host(self) -> bool:
        """True if steps draw from Python's or NumPy's generator."""
        return self._uses_host

    def detect_host_draws(self) -> None:
        """Detect if the next step draws from NumPy's or Python's generator."""
        self._detecting = True

    def position(self) -> RngPosition:
        """Return the state of the generators."""
        return RngPosition(
            self._cpu_state, self._cuda_state, self._host, self._uses_host, self._detecting
        )

    def seek(self, position: RngPosition) -> None:
        """Restore a state of the generators."""
        self._cpu_state, self._cuda_state, self._host, self._uses_host, self._detecting = position

    def __enter__(self) -> None:
        self._outer = torch.get_rng_state()
        torch.set_rng_state(self._cpu_state)
        if self._cuda is not None and self._cuda_state is not None:
            self._outer_cuda = torch.cuda.get_rng_state(self._cuda)
            torch.cuda.set_rng_state(self._cuda_state, self._cuda)
        self._swapped = self._uses_host or self._detecting
        if self._swapped:
            self._outer_host = _host_state()
            _set_host_state(self._host)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._cpu_state = torch.get_rng_state()
        torch.set_rng_state(self._outer)
        if self._cuda is not None:
            if kind is None:
                self._cuda_state = torch.cuda.get_rng_state(self._cuda)
            torch.cuda.set_rng_state(self._outer_cuda, self._cuda)
        if self._swapped:
            if kind is None:
                now = _host_state()
                self._uses_host = self._uses_host or not _equal(now, self._host)
                self._host, self._detecting = now, False
            _set_host_state(self._outer_host)


def _host_state() -> tuple[Any, Any]:
    return random.getstate(), NUMPY.capture()


def _set_host_state(state: tuple[Any, Any]) -> None:
    random.setstate(state[0])
    NUMPY.restore(state[1])


def _equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    """Tell if no number was drawn between the two states."""
    left, right = one[1], other[1]
    numbers = left[2:] == right[2:] and np.array_equal(left[1], right[1])
    return numbers and one[0] == other[0]
