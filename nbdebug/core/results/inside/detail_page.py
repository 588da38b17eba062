"""Drawing of the details of one part of a network, as HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nbdebug.core.html.heat import heat, tiles
from nbdebug.core.html.magnitudes import magnitudes
from nbdebug.core.html.sparkline import sparkline
from nbdebug.core.html.thumbnail import png_address
from nbdebug.core.records import Array
from nbdebug.core.results.inside.network_page import count_text, shape_text, values_text
from nbdebug.core.results.inside.part_detail import PartDetail
from nbdebug.core.results.inside.structure import Part

if TYPE_CHECKING:
    from nbdebug.core.results.inside.network_picture import NetworkPicture

SMALL_SHARE, MAX_LISTED = 0.001, 8
LABELS = {"activations": "Values", "gradients": "Gradient", "updates": "Update"}


def detail_page(picture: NetworkPicture, part: Part) -> str:
    """Draw what is known of a part: facts, maps, attention, filters, histogram and units."""
    detail = picture.detail
    if detail is not None and detail.name != part.name:
        detail = None
    facts = [(label, text) for label, text in (*_facts(part, picture), *_units(detail)) if text]
    rows = "".join(
        f'<span class="nbd-label">{label}</span><span>{html.escape(text)}</span>'
        for label, text in facts
    )
    drawn = "" if detail is None else _pictures(detail, part, picture.show)
    pictures = f'<div class="nbd-figures">{drawn}</div>' if drawn else ""
    head = f"<b>{html.escape(part.title)}</b>"
    return f'<div class="nbd-detail">{head}<div class="nbd-facts">{rows}</div>{pictures}</div>'


def _pictures(detail: PartDetail, part: Part, show: str) -> str:
    weights = f"{len(detail.weights)} filters" if len(detail.weights) > 1 else "Weight"
    channels = part.shape[1] if part.shape is not None and len(part.shape) > 1 else 0
    seen = f"first {len(detail.maps)} of {channels}" if channels > len(detail.maps) > 1 else "all"
    maps = f"Channels ({seen})" if len(detail.maps) > 1 else "Positions by features"
    maps = {"gradients": f"Gradient: {maps.lower()}", "updates": "Update"}.get(show, maps)
    heads = f"Attention, {len(detail.attention)} heads: rows attend to columns"
    drawn = _histogram(detail) + magnitudes(detail.magnitudes.tolist())
    drawn += _image(heads, detail.attention) + _image(maps, detail.maps)
    drawn += _image(weights, detail.weights) + _colour_image(detail.colours)
    change = f"Change since step {detail.since:,}"
    return drawn + (_image(change, detail.change) if detail.moved > 0 else "")


def _colour_image(filters: Array) -> str:
    """Filters [K, 3, H, W] in the colours that they answer to most; nothing between them."""
    if not filters.size:
        return ""
    largest = float(np.nanmax(np.abs(filters))) or 1.0
    layers = [tiles(filters[:, at] / largest) for at in range(3)]
    # Opaque where there is a filter.
    layers.append(tiles(np.full(filters[:, 0].shape, 1.0)) * 2 - 1)
    pixels = np.nan_to_num(np.stack(layers, axis=2)) * 127.5 + 127.5
    address = png_address(np.clip(pixels, 0, 255).astype(np.uint8))
    return _figure(f"{len(filters)} filters, red, green and blue", address)


def _histogram(detail: PartDetail) -> str:
    if not detail.counts.size:
        return ""
    text = f"Values from {detail.edges[0]:.3g} to {detail.edges[-1]:.3g}"
    line = sparkline([math.sqrt(count) for count in detail.counts], text)
    return f"<figure>{line}<figcaption>{text}, square roots of the counts</figcaption></figure>"


def _image(label: str, maps: Array) -> str:
    if not maps.size:
        return ""
    return _figure(label, heat(tiles(maps)))


def _figure(label: str, address: str) -> str:
    text = html.escape(label)
    return f'<figure><img alt="" src="{address}"><figcaption>{text}</figcaption></figure>'


def _facts(part: Part, picture: NetworkPicture) -> list[tuple[str, str]]:
    total = sum(p.seconds for p in picture.structure.parts if math.isfinite(p.seconds))
    share = part.seconds / total if total and math.isfinite(part.seconds) else math.nan
    values = picture.values.get(part.name)
    trained = "" if part.trainable == part.parameters else f", {count_text(part.trainable)} trained"
    return [
        ("Fails", part.error),
        ("Takes", ", ".join(shape_text(one) for one in part.given)),
        ("Gives", shape_text(part.shape)),
        ("Parameters", f"{count_text(part.parameters)}{trained}" if part.parameters else ""),
        ("Time", f"{share:.0%} of the forward pass" if math.isfinite(share) else ""),
        ("Called", f"{part.calls} times in a pass" if part.calls > 1 else ""),
        (
            LABELS[picture.show],
            "" if values is None else values_text(values),
        ),
    ]


def _units(detail: PartDetail | None) -> list[tuple[str, str]]:
    if detail is None:
        return []
    rows = [("Type", _bands(detail))]
    if math.isfinite(detail.moved):
        moved = f"by {detail.moved:.2%} of their norm since step {detail.since:,}"
        rows.append(("Weights moved", moved))
    if detail.units:
        dead = f"{len(detail.dead)} of {detail.units} are 0 for all {detail.samples} samples"
        rows.append(("Dead", dead + _listed(detail.dead)))
    if detail.saturated:
        edge = f"{len(detail.saturated)} of {detail.units} are at a limit for most values"
        rows.append(("Saturated", edge + _listed(detail.saturated)))
    if detail.excited:
        most = detail.excited[0]
        others = ", ".join(str(unit.number) for unit in detail.excited[1:])
        rows.append(("Excited", f"unit {most.number}" + (f", then {others}" if others else "")))
        top = ", ".join(map(str, most.top))
        rows.append(("Samples", f"unit {most.number} is largest for sample {top}"))
    return rows


def _listed(units: Sequence[int]) -> str:
    more = " …" if len(units) > MAX_LISTED else ""
    return f": {', '.join(map(str, units[:MAX_LISTED]))}{more}" if units else ""


def _bands(detail: PartDetail) -> str:
    words = [detail.dtype]
    if detail.tiny >= SMALL_SHARE:
        words.append(f"{detail.tiny:.1%} would underflow in float16")
    if detail.huge > 0:
        words.append(f"{detail.huge:.1%} would overflow in float16")
    return ", ".join(word for word in words if word)
