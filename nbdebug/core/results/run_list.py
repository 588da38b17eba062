"""The runs that are kept beside a training, as the Runs tab shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from nbdebug.core.names import unknown_name
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    from nbdebug.core.series import Series

Act = Literal["list", "find", "open", "compare", "rename", "tag", "untag", "ask", "delete"]
State = Literal["off", "opening", "ready", "failed"]
ADD_NOTE = "note"
MAX_TEXT_LENGTH = 250
RESERVED_PREFIXES = ("mlflow.", "nbdebug.")
TAG_NAME_PATTERN = re.compile(r"[\w\-. :/]+")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the list.

    Attributes:
        id: the same while it runs and after.
        started: in seconds since 1970; seconds: how long it took until now.
        parameters: at the start; metrics: their last values; tags: the user's own.
        this: whether it is the training before the user's eyes.
        stored: whether it is in the store, and not in its journal alone.
    """

    id: str
    name: str
    status: str
    started: float
    seconds: float | None = None
    steps: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    this: bool = False
    stored: bool = True

    @property
    def live(self) -> bool:
        """Whether it may still change."""
        return self.this or self.status == "running"


# Arrays have no truth value: two of these are equal when they are the same object.
@dataclass(frozen=True, eq=False)
class RunList:
    """What is known of the runs of a store, and what the viewer does with them.

    Attributes:
        state: off (nothing is recorded), opening, ready or failed.
        place: what the store is called.
        rows: all runs, the newest first.
        error: what was asked for last and could not be done, or why the store cannot be read.
        find: part of a name or tag; opened: the run whose tools are shown; asked: the run that
            is to be deleted once that is confirmed; "" for none.
        chosen: ids of the runs to compare; curves: their losses by id, but for this training.
    """

    state: State = "opening"
    place: str = ""
    rows: tuple[RunRow, ...] = ()
    error: str = ""
    find: str = ""
    opened: str = ""
    asked: str = ""
    chosen: tuple[str, ...] = ()
    curves: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)

    def row(self, run: str) -> RunRow | None:
        """A run by its id, None when there is none."""
        return next((row for row in self.rows if row.id == run), None)

    @property
    def compared(self) -> tuple[RunRow, ...]:
        """The chosen runs, in the order in which they were chosen."""
        return tuple(row for row in map(self.row, self.chosen) if row is not None)


class RunListSource(Protocol):
    """Keeps the list of runs; `version` grows with every change of it."""

    run_list: RunList
    version: int


class NotRecorded:
    """The source where nothing is recorded."""

    run_list, version = RunList("off"), 0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Something to be done with the runs of a store.

    Attributes:
        act: list, find, open (or close), compare (or not any more), rename, tag, untag, ask
            (whether it is to be deleted, or not any more), delete.
        run: id of the run.
        text: what to find, the new name, or a tag as `name` or `name=value`.
    """

    act: Act
    run: str = ""
    text: str = ""
    name: ClassVar[str] = "runs"

    def check(self) -> None:
        """Raise ArgumentError where there is no such act, or the text does not do."""
        if self.act not in get_args(Act):
            raise ArgumentError(unknown_name("request", self.act, get_args(Act)))
        if self.act == "rename" and not 0 < len(self.text) <= MAX_TEXT_LENGTH:
            raise ArgumentError(
                f"A name has 1 to {MAX_TEXT_LENGTH} characters, got {len(self.text)}."
            )
        if self.act == "tag":
            name, value = self.tag
            if not TAG_NAME_PATTERN.fullmatch(name) or max(len(name), len(value)) > MAX_TEXT_LENGTH:
                raise ArgumentError(
                    f"Not a tag: {self.text[:40]!r}. Write name or name=value, at most "
                    f"{MAX_TEXT_LENGTH} characters each; the name of letters, digits, spaces and _ - . : /."
                )
            if name.startswith(RESERVED_PREFIXES):
                raise ArgumentError(
                    f"Tags do not begin with {' or '.join(RESERVED_PREFIXES)}: {name!r}."
                )

    @property
    def tag(self) -> tuple[str, str]:
        """Name and value of the tag."""
        name, _, value = self.text.partition("=")
        return name.strip(), value.strip()

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> RunRequest:
        """From the fields of a form; the name of the field with the text begins with `text`."""
        text = next((str(v) for name, v in fields.items() if name.startswith("text")), "")
        return cls(fields.get("act", "list"), str(fields.get("run", "")), text.strip())


def differing(rows: Sequence[RunRow]) -> dict[str, tuple[str, ...]]:
    """Hyperparameters that are not the same in all runs: their values, run by run.

    What a run does not say is "".
    """
    names = dict.fromkeys(name for row in rows for name in row.parameters)
    values = {name: tuple(row.parameters.get(name, "") for row in rows) for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}
