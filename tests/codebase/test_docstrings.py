"""No docstring of the package opens with a question word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nbdebug"
QUESTION_WORDS = (
    "What", "Whether", "Where", "Who", "Whose", "How", "Which", "When", "Why",
)  # fmt: skip
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of the module and of its classes, functions and methods."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "name", "module"), docstring


def questions(source: str) -> list[str]:
    """Names of the documented things whose docstring opens with a question word."""
    return [
        name
        for name, docstring in docstrings(source)
        if docstring.split()[0].rstrip(",.:;?!") in QUESTION_WORDS
    ]


def test_no_docstring_opens_with_a_question_word() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in files
        if (names := questions(path.read_text(encoding="utf-8")))
    }

    assert len(files) > 300
    assert found == {}


def test_question_words_are_found_in_every_kind_of_docstring() -> None:
    source = '''"""Which module."""
class A:
    """What, then."""
    def method(self):
        """How it is done."""
async def wait():
    """Whether it waits."""
def plain():
    """Whatever is plain."""
def undocumented():
    return "What"
'''

    assert sorted(questions(source)) == ["A", "method", "module", "wait"]
