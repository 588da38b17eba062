"""The tree of errors, and the message for an unknown name."""

from __future__ import annotations

import inspect

import pytest

from nbdebug import errors
from nbdebug.core.names import unknown_name
from nbdebug.errors import NbdebugError

LEAVES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, NbdebugError) and value is not NbdebugError
]


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_each_error_is_also_a_builtin_and_reads_plain(error: type[NbdebugError]) -> None:
    base, builtin = error.__bases__
    assert base is NbdebugError
    assert builtin.__module__ == "builtins"
    assert issubclass(builtin, Exception)
    assert str(error("It is 'so'.")) == "It is 'so'."
    assert error.__doc__


def test_the_tree_in_the_docstring_is_the_tree_there_is() -> None:
    drawn = {
        line.split("(")[0].strip(" ├└─"): line.split("(")[1].split(")")[0]
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line
    }
    assert drawn == {error.__name__: error.__bases__[1].__name__ for error in LEAVES}


def test_a_wrong_name_is_answered_with_the_nearest_and_all_right_ones() -> None:
    said = unknown_name("control", "bach_size", ["lr", "batch_size"])
    assert said == (
        "There is no control 'bach_size'. Did you mean 'batch_size'? There are: batch_size, lr."
    )
    assert unknown_name("series", "x", []) == "There is no series 'x'. There are: none."
