from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """The command behind `make readme`, as a module."""
    path = ROOT / "tools" / "readme_tables.py"
    spec = importlib.util.spec_from_file_location("readme_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_those_of_the_classes(tables: ModuleType) -> None:
    assert tables.render(README) == README, "The tables are stale: run `make readme`."


def test_a_stale_table_is_noticed(tables: ModuleType) -> None:
    stale = README.replace("| `lr` |", "| `lernrate` |")

    assert stale != README
    assert tables.render(stale) == README


def test_lost_markers_are_named(tables: ModuleType) -> None:
    with pytest.raises(SystemExit, match="markers for probes"):
        tables.fill("nothing", "probes", "")


def test_commands_at_the_top_are_words_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = re.findall(r"^ *make ([a-z]+)", README, re.MULTILINE)

    assert words[:2] == ["lab", "test"]
    assert [word for word in words if not re.search(rf"^{word}:", makefile, re.MULTILINE)] == []


def test_links_to_files_are_alive() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
