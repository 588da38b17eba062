from __future__ import annotations

import inspect

import pytest

from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.probes.base import Probe

PLUGINS: list[type[Control] | type[Probe]] = [
    *discover("nbdebug.controls", Control),
    *discover("nbdebug.probes", Probe),
]


def test_there_are_plugins_of_both_kinds() -> None:
    assert {base for base in (Control, Probe) for p in PLUGINS if issubclass(p, base)} == {
        Control,
        Probe,
    }


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.__name__)
def test_is_documented_in_its_own_words(plugin: type) -> None:
    first_line = (plugin.__doc__ or "").strip().partition("\n")[0]

    assert first_line.endswith(".")
    assert first_line != (inspect.getdoc(plugin.__base__) or "").partition("\n")[0]


@pytest.mark.parametrize("base", [Control, Probe])
def test_names_are_unique(base: type) -> None:
    names = [plugin.name for plugin in PLUGINS if issubclass(plugin, base)]

    assert sorted(names) == sorted(set(names))
