"""Warnings of what a check tries out are not shown; those of others are."""

from __future__ import annotations

import threading
import warnings

import torch
from torch.nn import functional

from nbdebug.examples.setups.base import X, mlp, regression
from nbdebug.training.tasks.checking.silence import silenced
from tests.checks.result_of import result_of


def warned(message: str = "say") -> list[str]:
    """Messages that reach the user of one warning in this thread."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.warn(message, UserWarning, stacklevel=1)
    return [str(one.message) for one in found]


def test_a_thread_is_silent_and_others_are_not() -> None:
    seen: list[str] = []

    def other() -> None:
        try:
            warnings.warn("of another thread", UserWarning, stacklevel=1)
        except UserWarning as warning:
            seen.append(str(warning))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with silenced():
            warnings.warn("not shown", UserWarning, stacklevel=1)
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    assert seen == ["of another thread"]


def test_everything_is_as_before_afterwards() -> None:
    before = list(warnings.filters)
    with silenced(), silenced():
        pass
    assert list(warnings.filters) == before
    assert warned() == ["say"]


def test_a_filter_that_stays_behind_does_nothing() -> None:
    with warnings.catch_warnings():
        silence = silenced()
        silence.__enter__()
        with warnings.catch_warnings():
            silence.__exit__(None, None, None)
        warnings.simplefilter("error", append=True)
        assert warned() == ["say"]


def test_a_check_of_shapes_shows_no_warning_of_torch() -> None:
    targets = regression()[1][:, 0]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(outputs, targets)

    # Warnings are errors here: shown, one would be an exception of the check.
    found = result_of("broadcast", mlp(out=1), (X, targets), loss)
    assert found.status == "fail"
    assert "broadcasts" in found.seen
