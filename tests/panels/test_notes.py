"""Notes on the plots, without a browser."""

from __future__ import annotations

from typing import Any

import pytest
from bokeh.models import HoverTool
from bokeh.models.glyphs import VSpan

from nbdebug.core.history.history import History
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.records import Note, Status
from nbdebug.errors import ArgumentError
from nbdebug.panels.base import NoSink, Panel, PanelContext
from nbdebug.plots.markers import MAX_MARKS, MAX_TEXT_LENGTH, note_columns
from nbdebug.plots.plot_options import PlotOptions

HOSTILE = "<img src=x onerror=alert(1)> @x $index {safe}"
NOTES = (Note(7, 448, 0.25, HOSTILE), Note(20, 1280, 1.5, "x" * 2000))
OVER_TIME = {"loss", "grad_norm", "controls", "learning_rate"}


class Data(NoSink):
    def __init__(self) -> None:
        self.of: dict[str, Any] = {}

    def set_data(self, source: Any, columns: Any) -> None:
        self.of[source.id] = columns


@pytest.mark.parametrize(
    ("axis", "places"),
    [("step", [7.0, 20.0]), ("samples", [448.0, 1280.0]), ("epoch", [0.25, 1.5])],
)
def test_a_note_lies_where_training_stood(axis: Any, places: list[float]) -> None:
    columns = note_columns(Snapshot(notes=NOTES), axis)
    assert columns["x"] == places
    assert columns["when"] == ["step 7", "step 20"]
    assert columns["text"] == [HOSTILE, "x" * (MAX_TEXT_LENGTH - 1) + "…"]


def test_no_more_than_the_newest_are_drawn() -> None:
    notes = tuple(Note(step, 0, 0.0, "n") for step in range(500))
    columns = note_columns(Snapshot(notes=notes), "step")
    assert columns["x"] == [float(step) for step in range(500 - MAX_MARKS, 500)]


def test_every_plot_over_time_shows_them_with_a_card_of_escaped_text() -> None:
    context = PanelContext(PlotOptions())
    data = Data()
    context.sink = data
    found = set()
    for kind in discover("nbdebug.panels", Panel):
        if kind.name not in OVER_TIME:
            continue
        panel = kind(context)
        figure: Any = panel.build()
        panel.update(Snapshot(notes=NOTES, version=1))
        spans = [r for r in figure.renderers if isinstance(r.glyph, VSpan)]
        (notes,) = (r for r in spans if "text" in r.data_source.data)
        (changes,) = (r for r in spans if r is not notes)
        assert notes.glyph.line_dash != changes.glyph.line_dash
        assert notes.glyph.line_color != changes.glyph.line_color
        assert data.of[notes.data_source.id]["x"] == [7.0, 20.0]
        (card,) = (
            tool
            for tool in figure.toolbar.tools
            if isinstance(tool, HoverTool)
            and [r.data_source for r in tool.renderers] == [notes.data_source]
        )
        # Bokeh escapes @text; @text{safe} it would not.
        assert "@text<" in card.tooltips
        assert "safe" not in card.tooltips
        found.add(kind.name)
    assert found == OVER_TIME


def test_the_axis_that_is_chosen_moves_them() -> None:
    context = PanelContext(PlotOptions())
    context.sink = data = Data()
    context.mark(Snapshot(notes=NOTES, version=1))
    context.choices.pick("axis", "epoch")
    context.mark(Snapshot(notes=NOTES, version=1))
    assert data.of[context.markers.notes.id]["x"] == [0.25, 1.5]


def test_a_note_is_a_sentence_of_at_most_2000_characters() -> None:
    history = History()
    history.set_status(Status("running", 5, 320, 0.5))
    history.add_note("  now slower ")
    assert history.snapshot(()).notes == (Note(5, 320, 0.5, "now slower"),)
    for wrong in ("", "  ", None, 5, "x" * 2001):
        with pytest.raises(ArgumentError, match="A note"):
            history.add_note(wrong)  # type: ignore[arg-type]
    assert len(history.snapshot(()).notes) == 1
