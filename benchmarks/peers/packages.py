"""Instruments of other packages in a loop of one's own."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from typing import Any

import torch

from benchmarks.peers.base import EVERY, Peer


class WandbWatch(Peer):
    """Histograms of weights and gradients every 100 steps, the loss each step, offline."""

    title = "wandb.watch every 100 steps, offline"
    package, rare = "wandb", True

    def begin(self) -> None:
        os.environ["WANDB_SILENT"] = "true"
        import wandb

        settings = wandb.Settings(console="off", silent=True)
        self._run: Any = wandb.init(
            mode="offline", dir=str(self.folder), project="peers", settings=settings
        )
        self._run.watch(self.model, log="all", log_freq=EVERY)

    def after_step(self, loss: float) -> None:
        self._run.log({"loss": loss})

    def end(self) -> None:
        self._run.unwatch(self.model)
        self._run.finish()


class TensorBoardHistograms(Peer):
    """Histograms of weights and gradients every 100 steps, the loss each step."""

    title = "TensorBoard histograms every 100 steps"
    package, rare = "tensorboard", True

    def begin(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(self.folder))

    def after_backward(self, loss: torch.Tensor) -> None:
        if self.step % EVERY == 0:
            for name, parameter in self.named:
                self._writer.add_histogram(f"weights/{name}", parameter, self.step)
                self._writer.add_histogram(f"gradients/{name}", parameter.grad, self.step)

    def after_step(self, loss: float) -> None:
        self._writer.add_scalar("loss", loss, self.step)

    def end(self) -> None:
        self._writer.close()


class LivePlot(Peer):
    """The loss as a curve that is drawn again every 100 steps, as a notebook does."""

    title = "livelossplot every 100 steps"
    package, rare = "livelossplot", True

    def begin(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from livelossplot import PlotLosses
        from livelossplot.outputs import MatplotlibPlot
        from matplotlib import pyplot

        self._pyplot: Any = pyplot
        self._plot: Any = PlotLosses(outputs=[MatplotlibPlot()])

    def after_step(self, loss: float) -> None:
        self._plot.update({"loss": loss})
        if self.step % EVERY == 0:
            with contextlib.redirect_stdout(io.StringIO()):
                self._plot.send()
            # A notebook makes a picture of the figure that is shown.
            self._pyplot.gcf().savefig(io.BytesIO(), format="png")
            self._pyplot.close("all")


class MlflowMetrics(Peer):
    """The loss of every step in a database beside the notebook."""

    title = "MLflow: the loss of each step, SQLite"
    package = "mlflow"

    def begin(self) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._client: Any = MlflowClient(f"sqlite:///{self.folder / 'runs.db'}")
        experiment = self._client.create_experiment("peers")
        self._key: str = self._client.create_run(experiment).info.run_id

    def after_step(self, loss: float) -> None:
        self._client.log_metric(self._key, "loss", loss, step=self.step)
