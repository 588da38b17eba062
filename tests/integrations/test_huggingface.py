"""A Hugging Face Trainer that is watched trains as it does alone, and takes controls."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.model.state.bits import bitwise_equal
from tests.draw import some
from tests.integrations.live import stopped_by_failure

transformers = pytest.importorskip("transformers", minversion="5")
pytest.importorskip("accelerate")
watching = nbd.integrations.huggingface

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:transformers"),
    pytest.mark.filterwarnings("ignore::Warning:accelerate"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*"),
]
STEPS, BATCH = 10, 4
TOKENS = torch.randint(0, 20, (STEPS * BATCH, 6), generator=torch.Generator().manual_seed(1))


class Rows(torch.utils.data.Dataset[Any]):
    """Sentences of random tokens, whose class is the sum of the first two."""

    def __len__(self) -> int:
        return len(TOKENS)

    def __getitem__(self, index: int) -> Any:
        row = TOKENS[index]
        return {"input_ids": row, "labels": (row[0] + row[1]) % 2}


class Stepping(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    """Calls `after` behind each update."""

    def __init__(self, after: Callable[[int, dict[str, Any]], None]) -> None:
        self.after = after

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.after(state.global_step, given)


class Fit:
    """A training of a small BERT, which may be watched."""

    def __init__(
        self, folder: Path, watch: Any = None, data: Any = None, nan_at: int = -1, **arguments: Any
    ) -> None:
        config = transformers.BertConfig(
            vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=8, num_labels=2,
        )  # fmt: skip
        torch.manual_seed(0)
        self.model = transformers.BertForSequenceClassification(config)
        self.losses: list[float] = []
        self.calls, self.nan_at = 0, nan_at
        self.after: Callable[[int, dict[str, Any]], None] = lambda step, given: None
        self.arguments = transformers.TrainingArguments(**{
            "output_dir": str(folder), "num_train_epochs": 3, "per_device_train_batch_size": BATCH,
            "learning_rate": 1e-2, "report_to": "none", "save_strategy": "no", "use_cpu": True,
            "disable_tqdm": True, "logging_steps": 3, "max_grad_norm": 0.5, "warmup_steps": 2,
            **arguments,
        })  # fmt: skip
        watches = [] if watch is None else [watch]
        self.trainer = transformers.Trainer(
            model=self.model,
            args=self.arguments,
            train_dataset=data or Rows(),
            eval_dataset=Rows(),
            compute_loss_func=self.loss,
            compute_metrics=lambda found: {
                "accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())
            },
            callbacks=[*watches, Stepping(lambda *given: self.after(*given))],
        )
        self.trainer.remove_callback(transformers.PrinterCallback)

    def loss(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        loss = nn.functional.cross_entropy(outputs.logits, labels)
        if self.model.training:
            if self.calls == self.nan_at:
                loss = loss * torch.nan
            self.calls += 1
            self.losses.append(loss.item())
        return loss

    def run(self, **arguments: Any) -> Fit:
        torch.manual_seed(0)
        self.trainer.train(**arguments)
        return self

    def state(self) -> Any:
        logs = [
            {n: v for n, v in log.items() if "runtime" not in n and "per_second" not in n}
            for log in self.trainer.state.log_history
        ]
        made = self.trainer
        return [
            self.model.state_dict(), made.optimizer.state_dict(), made.lr_scheduler.state_dict(),
            logs, torch.get_rng_state(),
        ]  # fmt: skip

    def equals(self, other: Fit) -> bool:
        return self.losses == other.losses and bitwise_equal(self.state(), other.state())


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Let the Trainer, which collects all garbage when it begins, pass over what is there."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def watch() -> Iterator[Any]:
    made = watching.Watch(runs=None)
    yield made
    made.close()


def frame(watch: Any, *names: str) -> Any:
    return watch.dbg.history.frame(list(names))


SETTINGS = {
    "plain": {"max_grad_norm": 0.0},
    "clipped": {},
    "accumulated": {"gradient_accumulation_steps": 3},
    "evaluated": {"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True},
    "cosine": {"lr_scheduler_type": "cosine", "weight_decay": 0.1},
    "bfloat16": {"bf16": True},
    "ended by steps": {"max_steps": 13},
    "checkpointed": {"gradient_checkpointing": True},
}


@pytest.mark.soak
@pytest.mark.parametrize("name", some(SETTINGS, 2))
def test_a_watched_trainer_equals_the_bare_one(tmp_path: Path, watch: Any, name: str) -> None:
    settings: dict[str, Any] = SETTINGS[name]
    bare, trained = Fit(tmp_path, **settings).run(), Fit(tmp_path, watch, **settings).run()
    assert trained.equals(bare)
    assert watch.dbg.state == "paused"


def test_loss_gradients_and_progress_are_those_of_the_training(tmp_path: Path, watch: Any) -> None:
    norms: list[float] = []
    bare = Fit(tmp_path, max_grad_norm=1e-3, logging_steps=1).run()
    norms = [log["grad_norm"] for log in bare.trainer.state.log_history if "grad_norm" in log]
    Fit(tmp_path, watch, max_grad_norm=1e-3).run()
    found = frame(watch, "loss", "grad_norm", "samples", "epoch")
    assert found["loss"].tolist() == bare.losses
    # Before the clipping of the Trainer, which logs it so.
    assert found["grad_norm"].tolist() == pytest.approx(norms, rel=1e-4)
    assert found["samples"].tolist() == [4.0 * n for n in range(1, 31)]
    assert found["epoch"].tolist() == pytest.approx([n / 10 for n in range(1, 31)])


def test_an_accumulated_step_has_all_its_batches(tmp_path: Path, watch: Any) -> None:
    settings = {"gradient_accumulation_steps": 4, "num_train_epochs": 2}
    bare = Fit(tmp_path, **settings).run()
    Fit(tmp_path, watch, **settings).run()
    found = frame(watch, "samples", "epoch", "loss")
    assert found["samples"].tolist() == [16, 32, 40, 56, 72, 80]
    assert found["epoch"].tolist() == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    # The loss function of the user has the scale that it gives itself.
    assert found["loss"].iloc[0] == pytest.approx(sum(bare.losses[:4]), rel=1e-5)


def test_what_an_evaluation_measures_is_shown(tmp_path: Path, watch: Any) -> None:
    trained = Fit(tmp_path, watch, eval_strategy="epoch").run()
    found = frame(watch, "val_loss", "val_accuracy")
    logs = [log for log in trained.trainer.state.log_history if "eval_loss" in log]
    assert found["val_loss"].dropna().index.tolist() == [9, 19, 29]
    assert found["val_loss"].dropna().tolist() == pytest.approx([log["eval_loss"] for log in logs])
    assert found["val_accuracy"].iloc[-1] == pytest.approx(logs[-1]["eval_accuracy"])


def test_what_the_user_logs_is_shown(tmp_path: Path, watch: Any) -> None:
    trained = Fit(tmp_path, watch)
    trained.after = lambda step, given: trained.trainer.log({"temperature": 2.0 * step})
    trained.run()
    assert frame(watch, "temperature")["temperature"].tolist() == [2.0 * n for n in range(1, 31)]


def test_lr_that_is_changed_lasts_under_the_scheduler(tmp_path: Path, watch: Any) -> None:
    bare, trained = Fit(tmp_path), Fit(tmp_path, watch)

    def halve(step: int, given: Any) -> None:
        if step == 12:
            scheduler = given["lr_scheduler"]
            scheduler.base_lrs = [lr / 2 for lr in scheduler.base_lrs]
            for group in given["optimizer"].param_groups:
                group["lr"] /= 2
                group["initial_lr"] /= 2

    def change(step: int, given: Any) -> None:
        if step == 12:
            watch.dbg.set(lr=given["optimizer"].param_groups[0]["lr"] / 2)

    bare.after, trained.after = halve, change
    bare.run()
    trained.run()
    assert trained.losses == bare.losses
    assert bitwise_equal(trained.state()[:3], bare.state()[:3])


def test_clipping_that_is_changed_acts_from_the_next_step_on(tmp_path: Path, watch: Any) -> None:
    bare, trained = Fit(tmp_path, max_grad_norm=0.0), Fit(tmp_path, watch, max_grad_norm=0.0)

    def clip(step: int, given: Any) -> None:
        if step == 12:
            bare.arguments.max_grad_norm = 0.1

    def change(step: int, given: Any) -> None:
        if step == 12:
            watch.dbg.set(clip_mode="norm", clip_threshold=0.1)

    bare.after, trained.after = clip, change
    bare.run()
    trained.run()
    assert trained.losses == bare.losses


def in_thread(run: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def paused_at(fit: Fit, watch: Any, step: int) -> threading.Thread:
    """Start a training in a thread, and pause it behind a step."""
    paused = threading.Event()

    def pause(now: int, given: Any) -> None:
        if now == step:
            watch.dbg.pause()
            paused.set()

    fit.after = pause
    thread = in_thread(fit.run)
    assert paused.wait(20)
    assert watch.dbg.wait(20)
    return thread


def test_a_paused_trainer_waits(tmp_path: Path, watch: Any) -> None:
    bare, trained = Fit(tmp_path).run(), Fit(tmp_path, watch)
    thread, dbg = paused_at(trained, watch, 5), watch.dbg
    before = len(trained.losses)
    dbg.step(3)
    assert len(trained.losses) == before + 3
    for refused in (lambda: dbg.rewind(2), dbg.fork, dbg.replay):
        with pytest.raises(nbd.NbdebugError, match="Trainer reads its batches itself"):
            refused()
    with pytest.raises(nbd.ControlValueError, match="Trainer reads its batches itself"):
        dbg.set(batch_size=2)
    dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    assert trained.losses == bare.losses
    assert bitwise_equal(trained.state()[:4], bare.state()[:4])


def test_a_trainer_that_waits_goes_on_when_the_watch_is_closed(tmp_path: Path, watch: Any) -> None:
    bare, trained = Fit(tmp_path).run(), Fit(tmp_path, watch)
    thread = paused_at(trained, watch, 5)
    watch.close()
    thread.join(20)
    assert not thread.is_alive()
    assert trained.losses == bare.losses
    assert not trained.model._forward_pre_hooks


@pytest.mark.parametrize("filtered", [True, False])
def test_nan_leaves_an_update_out_and_pauses(tmp_path: Path, watch: Any, filtered: bool) -> None:
    trained = Fit(tmp_path, watch, nan_at=7, logging_nan_inf_filter=filtered)
    thread = in_thread(trained.run)
    dbg = stopped_by_failure(watch)
    assert dbg.history.status.step == 7
    names = {finding.name for finding in dbg.findings}
    assert "not_finite" in names
    assert ("log_hides_nan" in names) == filtered
    dbg.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(trained.losses) == 30
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())


def test_batches_with_nan_are_passed_over(tmp_path: Path) -> None:
    made = watching.Watch(runs=None, not_finite="exclude")
    trained = Fit(tmp_path, made, nan_at=7).run()
    assert len(trained.losses) == 30
    assert made.dbg.history.status.step == 29
    assert {finding.name for finding in made.dbg.findings} >= {"log_hides_nan"}
    made.close()


class Failing(Rows):
    def __getitem__(self, index: int) -> Any:
        if index == 11:
            raise ValueError("a fault of the user")
        return super().__getitem__(index)


def test_an_exception_ends_the_loop_and_the_next_training_goes_on(
    tmp_path: Path, watch: Any
) -> None:
    trained = Fit(tmp_path, watch, Failing())
    with pytest.raises(ValueError, match="a fault of the user"):
        trained.run()
    assert watch.dbg.wait(20)
    with pytest.raises(nbd.LoopLeft):
        watch.dbg.step(1)
    trained.trainer.train_dataset = Rows()
    trained.run()
    assert trained.trainer.state.global_step == 30


def test_the_user_interrupts_a_trainer_and_trains_again(tmp_path: Path, watch: Any) -> None:
    trained = Fit(tmp_path, watch)

    def interrupt(step: int, given: Any) -> None:
        if step == 5 and len(trained.losses) == 5:
            raise KeyboardInterrupt

    trained.after = interrupt
    with pytest.raises(KeyboardInterrupt):
        trained.run()
    trained.run()
    assert watch.dbg.history.status.step == 35


@pytest.mark.parametrize("each", [1, 3])
def test_training_may_stop_early(tmp_path: Path, watch: Any, each: int) -> None:
    def stop(step: int, given: Any) -> None:
        for one in (bare, trained):
            one.trainer.control.should_training_stop = step >= 3

    settings = {"gradient_accumulation_steps": each}
    bare, trained = Fit(tmp_path, **settings), Fit(tmp_path, watch, **settings)
    bare.after = trained.after = stop
    bare.run()
    trained.run()
    assert trained.equals(bare)
    assert watch.dbg.history.status.step == 3


def test_a_trainer_that_trains_twice_goes_on(tmp_path: Path, watch: Any) -> None:
    bare, trained = Fit(tmp_path).run().run(), Fit(tmp_path, watch).run()
    first = watch.dbg
    trained.run()
    assert trained.equals(bare)
    assert watch.dbg is first
    assert first.history.status.step == 60


def test_lr_lasts_under_the_scheduler_of_the_second_training(tmp_path: Path, watch: Any) -> None:
    trained = Fit(tmp_path, watch, lr_scheduler_type="constant", warmup_steps=0).run()

    def change(step: int, given: Any) -> None:
        if step == 5:
            watch.dbg.set(lr=1e-4)

    trained.after = change
    trained.run()
    assert trained.trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(1e-4)


@pytest.mark.parametrize("step", [14, 20])
def test_a_training_is_resumed_from_a_checkpoint(tmp_path: Path, watch: Any, step: int) -> None:
    settings = {"save_strategy": "steps", "save_steps": step}
    Fit(tmp_path, watch, **settings).run()
    path = str(tmp_path / f"checkpoint-{step}")
    bare = Fit(tmp_path / "a").run(resume_from_checkpoint=path)
    trained = Fit(tmp_path / "b", watch).run(resume_from_checkpoint=path)
    assert trained.equals(bare)
    found = frame(watch, "epoch")["epoch"].tolist()
    assert found == pytest.approx([n / 10 for n in range(step + 1, 31)])


def test_evaluation_and_prediction_alone_make_no_dashboard(tmp_path: Path, watch: Any) -> None:
    fit = Fit(tmp_path, watch)
    fit.trainer.evaluate()
    fit.trainer.predict(Rows())
    with pytest.raises(nbd.ArgumentError, match="has not begun to train"):
        _ = watch.dbg


def test_copies_of_the_callback_watch_nothing_yet(tmp_path: Path, watch: Any) -> None:
    trained, seen = Fit(tmp_path, watch), list[Any]()

    def copied(step: int, given: Any) -> None:
        if step == 3:
            seen.extend([copy.deepcopy(watch), pickle.loads(pickle.dumps(watch))])
            # Hooks are copied with a model.
            seen.append(copy.deepcopy(trained.model))

    trained.after = copied
    trained.run()
    for made in seen[:2]:
        with pytest.raises(nbd.ArgumentError, match="has not begun"):
            _ = made.dbg
    assert watch.dbg.history.status.step == 30
    assert not trained.model._forward_pre_hooks


def test_two_trainers_are_watched_at_a_time(tmp_path: Path) -> None:
    bare, made = Fit(tmp_path).run(), [watching.Watch(runs=None) for _ in range(2)]
    outer, inner = Fit(tmp_path, made[0]), Fit(tmp_path, made[1])

    def train_another(step: int, given: Any) -> None:
        if step == 5:
            kept = torch.get_rng_state()
            inner.run()
            torch.set_rng_state(kept)

    outer.after = train_another
    outer.run()
    assert outer.losses == bare.losses
    assert [one.dbg.history.status.step for one in made] == [30, 30]
    for one in made:
        one.close()


def test_several_devices_are_refused(
    tmp_path: Path, watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, trained = Fit(tmp_path).run(), Fit(tmp_path, watch)
    original = watching.why_unwatched

    class Two:
        world_size, n_gpu = 2, 0

    monkeypatch.setattr(watching, "why_unwatched", lambda args, given: original(Two, given))
    with pytest.warns(UserWarning, match="trains without nbdebug: it trains on 2 devices"):
        trained.run()
    assert trained.equals(bare)
    with pytest.raises(nbd.ArgumentError, match="2 devices"):
        _ = watch.dbg


def test_a_misspelt_keyword_is_refused() -> None:
    with pytest.raises(nbd.ArgumentError, match="clip_mode"):
        watching.Watch(clip_mod="norm")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(nbd.MissingPackageError, match=r"pip install \"transformers\[torch\]>=5\""):
        importlib.reload(watching)
    monkeypatch.undo()


def test_an_old_package_is_refused() -> None:
    with pytest.raises(nbd.MissingPackageError, match=r"installed is 4\.57\.1"):
        watching.check_version("4.57.1")


def test_a_training_inside_of_the_watched_one_is_left_alone(tmp_path: Path, watch: Any) -> None:
    fits = []
    for given in (None, watch):
        outer, inner = Fit(tmp_path / "outer", given), Fit(tmp_path / "inner", given)

        def nested(step: int, given: dict[str, Any], inner: Fit = inner) -> None:
            if step == 7:
                state = torch.random.get_rng_state()
                inner.run()
                torch.random.set_rng_state(state)

        outer.after = nested
        if given is None:
            outer.run()
        else:
            with pytest.warns(UserWarning, match="began inside of the one that is watched"):
                outer.run()
        fits.append((outer, inner))
    (plain, plain_inner), (outer, inner) = fits
    assert outer.losses == plain.losses
    assert inner.losses == plain_inner.losses
    assert bitwise_equal(outer.model.state_dict(), plain.model.state_dict())
    assert frame(watch, "loss")["loss"].tolist() == pytest.approx(plain.losses)
