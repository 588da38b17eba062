"""The search for `enumerate`, `zip` and the like around the batches of a loop ends no process."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nbdebug.training.own_loop.state.wrappers import Wrappers

# The place of an ended iterator in its tuple is empty, which reading it would not survive.
PROGRAM = """
import itertools
from nbdebug.training.own_loop.state.wrappers import Wrappers

def generator():
    yield 1

class Meta(type):
    __hash__ = None

    def __eq__(cls, other):
        raise RuntimeError

class Odd(metaclass=Meta):
    def __init__(self):
        self.held = [self]

odd = Odd()
ended = itertools.zip_longest([1], [1, 2, 3])
next(ended), next(ended)
batches = generator()
next(batches)
assert Wrappers().around({id(batches.gi_frame)}, frozenset()) == []
"""


def test_an_ended_iterator_and_a_class_without_hash_end_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def numbers() -> Iterator[int]:
    yield from range(5)


KINDS: dict[str, Callable[[Iterator[int]], Any]] = {
    "enumerate": enumerate,
    "zip": lambda batches: zip([1, 2, 3], batches, strict=False),
    "zip_longest": lambda batches: itertools.zip_longest([1, 2], batches),
    "zip_longest behind its first": lambda batches: itertools.zip_longest([1], batches),
    "map": lambda batches: map(str, batches),
    "one in another": lambda batches: enumerate(zip([1, 2, 3], batches, strict=False)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_values_from_a_generator_is_found(kind: str) -> None:
    batches = numbers()
    around = KINDS[kind](batches)
    next(around), next(around)
    frame = getattr(batches, "gi_frame", None)
    names, search = frozenset({"enumerate", "zip", "map", "zip_longest"}), Wrappers()
    for _ in range(3):
        # From the second time on by the generators that were met.
        assert any(one is around for one in search.around({id(frame)}, names))
