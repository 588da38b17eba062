"""Attribution of an output to the inputs of the sample that the picture of the network shows."""

from __future__ import annotations

import html

from nbdebug.core.commands.inside import Explain
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.attribution import METHODS, TITLES, Attribution
from nbdebug.panels._buttons import button
from nbdebug.panels.base import Panel
from nbdebug.panels.network_picture import SAMPLE, sample_fields, sample_text

EXPLAIN = "inside_explain"
HINT = (
    "Choose a method at “Explain” above: which inputs of the sample raise or lower the output of "
    "its class. Each explanation is of the step at which it was asked for."
)


class AttributionPanel(Panel):
    """Inputs that an output of the model depends on, by one of five methods."""

    name = "attribution"
    tab = "Network"
    order = 15
    title = "Explanation of one output"
    help = "orange: the input raises the output; blue: it lowers it. Saliency has no sign"
    height = 220
    wide = True

    def build(self) -> None:
        offered = [("", "nothing"), *((name, TITLES[name]) for name in METHODS)]
        self.context.choices.offer(EXPLAIN, "Explain", self.tab, offered)
        # The panel of the picture offers the samples that there are.
        self.context.choices.offer(SAMPLE, "Sample", self.tab, [("0", "0")], free=True)
        self._asked = ("", "")
        self._page = ""

    def update(self, snapshot: Snapshot) -> None:
        choices = self.context.choices
        wanted = (choices[EXPLAIN], choices[SAMPLE])
        closed = snapshot.status.state == "closed"
        if wanted != self._asked and not closed:
            self._asked = wanted
            if wanted[0]:
                self.context.ask(self.name, Explain.name, _fields(*wanted))
        page = self._drawn(snapshot.results.of(Attribution), closed)
        if page != self._page:
            self._page = page
            self.context.sink.set_section(self.name, "0", page)

    def _drawn(self, found: Attribution | None, closed: bool) -> str:
        method, sample = self._asked
        if not method:
            return f"<p>{html.escape('Training is closed.' if closed else HINT)}</p>"
        again = button(
            "Explain again", Explain.name, _fields(method, sample),
            "Explain the output at the present weights", disabled=closed,
        )  # fmt: skip
        named = sample_text(sample or "0")
        if found is None or (found.method, found.named) != (method, named):
            return f"<p>{TITLES[method]} of sample {html.escape(named)}…</p>{again}"
        return f"{found._repr_html_()}<p>{again}</p>"


def _fields(method: str, sample: str) -> dict[str, str]:
    return {"method": method, **sample_fields(sample)}
