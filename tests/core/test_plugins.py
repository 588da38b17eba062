"""Plug-ins are found in a folder and by entry points."""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdebug.core.plugins import discover
from nbdebug.errors import PluginError

PACKAGE = "sample_plugins"
MODULES = {
    "__init__": "",
    "base": """
        from abc import ABC, abstractmethod

        class Base(ABC):
            @abstractmethod
            def act(self): ...
    """,
    "late": """
        from sample_plugins.base import Base

        class Late(Base):
            name, order = "late", 30
            def act(self): ...
    """,
    "pair": """
        from sample_plugins.base import Base

        class Beta(Base):
            name, order = "beta", 10
            def act(self): ...

        class Alpha(Base):
            name, order = "alpha", 10
            def act(self): ...

        class Halfway(Base):
            name = "halfway"

        class Foreign:
            name = "foreign"
    """,
    "borrower": """
        from sample_plugins.late import Late

        class Unordered(Late):
            name, order = "unordered", 0
    """,
}
OUTSIDE = """
from sample_plugins.base import Base

class Outside(Base):
    name, order = "outside", 20
    def act(self): ...

class Stranger:
    name = "stranger"
"""


def write_entry_points(folder: Path, **points: str) -> None:
    """A distribution whose entry points are in the group of the package."""
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{PACKAGE}]", *lines]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of plug-ins, and a module outside of it, both importable."""
    package = tmp_path / PACKAGE
    package.mkdir()
    for name, text in MODULES.items():
        lines = [line.removeprefix("        ") for line in text.splitlines()]
        (package / f"{name}.py").write_text("\n".join(lines))
    (tmp_path / "sample_outside.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("sample_")]:
        del sys.modules[name]


def base() -> type:
    found = importlib.import_module(f"{PACKAGE}.base").Base
    assert isinstance(found, type)
    return found


def names(found: tuple[type, ...]) -> list[str]:
    return [plugin.name for plugin in found]  # type: ignore[attr-defined]


def test_every_concrete_class_of_the_folder_is_found_in_order(folder: Path) -> None:
    assert names(discover(PACKAGE, base())) == ["unordered", "alpha", "beta", "late"]


def test_a_new_file_is_enough(folder: Path) -> None:
    text = MODULES["late"].replace("late", "later").replace("Late", "Later")
    lines = [line.removeprefix("        ") for line in text.splitlines()]
    (folder / PACKAGE / "later.py").write_text("\n".join(lines))
    importlib.invalidate_caches()
    assert "later" in names(discover(PACKAGE, base()))


def test_entry_points_take_their_place_among_the_others(folder: Path) -> None:
    write_entry_points(folder, outside="sample_outside:Outside")
    assert names(discover(PACKAGE, base())) == ["unordered", "alpha", "beta", "outside", "late"]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("sample_missing:Outside", ModuleNotFoundError),
        ("sample_outside:Missing", AttributeError),
        ("sample_outside:Stranger", PluginError),
        ("sample_outside:name", AttributeError),
    ],
)
def test_a_broken_entry_point_is_reported_and_the_rest_is_found(
    folder: Path, target: str, error: type[Exception]
) -> None:
    write_entry_points(folder, broken=target, outside="sample_outside:Outside")
    reported: list[tuple[str, Exception]] = []
    found: Any = discover(PACKAGE, base(), lambda name, error: reported.append((name, error)))
    assert names(found) == ["unordered", "alpha", "beta", "outside", "late"]
    assert [name for name, _ in reported] == ["broken"]
    assert isinstance(reported[0][1], error)


@pytest.mark.parametrize(
    "damaged",
    [
        b"\xff\xfe[sample_plugins]",
        b"[sample_plugins]\nname = \nother = :::\n",
        b"no = section\n",
        b"[" + b"x" * 1000,
        b"[sample_plugins]\na line without a sign\n\0\0\n",
    ],
)
def test_damaged_metadata_of_another_package_hides_nothing(folder: Path, damaged: bytes) -> None:
    write_entry_points(folder, outside="sample_outside:Outside")
    other = folder / "damaged-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: damaged\nVersion: 1.0\n")
    (other / "entry_points.txt").write_bytes(damaged)
    found: Any = discover(PACKAGE, base(), lambda name, error: None)
    assert names(found) == ["unordered", "alpha", "beta", "outside", "late"]


def test_without_anyone_to_report_to_a_broken_entry_point_raises(folder: Path) -> None:
    write_entry_points(folder, broken="sample_missing:Outside")
    with pytest.raises(ModuleNotFoundError, match="sample_missing"):
        discover(PACKAGE, base())


def test_a_plugin_that_is_no_subclass_says_what_was_expected(folder: Path) -> None:
    write_entry_points(folder, stranger="sample_outside:Stranger")
    with pytest.raises(PluginError, match=r"stranger.*expected a subclass of Base"):
        discover(PACKAGE, base())


def test_an_abstract_base_is_no_plugin() -> None:
    class Nobody(ABC):
        @abstractmethod
        def act(self) -> None: ...

    assert discover("nbdebug.core", Nobody) == ()
