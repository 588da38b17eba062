"""Ticks of axes that hold numbers of any size."""

from __future__ import annotations

from pathlib import Path

from bokeh.models import LogTicker, PrintfTickFormatter


def number_ticks() -> PrintfTickFormatter:
    """Tick labels such as 0.01, 200 and 1e-7."""
    return PrintfTickFormatter(format="%.3g")


def log_ticker() -> LogTicker:
    """Ticker of a logarithmic axis; in the page, `log_ticks_script` makes its ticks round."""
    return LogTicker(num_minor_ticks=0, desired_num_ticks=8)


def log_ticks_script() -> str:
    """JavaScript function `roundLogTicks(document)`, for every page that draws figures."""
    return Path(__file__).with_name("log_ticks.js").read_text("utf-8")
