"""Section of a report with what was looked at inside the network."""

from __future__ import annotations

from collections.abc import Iterator

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.inside.attribution import Attribution
from nbdebug.core.results.inside.detail_page import detail_page
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.core.results.inside.network_page import network_page
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.prediction_text import as_html
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.core.results.inside.structure import Structure
from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.html import Markup, Section, escaped, remark, section, table

MAX_CLASSES = 20


def inside(run: RunRecord, looks: Snapshot) -> Section:
    """Network, explanation, embedding and predictions as they were looked at last.

    Args:
        run: holds the structure of the network, which is drawn where nothing else was.
        looks: the training as it is; empty for a run that is read from a record.
    """
    parts = list(_parts(looks))
    if parts:
        parts.insert(0, str(remark("As it was looked at last, each at the step that it names.")))
    if looks.results.of(NetworkPicture) is None and run.structure.parts:
        parts.append(_structure(run.structure))
    return section("inside", "Inside the network", *parts)


def _parts(looks: Snapshot) -> Iterator[str]:
    picture = looks.results.of(NetworkPicture)
    if picture is not None:
        yield _network(picture, looks)
    explained = looks.results.of(Attribution)
    if explained is not None:
        yield _titled("Explanation of one output", explained._repr_html_())
    embedding = looks.results.of(Embedding)
    if embedding is not None and len(embedding.points):
        yield _titled("Embedding", embedding._repr_html_())
    found = looks.results.of(Predictions)
    if found is not None and found.history:
        yield _titled("Predictions", as_html(found) + _confusion(found))


def _structure(structure: Structure) -> str:
    """The network without values."""
    drawn = network_page(NetworkPicture(0, structure))
    said = remark("As it was looked at first; a record holds no values of its parts.")
    return _titled("Network", f'{said}<div class="wide">{drawn}</div>')


def _network(picture: NetworkPicture, looks: Snapshot) -> str:
    marked = {name for finding in looks.findings for name in finding.layers}
    chosen = "" if picture.detail is None else picture.detail.name
    drawn = f'<div class="wide">{network_page(picture, "", chosen, marked)}</div>'
    part = picture.structure.part(chosen) if chosen else None
    detail = "" if part is None else detail_page(picture, part)
    said = f"<p>{escaped(picture.caption)}</p>"
    return _titled("Network", said + drawn + detail)


def _confusion(found: Predictions) -> str:
    """Counts by target and prediction, where there are few classes."""
    if not 1 < found.classes <= MAX_CLASSES or found.samples.targets is None:
        return ""
    frame = found.confusion()
    head = ["target", *map(str, frame.columns)]
    rows = [
        [name, *(count or "" for count in counts)]
        for name, counts in zip(frame.index, frame.to_numpy().tolist(), strict=True)
    ]
    words = remark("Confusion matrix: number of samples by target and predicted class.")
    return words + table(head, rows, numeric=head, name="Confusion matrix")


def _titled(title: str, inner: str) -> str:
    return f'<div class="look"><h3>{escaped(title)}</h3>{Markup(inner)}</div>'
