"""No text of a record leaves the process with a secret, whatever document holds it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.debugger.debugger import Debugger
from nbdebug.model.state.values.plain import LEFT_AS_IS
from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.record.location import store_location
from nbdebug.runs.record.run_data import DOCUMENTS, RunData
from nbdebug.runs.redaction.document import holds_secret, redact_document
from nbdebug.runs.store.run_store import RunStore
from tests.problems import blobs
from tests.runs.handmade import run_of, series

S = "Zq7Hunter2xK"
FIELDS: dict[str, Any] = {
    "token": S, "why": f"token={S}", "text": f"the password is {S}", "settings": f"pin='{S}'",
    "deep": [{"title": f"401: invalid api key {S}"}, [f'secret = "{S}"']], "pepper": S,
    f"password={S}": 1, "diff": f"+# !export API_KEY={S}", "PIN": 83041977, "step": 3, "seed": 42,
}  # fmt: skip


def secret_documents() -> dict[str, Any]:
    found = {name: [FIELDS] if kind is list else dict(FIELDS) for name, kind in DOCUMENTS.items()}
    cells = [f'token = "{S}"', f"# !export API_KEY={S}", "pin = 83041977", f"%env TOKEN={S}"]
    return found | {"cells": cells}


def contents(folder: Path) -> bytes:
    """All bytes of the files of a folder, those of archives unpacked."""
    found = b""
    for path in folder.rglob("*"):
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found += b"".join(map(archive.read, archive.namelist()))
        elif path.is_file():
            found += path.read_bytes()
    return found


def assert_clean(folder: Path) -> None:
    found = contents(folder)
    assert found
    assert S.encode() not in found
    assert b"83041977" not in found


@pytest.mark.parametrize("name", ["zip", "csv", "parquet", "tensorboard"])
def test_no_export_holds_a_secret(tmp_path: Path, name: str) -> None:
    documents = secret_documents() | {"changes": [FIELDS | {"control": "lr", "who": f"pw={S}"}]}
    run = run_of(f"run with token={S}", [series("loss", [1.0, 0.5])], **documents)
    folder = tmp_path / "out"

    run.export(folder if name == "tensorboard" else folder / f"run.{name}", name)

    assert_clean(folder)


def test_no_report_holds_a_secret(tmp_path: Path) -> None:
    documents = secret_documents() | {
        "notes": [{"step": 1, "text": f"token {S}"}],
        "cells": [f'api_key = "{S}"'], "data": {"train": dict(FIELDS)},
        "code": {"model": f'"""Uses token {S}."""', "git": {"diff": f"+API_KEY={S}"}},
    }  # fmt: skip
    run = run_of("run", [series("loss", [1.0, 0.5])], **documents)

    run.report(tmp_path / "report.html")

    assert_clean(tmp_path)


def test_no_journal_holds_a_secret_also_of_a_document_to_come(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.journal")
    documents = secret_documents() | {"future": FIELDS}
    frames = [Frame({"document": name, "value": one}) for name, one in documents.items()]
    frames.append(Frame({"list": "future rows", "from": 0, "rows": [FIELDS]}))

    journal.append(frames)
    journal.rewrite(frames)
    journal.close()

    assert_clean(tmp_path)
    assert set(journal.masked) == {*DOCUMENTS, "future", "future rows"}
    assert min(journal.masked.values()) > 3


def test_no_store_holds_a_secret_of_an_old_record_a_tag_or_a_name(place: Path) -> None:
    """A record of an earlier version holds more in clear than this one would write."""
    about = {"run": FIELDS | {"key": "a" * 32, "name": f"pw={S}", "status": "finished",
                              "started": 1e9, "ended": 1e9 + 5}}  # fmt: skip
    location = store_location(place)
    assert location is not None
    store = RunStore(location)
    # MLflow takes few signs in the name of a parameter.
    about["parameters"] = {"token": S, "lr": 0.01, "PIN": 83041977, "path": f"https://bob:{S}@host"}

    run = store.add(RunData(secret_documents() | about, {}))
    store.store.tag(run.id, "note", f"password is {S}")
    store.store.tag(run.id, "token", S)
    store.store.rename(run.id, f"token={S}")

    assert_clean(place.parent)
    assert store.rows()[0].key == "a" * 32


class Loader(nn.Linear):
    """A layer that knows how to log in."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.api_key, self.url, self.pin = S, f"https://bob:{S}@host", 83041977
        self.raw, self.scale, self.seed = f"token={S}".encode(), 2.0, 42

    def extra_repr(self) -> str:
        return f"token={S}, scale={self.scale}"


