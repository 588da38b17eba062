"""List of recorded runs, as the Runs tab shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from nbdebug.core.names import unknown_name
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    from nbdebug.core.series import Series

Act = Literal["list", "find", "page", "open", "compare", "rename", "tag", "untag", "ask", "delete"]
State = Literal["off", "opening", "ready", "failed"]
ADD_NOTE = "note"
MAX_TEXT_LENGTH = 250
RESERVED_PREFIXES = ("mlflow.", "nbdebug.")
TAG_NAME_PATTERN = re.compile(r"[\w\-. :/]+")


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the list.

    Attributes:
        id: constant while the run is recorded and after.
        started: seconds since 1970; seconds: duration until now.
        parameters: hyperparameters at the start; metrics: last values; tags: tags by the user.
        this: whether the run is the training of this dashboard.
        stored: whether the run is in the store, not only in its journal.
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
        """Tell if the run may still change."""
        return self.this or self.status == "running"


# Arrays have no truth value: two of these are equal when they are the same object.
@dataclass(frozen=True, eq=False)
class RunList:
    """Runs of a store, and their selection in the Runs tab.

    Attributes:
        state: off (nothing is recorded), opening, ready or failed.
        store: name of the store.
        rows: all runs, the newest first.
        error: why the last request failed, or why the store cannot be read.
        find: search text for names and tags; opened: id of the run whose tools are shown;
            asked: id of the run whose deletion waits for confirmation; "" for none.
        chosen: ids of the runs to compare; curves: losses by id, changes: steps of the control
            changes by id, both without this training.
        page: number of the page that is shown, from 0.
    """

    state: State = "opening"
    store: str = ""
    rows: tuple[RunRow, ...] = ()
    error: str = ""
    find: str = ""
    opened: str = ""
    asked: str = ""
    chosen: tuple[str, ...] = ()
    curves: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)
    changes: Mapping[str, Sequence[float]] = field(default_factory=dict)
    page: int = 0

    def row(self, run: str) -> RunRow | None:
        """Find a run by its id, None without one."""
        return next((row for row in self.rows if row.id == run), None)

    @property
    def compared(self) -> tuple[RunRow, ...]:
        """The chosen runs, in the order of their choice."""
        return tuple(row for row in map(self.row, self.chosen) if row is not None)


class RunListSource(Protocol):
    """Source of the list of runs; `version` grows with every change."""

    run_list: RunList
    version: int


class NotRecorded:
    """Source for a training without recording."""

    run_list, version = RunList("off"), 0


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Request for an action on the runs of a store.

    Attributes:
        act: list, find, page, open (a second time closes), compare (a second time removes), rename,
            tag, untag, ask (for confirmation of a deletion; a second time cancels), delete.
        run: id of the run.
        text: search text, new name, number of a page, or a tag as `name` or `name=value`.
    """

    act: Act
    run: str = ""
    text: str = ""
    name: ClassVar[str] = "runs"

    def check(self) -> None:
        """Raise ArgumentError for an unknown act or an invalid text."""
        if self.act not in get_args(Act):
            raise ArgumentError(unknown_name("request", self.act, get_args(Act)))
        if self.act == "rename" and not 0 < len(self.text) <= MAX_TEXT_LENGTH:
            raise ArgumentError(
                f"A name has 1 to {MAX_TEXT_LENGTH} characters, got {len(self.text)}."
            )
        if self.act == "page" and not re.fullmatch("[0-9]{1,9}", self.text):
            raise ArgumentError(f"Not a page: {self.text[:40]!r}.")
        if self.act == "tag":
            name, value = self.tag
            if not TAG_NAME_PATTERN.fullmatch(name) or max(len(name), len(value)) > MAX_TEXT_LENGTH:
                raise ArgumentError(
                    f"Not a tag: {self.text[:40]!r}. Write name or name=value, at most "
                    f"{MAX_TEXT_LENGTH} characters each; the name of letters, digits, "
                    "spaces and _ - . : /."
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

    @property
    def page(self) -> int:
        """Number of the page, from 0."""
        return int(self.text)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> RunRequest:
        """Create from the fields of a form; the name of the text field begins with `text`."""
        text = next((str(v) for name, v in fields.items() if name.startswith("text")), "")
        return cls(fields.get("act", "list"), str(fields.get("run", "")), text.strip())


def differing(rows: Sequence[RunRow]) -> dict[str, tuple[str, ...]]:
    """Return the hyperparameters that differ between runs, with their values run by run.

    A missing value is "".
    """
    names = dict.fromkeys(name for row in rows for name in row.parameters)
    values = {name: tuple(row.parameters.get(name, "") for row in rows) for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}
