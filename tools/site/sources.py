"""Thresholds and remedies of a plug-in, read from the source of its module."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import sys
import tokenize
from collections.abc import Iterator
from types import ModuleType
from typing import Any

GAP = "…"


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A constant that a plug-in judges by, and the comment behind it."""

    name: str
    value: str
    comment: str


def module_of(plugin: type) -> ModuleType:
    """The module that defines a class."""
    return sys.modules[plugin.__module__]


def thresholds(plugin: type) -> list[Threshold]:
    """Constants with numbers, of the class first and then of its module."""
    module = module_of(plugin)
    source = inspect.getsource(module)
    comments = _comments(source)
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    bodies = [node.body for node in classes if node.name == plugin.__name__]
    found = [
        Threshold(name, value, comments.get(line, ""))
        for body, owner in ((*bodies, plugin), (tree.body, module))
        for name, line in _constants(body)
        if (value := _number_text(getattr(owner, name, None)))
    ]
    return list({one.name: one for one in reversed(found)}.values())[::-1]


def _constants(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """Names in capitals that statements assign, with their lines."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        for name in (part for target in targets for part in ast.walk(target)):
            if isinstance(name, ast.Name) and name.id.isupper() and not name.id.startswith("_"):
                yield name.id, node.lineno


def _comments(source: str) -> dict[int, str]:
    """Comments behind code, by line."""
    lines = source.splitlines()
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not lines[token.start[0] - 1].startswith("#")
        and lines[token.start[0] - 1][: token.start[1]].strip()
    }  # fmt: skip


def _number_text(value: Any) -> str:
    """A number or a tuple of numbers as text, "" for anything else."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple) and value and all(_number_text(part) for part in value):
        return ", ".join(_number_text(part) for part in value)
    return ""


def remedies(plugin: type) -> list[str]:
    """Texts of remedies in the source of a check; "…" stands for what only a report knows."""
    module = module_of(plugin)
    found = list(_remedies(module, [module]))
    return list(dict.fromkeys(" ".join(text.split()) for text in found if _says_something(text)))


def _says_something(text: str) -> bool:
    """Tell a sentence from a part of one."""
    is_part = text.startswith((GAP, " ")) or text.endswith(" ")
    return not is_part and len(text.replace(GAP, "").split()) > 1


def _remedies(module: ModuleType, seen: list[ModuleType]) -> Iterator[str]:
    tree = ast.parse(inspect.getsource(module))
    known = _assigned(tree)
    for call in ast.walk(tree):
        given = _remedy_of(call, module) if isinstance(call, ast.Call) else None
        if isinstance(given, ast.Attribute) and given.attr == "remedy":
            # The outcome passes on what a helper module has found.
            for helper in _helpers(module, seen):
                yield from _remedies(helper, seen)
        elif given is not None:
            yield from _texts(given, known)


def _remedy_of(call: ast.Call, module: ModuleType) -> ast.expr | None:
    """The argument `remedy` of a call that makes a record with such a field."""
    made = getattr(module, call.func.id, None) if isinstance(call.func, ast.Name) else None
    names = list(vars(made).get("__annotations__", ())) if isinstance(made, type) else []
    if "remedy" not in names:
        return None
    given = dict(zip(names, call.args, strict=False))
    given |= {word.arg: word.value for word in call.keywords if word.arg}
    return given.get("remedy")


def _helpers(module: ModuleType, seen: list[ModuleType]) -> Iterator[ModuleType]:
    """Modules of helpers beside a check that it imports from, each once."""
    for value in [*vars(module).values()]:
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        helper = sys.modules.get(name or "")
        if helper and f"{helper.__name__}".startswith("nbdebug.checks._") and helper not in seen:
            seen.append(helper)
            yield helper


def _assigned(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """What names are set to, and what functions return, by name."""
    known: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name, value in _bound(target, node.value):
                    known.setdefault(name, []).append(value)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            values = known.setdefault(node.target.id, [])
            values += [ast.BinOp(value, node.op, node.value) for value in values[-1:]]
        if isinstance(node, ast.FunctionDef):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            known.setdefault(f"{node.name}()", []).extend(one for one in returned if one)
    return known


def _bound(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Names that an assignment binds; of several at once each to its place in the value."""
    if isinstance(target, ast.Name):
        yield target.id, value
    if isinstance(target, ast.Tuple):
        for at, part in enumerate(target.elts):
            if isinstance(part, ast.Name):
                yield part.id, ast.Subscript(value, ast.Constant(at))


def _texts(node: ast.expr, known: dict[str, list[ast.expr]]) -> list[str]:
    """Every text that an expression may give."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(_piece(part) for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, known), *_texts(node.orelse, known)]
    if isinstance(node, ast.BinOp):
        right = _texts(node.right, known) or [GAP]
        return [a + b for a in _texts(node.left, known) or [GAP] for b in right]
    if isinstance(node, ast.Name):
        return _looked_up(node.id, known)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return _element_texts(node.value, node.slice.value, known)
    if isinstance(node, ast.Call):
        return _looked_up(_called(node), known)
    return []


def _element_texts(node: ast.expr, at: Any, known: dict[str, list[ast.expr]]) -> list[str]:
    """Texts of one element of the tuples that a call returns, or that stand there."""
    tuples = known.get(_called(node), []) if isinstance(node, ast.Call) else [node]
    elements = [one.elts[at] for one in tuples if isinstance(one, ast.Tuple) and at < len(one.elts)]
    return [text for element in elements for text in _texts(element, known)]


def _called(call: ast.Call) -> str:
    func = call.func
    return f"{func.attr if isinstance(func, ast.Attribute) else ast.unparse(func)}()"


def _looked_up(name: str, known: dict[str, list[ast.expr]]) -> list[str]:
    # Without this name: a text that is added to itself would have no end.
    others = {key: values for key, values in known.items() if key != name}
    return [text for value in known.get(name, ()) for text in _texts(value, others)]


def _piece(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else GAP