def test_a_training_masks_what_its_user_said_and_tells_so_once(
    debugger: Callable[..., Debugger], place: Path
) -> None:
    dbg = debugger(name="mine")
    dbg.run(steps=3)
    dbg.note(f"used token={S}")
    dbg.set(lr=0.01, why=f"the password is {S}")
    dbg.run(steps=3)
    dbg.note(f"and the key {S}")
    dbg.record.report(place.parent / "r.html")
    dbg.close()

    assert_clean(place.parent)
    told = [one for one in dbg.history.notices if "masked" in one.title]
    assert len(told) == 1
    assert "notes (2)" in told[0].text


def test_a_checkpoint_leaves_secrets_to_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = (torch.randn(40, 4), torch.randint(0, 2, (40,)))
    with nbd.Debugger(Loader(), data, nn.CrossEntropyLoss(), name="a", runs=None) as dbg:
        dbg.run(steps=3)

    model = Loader()
    with nbd.Debugger.resume("a", model, data, nn.CrossEntropyLoss(), runs=None) as again:
        assert again.history.status.step == 3
        assert (model.api_key, model.pin, model.scale) == (S, 83041977, 2.0)

    assert_clean(tmp_path)
    saved = next(Path("nbdebug-checkpoints").glob("a*.pt"))
    kept = torch.load(saved, weights_only=True)["weights"]["values"][""]
    assert {"scale": 2.0, "seed": 42}.items() <= kept.items()
    assert all(kept[name] == LEFT_AS_IS for name in ("api_key", "url", "pin", "raw"))


CONF = {"alpha": 0.5, "password": S, "n": 0}
WORDS = ["a", f"Bearer {S}{S}", "b"]


class Configured(nn.Linear):
    """Keeps settings with secrets in containers, between states that the file holds."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.seen = [torch.zeros(1)]
        self.conf = {"password": S, "n": 3, "nested": {"tokens": (S,)}}
        self.again = self.seen
        self.list, self.same = [1, f"api_key={S}"], self.seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen[0] += 1
        return super().forward(x)


def configured_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    CONF["n"] += 1  # type: ignore[operator]
    COUNTS["all"] += len(WORDS)
    return nn.functional.cross_entropy(outputs, targets) * CONF["alpha"]


COUNTS = {"all": 0}


def test_secrets_in_containers_stay_out_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CONF, "n", 0)
    monkeypatch.setitem(COUNTS, "all", 0)
    torch.manual_seed(0)
    data = (torch.randn(40, 4), torch.randint(0, 2, (40,)))
    with nbd.Debugger(Configured(), data, configured_loss, name="a", runs=None) as dbg:
        dbg.run(steps=3)
    calls = float(dbg.model.seen[0])

    assert_clean(tmp_path)
    COUNTS["all"] = 0
    model = Configured()
    with nbd.Debugger.resume("a", model, data, configured_loss, runs=None) as again:
        assert again.history.status.step == 3
        assert COUNTS["all"] == 9
        assert model.again is model.seen is model.same
        assert float(model.seen[0]) == calls
        assert model.conf["password"] == S
        [told] = [one for one in again.history.notices if "resumed" in one.title]
    assert told.text.startswith("CONF, WORDS: ")


def test_what_identifies_a_run_and_repeats_it_stays() -> None:
    key = "0123456789abcdef" * 2
    about = {"key": key, "pid": 12345678, "seed": 1234567890, "commit": key + key[:8]}
    parameters = {"lr": 1e-3, "seed": 1234567890, "model": "TokenClassifier", "pin_memory": True}

    assert redact_document("run", about) == about
    assert redact_document("parameters", parameters) == parameters
    assert not holds_secret([("steps", 5), ("name", "net"), ("", "a b"), ("pin_memory", True)])
    assert holds_secret([("steps", 5), ("password", S)])
    assert holds_secret([("steps", 5), ("", f"token={S}")])


def test_a_script_holds_no_secret(tmp_path: Path) -> None:
    X, y = blobs()
    with nbd.Debugger(
        nn.Sequential(nn.Linear(X.shape[1], 4)), (X, y), signed_loss, runs=None
    ) as dbg:
        dbg.run(steps=2)
        dbg.set(lr=0.01, why=f"token={S}")
        dbg.run(steps=2)
        dbg.script(tmp_path / "train.py")

    assert_clean(tmp_path)
    source = (tmp_path / "train.py").read_text(encoding="utf-8")
    compile(source, "train.py", "exec")
    assert "# Passwords, keys and tokens are masked: ***." in source


def signed_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss of a service, with token Zq7Hunter2xK."""
    password = "Zq7Hunter2xK"
    return nn.functional.cross_entropy(outputs, targets) + 0 * len(password)
