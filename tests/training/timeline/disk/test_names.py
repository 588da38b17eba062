"""Each name of a training has a file of its own, and files of older versions are found."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.training.timeline.disk.paths import old_path_of, path_of, previous_of
from nbdebug.training.timeline.disk.reader import read
from tests.training.timeline.timelines import X, Y, make, net

NAMES = (
    "模型一", "模型二", "модель", "μοντέλο", "🦊", "🐻", "a b", "a-b", "a_b", "a.b", "a/b", "a\\b",
    "A-b", "a  b", " a b", "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9"), "digits",
    "Digits", "digits.", "digits.previous", ".digits", "..", ".", "-", "con", "CON", "nul.txt",
    "x" * 300, "x" * 301, "../../x", "/etc/passwd", "C:\\x", "a\0b", "a\nb", "\ud800", "*?", "~",
)  # fmt: skip
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{kind}{n}" for kind in ("com", "lpt") for n in "123456789"),
}


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_no_two_names_share_a_file() -> None:
    files = [one for name in NAMES for one in (path_of(name), previous_of(path_of(name)))]
    # File systems may ignore case and normalisation.
    plain = [unicodedata.normalize("NFC", str(file)).casefold() for file in files]
    assert len(set(plain)) == len(plain)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_file_name_is_fit_for_every_file_system(name: str) -> None:
    for path in (path_of(name), previous_of(path_of(name))):
        assert path.parent == Path("nbdebug-checkpoints")
        assert path.name.isascii()
        assert len(path.name) < 100
        assert not set(path.name) & set('<>:"/\\|?* ')
        assert path.name.isprintable()
        assert path.name.partition(".")[0].lower() not in RESERVED


def test_trainings_of_other_alphabets_keep_their_own_checkpoints() -> None:
    for name, steps in (("模型一", 4), ("模型二", 2), ("a b", 3), ("a-b", 1)):
        with make(name=name, runs=None, val_data=None) as dbg:
            dbg.run(steps=steps)
    for name, steps in (("模型一", 4), ("模型二", 2), ("a b", 3), ("a-b", 1)):
        with resume(name) as dbg:
            assert dbg.history.status.step == steps


def resume(name: str) -> nbd.Debugger:
    return nbd.Debugger.resume(name, net(), (X, Y), nn.CrossEntropyLoss(), runs=None)


def write_old(name: str, path: Path, steps: int = 3) -> None:
    """Write a file as version 0.1 did: without name and checksum, under its old name."""
    with make(name=name, runs=None, val_data=None) as dbg:
        dbg.run(steps=steps)
    data, _ = read(name)
    new = ("name", "classes", "schedule_undo", "overwritten")
    torch.save({k: v for k, v in data.items() if k not in new} | {"format": 1}, path)
    path_of(name).unlink()


def test_a_file_of_an_older_version_is_found_and_said_to_be_one() -> None:
    write_old("digits", old_path_of("digits"))
    with resume("digits") as dbg:
        assert dbg.history.status.step == 3
        (notice,) = [n for n in dbg.history.notices if "older version" in n.title]
        assert "digits.pt" in notice.text
        dbg.run(steps=1)
    with resume("digits") as dbg:
        assert dbg.history.status.step == 4
        assert not [n for n in dbg.history.notices if "older version" in n.title]


@pytest.mark.parametrize("name", ["a b", "模型", "digits.previous", ".digits"])
def test_an_older_file_that_several_names_share_is_refused_with_what_to_do(name: str) -> None:
    write_old(name, old_path_of(name))
    with pytest.raises(nbd.CheckpointError, match="rename the file") as caught:
        resume(name)
    old_path_of(name).rename(path_of(name))
    assert path_of(name).name in str(caught.value)
    with resume(name) as dbg:
        assert dbg.history.status.step == 3


def test_a_file_that_was_renamed_to_another_training_is_refused() -> None:
    with make(name="one", runs=None) as dbg:
        dbg.run(steps=1)
    path_of("one").rename(path_of("two"))
    with pytest.raises(nbd.CheckpointError, match="is of the training 'one'"):
        resume("two")


@pytest.mark.parametrize("name", [None, "", 5, b"x", ["x"]])
def test_what_is_no_name_is_refused_in_words(name: object) -> None:
    with pytest.raises(nbd.ArgumentError, match="name"):
        nbd.Debugger.resume(name, net(), (X, Y), nn.CrossEntropyLoss())  # type: ignore[arg-type]
    if name is not None:
        with pytest.raises(nbd.ArgumentError, match="name"):
            nbd.Debugger(net(), (X, Y), nn.CrossEntropyLoss(), name=name)  # type: ignore[arg-type]


def test_a_name_may_be_a_keyword_but_not_twice() -> None:
    with make(name="one", runs=None) as dbg:
        dbg.run(steps=1)
    given = {"model": net(), "train_data": (X, Y), "loss_fn": nn.CrossEntropyLoss(), "runs": None}
    with nbd.Debugger.resume(name="one", **given) as dbg:
        assert dbg.history.status.step == 1
    with pytest.raises(nbd.ArgumentError, match="two names"):
        nbd.Debugger.resume("one", name="two", **given)
    with pytest.raises(nbd.NbdebugError, match="model"):
        nbd.Debugger.resume("one")


@pytest.mark.parametrize(("first", "then"), [(2, 5), (5, 2)])
def test_of_two_open_trainings_of_one_name_the_longer_is_kept(first: int, then: int) -> None:
    one, other = (make(name="n", runs=None, val_data=None) for _ in range(2))
    one.run(steps=first)
    other.run(steps=then)
    one.close()
    other.close()
    said = [n.text for n in other.history.notices if "another training of the name 'n'" in n.text]
    assert len(said) == 1
    assert f"step {first}" in said[0]
    with resume("n") as dbg:
        assert dbg.history.status.step == 5
    if first < then:
        path_of("n").unlink()
        with resume("n") as dbg:
            assert dbg.history.status.step == first


def test_saving_over_a_longer_training_of_the_same_name_is_refused() -> None:
    one, other = (make(name="n", runs=None, val_data=None) for _ in range(2))
    one.run(steps=5)
    one.timeline.save()
    with pytest.raises(nbd.CheckpointError, match="another training of the name 'n'"):
        other.timeline.save()
    # Its own are replaced, shorter or not.
    one.rewind(2)
    one.close()
    other.close()
    with resume("n") as dbg:
        assert dbg.history.status.step == 2
