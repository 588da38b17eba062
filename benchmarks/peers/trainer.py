"""Lightning's Trainer, whose loop waits in a thread between two blocks."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import torch

from benchmarks.peers.base import Peer

ENDLESS = 10**9


class LightningAlone(Peer):
    """The Trainer with nothing logged: what its loop costs by itself."""

    title = "Lightning, nothing logged"
    package = "lightning"
    norms: ClassVar[bool] = False

    def begin(self) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._due, self._ended, self._error = 0, False, ""
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    def run(self, steps: int) -> None:
        self._due = steps
        self._go.release()
        self._done.acquire()
        if self._error:
            raise RuntimeError(f"Lightning's loop has ended: {self._error}")

    def end(self) -> None:
        self._ended = True
        self._go.release()
        self._thread.join()

    def _fit(self) -> None:
        torch.set_num_threads(1)
        try:
            module, trainer = _module(self), _trainer(self)
            trainer.fit(module, _Batches(self))
        except BaseException as error:
            self._error = repr(error)
        finally:
            self._done.release()

    def stepped(self) -> bool:
        """Wait after the last step of a block; True when all is over."""
        self._due -= 1
        if self._due <= 0 and not self._ended:
            self._done.release()
            self._go.acquire()
        return self._ended


class LightningNorms(LightningAlone):
    """The Trainer with loss and gradient norm of every parameter logged at each step."""

    title = "Lightning with gradient norms at each step"
    norms = True


class _Batches:
    """Batches without an end."""

    def __init__(self, peer: LightningAlone) -> None:
        self._peer = peer

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        peer = self._peer
        X, y = peer.data
        peer._go.acquire()
        while True:
            batch = peer.next_indices()
            yield X[batch], y[batch]


def _module(peer: LightningAlone) -> Any:
    from lightning.pytorch import LightningModule
    from lightning.pytorch.utilities import grad_norm

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = peer.model

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            loss = peer.loss_fn(self.inner(batch[0]), batch[1])
            if peer.norms:
                self.log("loss", loss)
            return loss

        def on_before_optimizer_step(self, optimizer: Any) -> None:
            if peer.norms:
                self.log_dict(grad_norm(self.inner, norm_type=2))

        def configure_optimizers(self) -> Any:
            return peer.optimizer

    return Module()


def _trainer(peer: LightningAlone) -> Any:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import CSVLogger

    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Turns(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if peer.stepped():
                trainer.should_stop = True

    return Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[Turns()], log_every_n_steps=1,
        logger=CSVLogger(peer.folder) if peer.norms else False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
