"""What travels arrives as it was; what is no message of ours is refused, and nothing is run."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import pkgutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nbdebug.core.results
from nbdebug.core.commands.base import Command
from nbdebug.core.commands.running import SetControl
from nbdebug.core.commands.timeline import BreakWhen, ForkSteps
from nbdebug.core.plugins import discover
from nbdebug.core.records import ControlChange, Notice, Status
from nbdebug.core.results.findings import Finding, Findings, Remedy
from nbdebug.elsewhere.codec import Unsent, record_class
from nbdebug.elsewhere.failures import described, restored
from nbdebug.elsewhere.frames import HEAD, MAGIC, pack, receive, unpack
from nbdebug.errors import (
    ArgumentError,
    ControlNameError,
    LinkError,
    NonFiniteError,
    RemoteError,
    SteeringError,
)


def travelled(value: Any, lenient: bool = True) -> Any:
    packed, _ = pack(value, lenient)
    _, text, raw = HEAD.unpack(packed[: HEAD.size])
    body = packed[HEAD.size :]
    assert len(body) == text + raw
    return unpack(body[:text], body[text:])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float):
        return type(other) is float and np.float64(one).tobytes() == np.float64(other).tobytes()
    if isinstance(one, tuple | list):
        pairs = zip(one, other, strict=True)
        return type(one) is type(other) and all(same(a, b) for a, b in pairs)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and bool(one == other)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_plain_values_arrive_as_they_were(value: Any) -> None:
    assert same(value, travelled(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1, 1e308])
def test_every_float_arrives_to_the_bit(value: float) -> None:
    assert same(value, travelled(value))


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "u1", "?", "c16", "<U5", "S3", ">f8"])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), ()])
def test_arrays_arrive_to_the_bit(dtype: str, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    array = np.arange(count).astype(dtype).reshape(shape)
    found = travelled(array)
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, shape, array.tobytes())
    assert found.flags.writeable


def test_arrays_with_gaps_and_numbers_of_numpy_arrive() -> None:
    array = np.arange(12.0).reshape(3, 4)[:, ::2]
    assert np.array_equal(travelled(array), array)
    number = travelled(np.float32(0.1))
    assert type(number) is np.float32
    assert number == np.float32(0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_arrive_to_the_bit(dtype: torch.dtype) -> None:
    for tensor in (torch.arange(6).reshape(2, 3).to(dtype), torch.empty(0, 3, dtype=dtype)):
        found = travelled({"samples": (tensor.T, tensor)}, lenient=False)["samples"]
        assert torch.equal(found[1], tensor)
        assert torch.equal(found[0], tensor.T)
        assert found[1].dtype == dtype


def test_records_and_their_classes_arrive() -> None:
    change = ControlChange(3, 96, 0.5, "lr", 1e-3, {"0": math.inf}, "api", "", "applied")
    finding = Finding("a", "A", "error", 1, 2.0, 3.0, "s", "w", (Remedy("r", {"lr": 1}),), "src")
    findings = Findings((finding,), {"b": "loss"})
    status = Status("paused", 4, failure=Notice(1, "error", "t", "x"))
    assert travelled([change, findings, status, Findings]) == [change, findings, status, Findings]


@pytest.mark.parametrize("kind", discover("nbdebug.core.commands", Command), ids=lambda k: k.name)
def test_every_command_can_be_named(kind: type[Command]) -> None:
    assert travelled(kind) is kind


def test_commands_arrive() -> None:
    for command in (
        SetControl("lr", {"0.weight": 0.1}, why="w", call=3),
        ForkSteps(5, ({"lr": 0.1}, {"lr": 0.2}), "good"),
        BreakWhen("loss > 3"),
    ):
        assert travelled(command, lenient=False) == command


def result_classes() -> list[type]:
    """All dataclasses of the folder of results, private ones left out."""
    found = []
    for info in pkgutil.walk_packages(nbdebug.core.results.__path__, "nbdebug.core.results."):
        module = importlib.import_module(info.name)
        found += [
            one
            for name, one in vars(module).items()
            if isinstance(one, type)
            and dataclasses.is_dataclass(one)
            and one.__module__ == module.__name__
            and not name.startswith("_")
        ]
    return found


@pytest.mark.parametrize("kind", result_classes(), ids=lambda kind: kind.__name__)
def test_every_result_is_known_by_its_name(kind: type) -> None:
    assert travelled(kind) is kind


class Own:
    """An object of the user's."""

    def __repr__(self) -> str:
        return "<an object of mine>"


