"""State of NumPy's global generator, read and written only where it has moved."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.random import mtrand

# Layout of a Mersenne Twister: 624 numbers of 32 bits and the position in them.
WORDS, SIZE = 624, 625 * 4
CACHED = 3  # Place in a state of "a normal number is kept for the next draw".


class Seen(NamedTuple):
    """A state, with the generator it was read from and the bytes that this held."""

    state: Any
    generator: Any
    address: int
    bits: bytes


class NumpyGenerator:
    """NumPy's global generator.

    NumPy takes 30 microseconds to get a state and as many to set it; comparing the bytes of the
    generator takes one. Where these have not moved since, the last state is the current one. A
    normal number that was kept can be used up without moving the bytes: with one in the last
    state, nothing is compared. All of nbdebug gets and sets the state here, so that one that is
    set back with such a number is not taken for the one after it.
    """

    def __init__(self) -> None:
        self._seen: Seen | None = None

    def capture(self) -> Any:
        """Return the state as `np.random.get_state` does; its array is never written to."""
        seen = self._unmoved()
        return self._see(np.random.get_state()) if seen is None else seen.state

    def restore(self, state: Any) -> None:
        """Set the generator to a captured state."""
        seen = self._unmoved()
        if seen is None or seen.state is not state:
            np.random.set_state(state)
            self._see(state)

    def _unmoved(self) -> Seen | None:
        """State seen last; None where the generator may have moved since."""
        seen = self._seen
        if seen is None or mtrand.get_bit_generator() is not seen.generator:
            return None
        return seen if ctypes.string_at(seen.address, SIZE) == seen.bits else None

    def _see(self, state: Any) -> Any:
        """Remember a state that was just read or set, where its bytes can be told."""
        self._seen, generator = None, mtrand.get_bit_generator()
        if type(generator) is np.random.MT19937 and not state[CACHED]:
            address = generator.ctypes.state_address
            bits = ctypes.string_at(address, SIZE)
            # Another thread may have drawn, or another NumPy may order its bytes otherwise.
            if bits == state[1].tobytes() + int(state[2]).to_bytes(4, sys.byteorder):
                self._seen = Seen(state, generator, address, bits)
        return state


NUMPY = NumpyGenerator()
