from __future__ import annotations

from types import ModuleType

import pytest

import nbdebug
from nbdebug import examples, plugins, testing

DOORS = [nbdebug, plugins, testing, examples]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_public_names_exist(door: ModuleType) -> None:
    assert [name for name in door.__all__ if not hasattr(door, name)] == []
    assert set(door.__all__) <= set(dir(door))
    assert len(set(door.__all__)) == len(door.__all__)


def test_public_names_of_the_package_are_sorted() -> None:
    assert list(nbdebug.__all__) == sorted(nbdebug.__all__)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_public_objects_are_documented(door: ModuleType) -> None:
    assert [name for name in door.__all__ if not getattr(door, name).__doc__] == []
