"""NumPy's global generator: what is captured and set back is what NumPy itself would say."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.random import mtrand

from nbdebug.model.state.random_numbers.numpy_generator import NumpyGenerator


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    generator, state = mtrand.get_bit_generator(), np.random.get_state()
    yield
    mtrand.set_bit_generator(generator)
    np.random.set_state(state)


def same(one: Any, other: Any) -> bool:
    return one[0] == other[0] and np.array_equal(one[1], other[1]) and one[2:] == other[2:]


DRAWS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "uniform": lambda: np.random.rand(3),
    "one normal": lambda: np.random.randn(),
    "two normals": lambda: np.random.randn(2),
    "a whole table": lambda: np.random.bytes(624 * 4),
    "shuffle": lambda: np.random.shuffle(np.arange(7)),
    "seed": lambda: np.random.seed(3),
}


@pytest.mark.parametrize("seed", range(6))
def test_captures_and_restores_like_numpy_itself(seed: int) -> None:
    generator, draw = NumpyGenerator(), random.Random(seed)
    np.random.seed(seed)
    kept: list[tuple[Any, Any]] = []
    for _ in range(300):
        if draw.random() < 0.3 and kept:
            ours, theirs = draw.choice(kept)
            generator.restore(ours)
            assert same(np.random.get_state(), theirs)
        else:
            DRAWS[draw.choice(list(DRAWS))]()
        ours, theirs = generator.capture(), np.random.get_state()
        assert same(ours, theirs)
        kept.append((ours, theirs))
    # What was captured is not written to by later draws.
    assert all(same(ours, theirs) for ours, theirs in kept)


def test_one_that_has_not_moved_is_neither_read_nor_set(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = NumpyGenerator()
    np.random.seed(0)
    state = generator.capture()
    with monkeypatch.context() as patch:
        for name in ("get_state", "set_state"):
            patch.setattr(np.random, name, lambda *_, name=name: pytest.fail(name))
        assert generator.capture() is state
        generator.restore(state)


def test_a_kept_normal_number_is_not_lost() -> None:
    generator = NumpyGenerator()
    np.random.seed(0)
    np.random.randn()
    with_one = generator.capture()
    first = np.random.randn()
    without = generator.capture()
    assert (with_one[3], without[3]) == (1, 0)
    generator.restore(with_one)
    assert generator.capture()[3] == 1
    assert np.random.randn() == first


def test_an_exchanged_generator_is_read_by_numpy() -> None:
    generator = NumpyGenerator()
    np.random.seed(0)
    generator.capture()
    mtrand.set_bit_generator(np.random.MT19937(5))
    assert same(generator.capture(), np.random.get_state())
    np.random.rand()
    assert same(generator.capture(), np.random.get_state())
