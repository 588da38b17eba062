"""Picture of the network: activations or gradients of one sample, or the last update, live."""

from __future__ import annotations

import html

from nbdebug.core.commands.inside import LookInside
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.detail_page import detail_page
from nbdebug.core.results.inside.network_page import network_page
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.structure import Structure
from nbdebug.core.results.network import ends_of, range_title
from nbdebug.panels.base import Panel

# A sample by its index in the training data, as a value of SAMPLE.
INDEX = "index "
BLOCK, PART, SHOW, SAMPLE = "inside_block", "inside_part", "inside_show", "inside_sample"
SHOWN = (
    ("activations", "activations"), ("gradients", "gradients of the loss"),
    ("updates", "update ratios"),
)  # fmt: skip
MAX_OFFERED = 64
WAITING = "Press Run, or begin the loop: the picture is made between two steps."


class PictureOfNetwork(Panel):
    """Parts of the network in the order of the flow, with their values."""

    name = "network_picture"
    tab = "Network"
    order = 14
    title = "Network"
    help = "orange above 0, blue below; a click unfolds a block, or tells more of a part"
    height = 420
    wide = True
    watches = ("network_picture",)

    def build(self) -> None:
        choices = self.context.choices
        choices.offer(SHOW, "Show", self.tab, SHOWN)
        choices.offer(SAMPLE, "Sample", self.tab, [("0", "0")], free=True)
        choices.offer(BLOCK, "Block", self.tab, [("", "whole network")])
        choices.offer(PART, "Part", self.tab, [("", "none")], free=True)
        self._asked = ("0", SHOWN[0][0], "")
        # The page of this picture, for these choices and blamed layers, is on the screen.
        self._drawn: tuple[NetworkPicture | None, tuple[object, ...]] = (None, ())

    def update(self, snapshot: Snapshot) -> None:
        picture = snapshot.results.of(NetworkPicture)
        if picture is None:
            self._say(WAITING if snapshot.status.state != "closed" else "Training is closed.")
            return
        self._offer(picture)
        choices = self.context.choices
        wanted = (choices[SAMPLE], choices[SHOW], choices[PART])
        if wanted != self._asked and snapshot.status.state != "closed":
            self._asked = wanted
            fields = {**sample_fields(wanted[0]), "show": wanted[1], "part": wanted[2]}
            self.context.ask(self.name, LookInside.name, fields)
        blamed = frozenset(name for found in snapshot.findings for name in found.layers)
        state = (choices[BLOCK], choices[PART], blamed)
        if self._drawn[0] is picture and self._drawn[1] == state:
            return
        self._drawn = picture, state
        drawn = network_page(picture, choices[BLOCK], choices[PART], blamed, (BLOCK, PART))
        part = picture.structure.part(choices[PART]) if choices[PART] else None
        detail = "" if part is None else detail_page(picture, part)
        said = f"<p>{html.escape(picture.caption)}</p>"
        page = (
            f'{said}<div class="nbd-inside"><div class="nbd-scroll" tabindex="0" role="group" '
            f'aria-label="Parts of the network">{drawn}</div>{detail}</div>'
        )
        self.context.sink.set_section(self.name, "0", page)

    def _say(self, text: str) -> None:
        self._drawn = None, ()
        self.context.sink.set_section(self.name, "0", f"<p>{html.escape(text)}</p>")

    def _offer(self, picture: NetworkPicture) -> None:
        choices = self.context.choices
        samples = [(str(at), str(at)) for at in range(min(picture.samples, MAX_OFFERED))]
        chosen = choices[SAMPLE]
        if chosen not in dict(samples):
            samples.append((chosen, sample_text(chosen)))
        choices.offer(SAMPLE, "Sample", self.tab, samples, free=True)
        blocks = _blocks(picture.structure, choices[BLOCK])
        choices.offer(BLOCK, "Block", self.tab, [("", "whole network"), *blocks])
        parts = picture.structure.folded(choices[BLOCK]).parts
        single = [(part.name, part.title) for part in parts if part.size == 1]
        part = picture.structure.part(choices[PART])
        if part is not None and all(part.name != name for name, _ in single):
            # It is inside of a folded block.
            single.append((part.name, part.title))
        choices.offer(PART, "Part", self.tab, [("", "none"), *single], free=True)


def sample_fields(chosen: str) -> dict[str, str]:
    """Fields of a command for a value of SAMPLE."""
    index = chosen.removeprefix(INDEX)
    return {"sample": chosen or "0"} if index == chosen else {"sample": "0", "index": index}


def sample_text(chosen: str) -> str:
    """Label of a value of SAMPLE."""
    index = chosen.removeprefix(INDEX)
    return chosen if index == chosen else f"{index} of train_data"


def _blocks(structure: Structure, block: str) -> list[tuple[str, str]]:
    """The blocks around the one that is shown, and those that can be unfolded in it."""
    path = ends_of(block)[0].split(".")
    around = [".".join(path[:depth]) for depth in range(1, len(path))] + [block] * bool(block)
    inside = [part.name for part in structure.folded(block).parts if part.size > 1]
    return [(name, range_title(name)) for name in dict.fromkeys((*around, *inside))]
