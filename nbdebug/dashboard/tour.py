"""Short tour of the dashboard, shown by the button Help."""

from __future__ import annotations

STOPS = (
    ("Run, Step, Reset", "Train until you press Pause, or for a number of steps or epochs. Reset "
     "starts again from the first weights; it asks before, and the old curve stays in grey."),
    ("Controls", "Move a slider, or type into the number above it and press Enter. A new value "
     "takes effect at the next step, and a mark on the plots says when. Undo takes the last "
     "change back."),
    ("Line above the plots", "The first thing that looks sick. Try trains a copy with and without "
     "the remedy; Keep or Discard then decides. Why? opens the tab Findings."),
    ("Plots", "Drag to move, draw a box to zoom, and use the buttons at the edge of a plot to go "
     "back or to save a PNG. CSV beside a title saves the numbers that are shown."),
    ("Network", "A histogram of each layer's output. A click on a layer opens it over time."),
    ("Tabs", "Details: one layer, gradients, clipping, learning rate, checklist, timeline (rewind, "
     "fork, replay) and recorded runs."),
    ("Keyboard", "Tab moves between controls, arrow keys move a slider or change the tab, Enter "
     "presses a button, Ctrl+Z takes the last change of a control back."),
    ("More room", "In JupyterLab, right-click the dashboard and choose Create New View for Cell "
     "Output: it opens in a panel of its own and stays live."),
    ("Close the page", "Training goes on in the kernel. Open the notebook again and the plots are "
     "complete."),
)  # fmt: skip
TOUR = "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in STOPS) + "</dl>"
