"""Words of other libraries are told their name here, typos the nearest one."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.core.names import SYNONYMS
from nbdebug.debugger import run_name
from nbdebug.debugger.run_name import default_name
from nbdebug.errors import ArgumentError, ControlNameError, ControlValueError, NbdebugError
from tests.problems import blobs, tiny_mlp

Verb = Callable[[nbd.Debugger], object]


@pytest.fixture(scope="module")
def dbg() -> Iterator[nbd.Debugger]:
    made = nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_data=blobs(), runs=None)
    with made as dbg:
        yield dbg


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rate", "learning_rate is called lr here."),
        ("bs", "bs is called batch_size here."),
        ("batch", "batch is called batch_size here."),
        ("wd", "wd is called weight_decay here."),
        ("clipnorm", 'clipnorm is called clip_threshold here with clip_mode="norm".'),
        ("max_norm", 'max_norm is called clip_threshold here with clip_mode="norm".'),
        ("clipvalue", 'clipvalue is called clip_threshold here with clip_mode="value".'),
        ("lr_scheduler", "lr_scheduler is called schedule here."),
        ("criterion", "criterion is called loss_fn here."),
        ("optim", "optim is called optimizer here."),
        ("train_loader", "train_loader is called train_data here."),
        ("valid_loader", "valid_loader is called val_data here."),
        ("epochs", "epochs is no keyword: say how long when you train, with run(epochs=...)."),
        ("max_steps", "max_steps is no keyword: say how long when you train, with run(steps=...)."),
        ("Learning_Rate", "Learning_Rate is called lr here."),
        ("learnig_rate", "There is no keyword 'learnig_rate'. Did you mean 'lr'?"),
        ("optimzer", "There is no keyword 'optimzer'. Did you mean 'optimizer'?"),
        ("batchsiz", "There is no keyword 'batchsiz'. Did you mean 'batch_size'?"),
    ],
)
def test_words_of_the_field_for_the_debugger(word: str, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None, **{word: 1})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (lambda d: d.set(learning_rate=1), "learning_rate is called lr here."),
        (lambda d: d.set(criterion=1), "given to nbd.Debugger(...), as loss_fn=."),
        (lambda d: d.set(dropot=0.1), "There is no control 'dropot'. Did you mean 'dropout'?"),
        (lambda d: d.fork(2, learning_rate=0.1), "learning_rate is called lr here."),
        (lambda d: d.fork(epochs=2), "run(epochs=...)"),
        (lambda d: d.run(epoch=3), "epoch is called epochs here."),
        (lambda d: d.run(max_steps=3), "max_steps is called steps here."),
        (lambda d: d.step(steps=3), "with run(steps=...)"),
        (lambda d: d.rewind(1, reason="x"), "keyword of rewind 'reason'. There are: step, why."),
        (lambda d: d.wait(timeot=1), "Did you mean 'timeout'?"),
        (lambda d: d.undo(rewnd=True), "Did you mean 'rewind'?"),
        (lambda d: d.timeline.checkpoint(nam="x"), "Did you mean 'name'?"),
        (lambda d: d.lr_range_test(hihg=1.0), "Did you mean 'high'?"),
        (lambda d: d.set(optimizer="adamm"), "Did you mean 'adam'?"),
        (lambda d: d.set(schedule="cosin"), "Did you mean 'cosine'?"),
    ],
)
def test_words_of_the_field_for_verbs(dbg: nbd.Debugger, verb: Verb, said: str) -> None:
    with pytest.raises(NbdebugError) as caught:
        verb(dbg)
    assert said in str(caught.value)
    assert dbg.history.status.step == 0
    kinds = (ArgumentError, ControlNameError, ControlValueError)
    assert isinstance(caught.value, kinds)


def test_a_misspelt_optimizer_of_the_debugger() -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'adamw'"):
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), optimizer="adamww", runs=None)


def test_every_word_has_one_meaning_and_is_no_name_of_ours() -> None:
    words = [word for words in SYNONYMS.values() for word in words]
    assert len(words) == len(set(words))
    own = set(inspect.signature(nbd.Debugger).parameters)
    assert own & set(words) == set()
    known = own | {"epochs", "steps", "start"}
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as dbg:
        assert set(SYNONYMS) <= known | set(dbg.controls)
        assert set(words) & set(dbg.controls) == set()


def test_verbs_keep_their_signature_and_help() -> None:
    assert list(inspect.signature(nbd.Debugger.run).parameters) == ["self", "steps", "epochs"]
    assert (nbd.Debugger.rewind.__doc__ or "").startswith("Rewind training")


def test_a_place_before_the_first_step_is_refused_in_sensible_words(dbg: nbd.Debugger) -> None:
    with pytest.raises(ArgumentError) as caught:
        dbg.rewind(5)
    assert "there is only 0, the current step" in str(caught.value)
    assert "to -1" not in str(caught.value)


@pytest.mark.parametrize(
    ("condition", "near"),
    [
        ("lss > 3", "Did you mean 'loss'?"),
        ("grad_nrm > 3", "Did you mean 'grad_norm'?"),
        ("val_los rises 5", "Did you mean 'val_loss'?"),
        ("acuracy < 0.5", "Did you mean 'accuracy'?"),
        ("step == 5 and lrr > 1", "Did you mean 'lr'?"),
        ("nonsense > 1", "There is no series 'nonsense'."),
        ("ded/0 > 1", "There is no series 'ded/0'."),
        ("accuracy/0 > 1", "There is no series 'accuracy/0'."),
    ],
)
def test_a_breakpoint_that_could_never_fire_is_refused(
    dbg: nbd.Debugger, condition: str, near: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        dbg.break_when(condition)
    assert near in str(caught.value)
    assert dbg.breakpoints == ()


@pytest.mark.parametrize(
    "condition",
    [
        "val_loss rises 5", "val_accuracy > 1", "grad_norm > 1e9", "grad_norm/0.weight > 1e9",
        "dead/2 > 2", "overshoot > 1e9", "momentum > 2", "loss_scale > 1e30", "step_ms > 1e9",
    ],
)  # fmt: skip
def test_series_that_come_later_are_taken(dbg: nbd.Debugger, condition: str) -> None:
    dbg.break_when(condition)
    assert condition in dbg.breakpoints
    dbg.clear_breakpoints()


def test_a_series_of_the_validation_needs_one() -> None:
    with (
        nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as dbg,
        pytest.raises(ArgumentError, match="val_loss"),
    ):
        dbg.break_when("val_loss rises 5")


def test_every_series_of_a_training_could_be_named_before_it_began() -> None:
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), val_data=blobs(), val_every=2, runs=None
    ) as dbg:
        dbg.run(steps=25)
        names = dbg.history.series
        dbg.reset()
        assert dbg.history.series == ()
        for name in names:
            dbg.break_when(f"{name} > 1e300")


# Names of runs


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Neither a notebook nor a script."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    return monkeypatch


def run_as(patch: pytest.MonkeyPatch, file: Any) -> None:
    main = types.ModuleType("__main__")
    main.__file__ = file
    patch.setitem(sys.modules, "__main__", main)


def test_without_a_file_the_class_of_the_model_is_the_name(outside: pytest.MonkeyPatch) -> None:
    assert default_name(tiny_mlp()) == "Sequential"


def test_a_script_gives_its_name(outside: pytest.MonkeyPatch, tmp_path: Any) -> None:
    run_as(outside, str(tmp_path / "train digits.py"))
    assert default_name(tiny_mlp()) == "train digits"


@pytest.mark.parametrize(
    "file", [f"{sys.prefix}/bin/pytest", "/x/site-packages/ipykernel_launcher.py", "/x/__main__.py",
             None, 5],
)  # fmt: skip
def test_an_installed_program_gives_none(outside: pytest.MonkeyPatch, file: Any) -> None:
    run_as(outside, file)
    assert default_name(tiny_mlp()) == "Sequential"


@pytest.mark.parametrize(
    "path", ["work/My digits.ipynb", "C:\\work\\My digits.ipynb", "My digits.ipynb"]
)
def test_a_notebook_gives_its_name(outside: pytest.MonkeyPatch, path: str, tmp_path: Any) -> None:
    run_as(outside, str(tmp_path / "launcher.py"))
    outside.setenv("JPY_SESSION_NAME", path)
    assert default_name(tiny_mlp()) == "My digits"
    outside.delenv("JPY_SESSION_NAME")
    outside.setattr(run_name, "notebook_variable", {"__vsc_ipynb_file__": path}.get)
    assert default_name(tiny_mlp()) == "My digits"


def test_a_session_that_is_no_notebook_gives_none(outside: pytest.MonkeyPatch) -> None:
    outside.setenv("JPY_SESSION_NAME", "console-1")
    assert default_name(tiny_mlp()) == "Sequential"


def test_a_name_that_was_given_stays(outside: pytest.MonkeyPatch) -> None:
    outside.setenv("JPY_SESSION_NAME", "digits.ipynb")
    options: dict[str, Any] = {"loss_fn": nn.CrossEntropyLoss(), "runs": None}
    with nbd.Debugger(tiny_mlp(), blobs(), **options) as dbg:
        assert dbg.name == "digits"
