"""The dashboard in a real JupyterLab and Chromium, streaming for minutes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, sync_playwright

from benchmarks.table import Row, row
from tools.chromium import find_chromium
from tools.jupyterlab_driver import FLAGS, Lab, Notebook, until, window

SETTLE = 20.0
MEGABYTE = 2**20
CELL = """
import sys, time; sys.path.insert(0, {root!r})
import torch, nbdebug as nbd
from benchmarks.workloads import cross_entropy, digits, mlp
torch.set_num_threads(1)
dbg = nbd.Debugger(mlp(64, 256, 256, 10), digits(), cross_entropy)
dbg
"""
ROWS = """() => {
  const found = [[]];
  for (const doc of window.Bokeh?.documents ?? []) {
    for (const renderer of doc.get_model_by_name("loss")?.renderers ?? []) {
      found.push(Array.from(renderer.data_source?.data?.x ?? []));
    }
  }
  return {now: Date.now(), steps: found.reduce((a, b) => (b.length > a.length ? b : a))};
}"""
PACE = "print(time.time() * 1e3, dbg.history.status.step, dbg.history.last('step_ms'))"
KEPT = """
loss = next(p for p in dbg.dashboard.pump._panels if p.name == "loss")
print(*dbg.dashboard.view._mirror._wanted[loss.train.id]["x"])
"""


def measure(minutes: float) -> list[Row]:
    """Lag, growth of the page's memory and rows, after `minutes` of streaming."""
    return _in_browser(_stream, minutes)


def away(minutes: float) -> list[Row]:
    """Rows of the plots after the page was closed for `minutes` of training."""
    return _in_browser(_away, minutes)


def _in_browser(body: Callable[[Notebook, float], list[Row]], minutes: float) -> list[Row]:
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        lab = Lab(Path(home))
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        try:
            cell = CELL.format(root=str(Path(__file__).parents[1]))
            notebook = Notebook(lab, window(browser), lab.write("stream.ipynb", [cell, PACE, KEPT]))
            return body(notebook, minutes)
        finally:
            browser.close()
            lab.stop()


def _start(notebook: Notebook) -> None:
    notebook.run_cell(0)
    notebook.shows("Run")
    until(lambda: notebook.figure("loss")["count"], "the figures")
    notebook.button("Run").click()
    until(lambda: len(_steps(notebook)) > 20, "the loss curve")


def _away(notebook: Notebook, minutes: float) -> list[Row]:
    _start(notebook)
    left = max(_steps(notebook))
    notebook.leave()
    time.sleep(minutes * 60)
    notebook.come_back()
    until(lambda: len(_steps(notebook)) > 20, "the loss curve")
    gone = max(_steps(notebook)) - left
    name = f"page closed for {minutes:g} min"
    return [
        Row(f"{name}: steps trained meanwhile", gone, None, "steps"),
        Row(f"{name}: rows missing or strange at the end", _wrong(notebook), 0, "rows"),
    ]


def _stream(notebook: Notebook, minutes: float) -> list[Row]:
    _start(notebook)
    devtools = notebook.page.context.new_cdp_session(notebook.page)
    time.sleep(min(SETTLE, minutes * 10))
    before, disorder = _heap(devtools), 0
    end = time.monotonic() + minutes * 60
    while time.monotonic() < end:
        time.sleep(1)
        disorder += sum(b <= a for a, b in pairwise(_steps(notebook)))
    lags = [_lag(notebook) for _ in range(15)]
    growth = (_heap(devtools) - before) / MEGABYTE
    name = f"{minutes:g} min in JupyterLab"
    return [
        row(f"{name}: lag at the end", lags, 300, "ms"),
        Row(f"{name}: growth of the JS heap", growth, 5, "MB"),
        Row(f"{name}: rows doubled or out of order", disorder, 0, "rows"),
        Row(f"{name}: rows missing or strange at the end", _wrong(notebook), 0, "rows"),
    ]


def _steps(notebook: Notebook) -> list[float]:
    return list(notebook.page.evaluate(ROWS)["steps"])


def _lag(notebook: Notebook) -> float:
    """Milliseconds by which the newest point on the page is older than training."""
    then, step, step_ms = (float(part) for part in _printed(notebook, 1).split())
    page = notebook.page.evaluate(ROWS)
    reached = step + (page["now"] - then) / step_ms
    return float((reached - max(page["steps"])) * step_ms)


def _wrong(notebook: Notebook) -> int:
    """Rows in which page and kernel differ after a pause."""
    notebook.button("Pause").click()
    until(lambda: notebook.button("Run").is_visible(), "the pause")
    time.sleep(2)
    kept = [float(part) for part in _printed(notebook, 2).split()]
    return len(set(kept) ^ set(_steps(notebook)))


def _printed(notebook: Notebook, cell: int) -> str:
    notebook.run_cell(cell)
    return until(lambda: notebook.text(cell).strip(), "the kernel's answer")


def _heap(devtools: CDPSession) -> float:
    devtools.send("HeapProfiler.collectGarbage")
    answer: dict[str, Any] = devtools.send("Runtime.getHeapUsage")
    return float(answer["usedSize"])