class Raises:
    def __repr__(self) -> str:
        raise ValueError("no repr")


@dataclasses.dataclass
class OwnRecord:
    value: int = 1


@pytest.mark.parametrize(
    "value",
    [Own(), Raises(), OwnRecord(), lambda: 1, np.array([Own()]), torch.nn.Linear(1, 1), open],
    ids=lambda value: type(value).__name__,
)
def test_an_object_that_cannot_be_sent_is_refused_or_becomes_its_text(value: Any) -> None:
    with pytest.raises(ArgumentError, match="cannot be sent to another process: give numbers"):
        pack({"x": [value]}, lenient=False)
    found = travelled({"x": [value], "y": 2})
    assert isinstance(found["x"][0], Unsent)
    assert found["y"] == 2


def test_a_list_that_holds_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ArgumentError, match="cannot be sent"):
        pack(endless, lenient=False)
    travelled(endless)


@pytest.mark.parametrize(
    "name",
    [
        "os:system", "subprocess:Popen", "builtins:eval", "nbdebug.core.records:np",
        "nbdebug.core.records:Array", "nbdebug.core..records:Status", "nbdebug.core.nothing:X",
        "nbdebug.core.history.history:History", "nbdebug.training.worker:Worker",
        "tests.problems:PlainLoop", "nbdebug.core.records:Status.__init__",
    ],
)  # fmt: skip
def test_no_other_class_is_made(name: str) -> None:
    with pytest.raises(LinkError, match=r"does not travel|other versions"):
        record_class(name)
    with pytest.raises(LinkError):
        unpack(json.dumps([{"c": [name, []]}, []]).encode(), b"")


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "[]", "{}", "[1]", "[1, 2, 3]", "nonsense", '[{"x": 1}, []]', '[{}, []]',
        '[{"a": ["O", [1], 0]}, [8]]', '[{"a": ["f8", [3], 0]}, [8]]',
        '[{"a": ["f8", [1], 9]}, []]',
        '[{"T": ["load", [1], 0]}, [4]]', '[{"c": ["nbdebug.core.records:Status", [1]]}, []]',
        '[{"n": 3}, []]', '[{"t": 3}, []]', "[" * 100_000,
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(LinkError):
        unpack(text.encode(), b"\0" * 8)


@given(st.binary(max_size=200))
def test_bytes_of_others_are_refused(data: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(data)
        one.close()
        with pytest.raises((LinkError, EOFError)):
            receive(other)


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(HEAD.pack(MAGIC, 2**20, 0))
        with pytest.raises(LinkError, match="too large"):
            receive(other, 2**14)


def test_a_path_arrives() -> None:
    assert travelled(Path("runs") / "x.db") == Path("runs") / "x.db"


@pytest.mark.parametrize(
    "error",
    [
        ControlNameError("no 'lrr'"), SteeringError("x steers"), ValueError("bad"),
        NonFiniteError("inf", origin="loss"), ZeroDivisionError("division by zero"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_exceptions_keep_class_and_words(error: Exception) -> None:
    found = restored(travelled(described(error)), 7)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert getattr(found, "origin", "") == getattr(error, "origin", "")


class OwnError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("error", [OwnError(1, 2), SystemExit(3), KeyError("name")], ids=repr)
def test_other_exceptions_keep_their_words(error: BaseException) -> None:
    found = restored(described(error), 7)
    assert type(found) is RemoteError
    assert str(found).startswith(f"{type(error).__name__}: {error}")
    assert "Raised in process 7" in found.__notes__[0]
