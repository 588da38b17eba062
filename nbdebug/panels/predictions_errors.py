"""The most confident errors among the fixed samples, or the largest ones."""

from __future__ import annotations

from functools import partial

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.predicted_step import PredictedSamples
from nbdebug.core.results.inside.prediction_text import error_table, sentence
from nbdebug.panels._predictions import TAB, changed, offer_latest, shown, use
from nbdebug.panels._sample_table import look_inside
from nbdebug.panels.base import Panel

UNKNOWN = "The targets of the samples are not known, so there are no errors to list."


class PredictionErrors(Panel):
    """Wrong predictions of the highest confidence; of values the largest errors."""

    name = "predictions_errors"
    tab = TAB
    order = 27
    title = "Worst errors"
    help = "of classes: the most confident; a click on a sample looks inside"
    height = 120

    def build(self) -> None:
        offer_latest(self)

    def update(self, snapshot: Snapshot) -> None:
        found, one = shown(self, snapshot)
        if not use(self, one is not None) or one is None:
            return
        if not changed(self, one, snapshot.status.state == "closed"):
            return
        live = snapshot.status.state != "closed"
        # The number alone: the panel is half as wide as the page.
        tools = partial(_named_button, found.samples)
        page = error_table(found, one, tools=tools if live else None)
        if found.samples.targets is None:
            page = f'<div class="nbd-quiet">{UNKNOWN}</div>'
        elif not page:
            page = f'<div class="nbd-quiet">No errors at {sentence(found, one)}.</div>'
        self.context.sink.set_section(self.name, "0", page)


def _named_button(samples: PredictedSamples, position: int) -> str:
    return look_inside(f"{position}", f"{samples.name(position)}")
