"""`dbg.session`: the model under training, and inspections that do not change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from nbdebug.core.commands.examining import FindWorstSamples, RunLrRangeTest, SummarizeModel
from nbdebug.core.commands.inside import Embed, Explain, LookInside
from nbdebug.core.commands.predicting import Predict
from nbdebug.core.commands.running import ReestimateBatchNorm
from nbdebug.core.deprecated import warn_deprecated
from nbdebug.core.history.present import PresentView
from nbdebug.core.results.inside.attribution import Attribution, Method
from nbdebug.core.results.inside.embedding import Embedding, Projection
from nbdebug.core.results.inside.network_picture import NetworkPicture, Show
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.results.model_summary import ModelSummary
from nbdebug.core.results.worst_samples import WorstSamples
from nbdebug.debugger.client import Client
from nbdebug.debugger.keywords import refuse_unknown_keywords
from nbdebug.training.engine.session import Session


@refuse_unknown_keywords
class DebuggerSession:
    """Model, optimizer and data of a training, and its progress.

    While a fork, a replay or another command tries values, which are undone afterwards, other
    threads read step, samples and epoch as they were before.
    """

    def __init__(self, session: Session, client: Client, present: PresentView) -> None:
        self._session, self._client, self._present = session, client, present

    @property
    def model(self) -> nn.Module:
        """The module under training."""
        return self._session.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer in force; the control `optimizer` replaces it.

        While a fork, a replay or another command tries values, this is the optimizer from before,
        but its options and state are those of the trial: `dbg.controls` has the present ones.
        """
        found: torch.optim.Optimizer = self._present.read(
            lambda: self._session.optimizer, lambda one: one.optimizer
        )
        return found

    @property
    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters that the optimizer updates, by name."""
        return iter(self._session.parameters)

    @property
    def device(self) -> torch.device:
        """The device of model and batches."""
        return self._session.device

    @property
    def step(self) -> int:
        """The next step, counted from 0."""
        return self._present.read(lambda: self._session.step, lambda one: one.step)

    @property
    def samples(self) -> int:
        """Training samples seen so far."""
        return self._present.read(lambda: self._session.samples, lambda one: one.samples)

    @property
    def epoch(self) -> float:
        """Epochs so far, including the share of the current one."""
        return self._present.read(lambda: self._session.epoch, lambda one: one.epoch)

    def lr_range_test(self, low: float = 1e-7, high: float = 10.0, steps: int = 100) -> LrRangeTest:
        """Sweep the learning rate from `low` to `high` and record the loss (Smith 2015).

        The sweep runs between two steps and is undone afterwards; it ends when the loss explodes,
        or on `pause`. `dbg.set(lr=result.suggestion)` sets the suggested learning rate.

        Raises:
            ArgumentError: low, high or steps make no sense.
            Exception: whatever the model, the loss or the data raised, as it was.
        """
        return cast(LrRangeTest, self._client.do(RunLrRangeTest(low, high, steps)))

    def reestimate_batchnorm(self) -> None:
        """Average BatchNorm's running statistics again over up to 100 training batches.

        Raises:
            ModelError: there are no statistics, or no data to estimate them from; nothing
                changed.
        """
        self._client.do(ReestimateBatchNorm())

    def summary(self) -> ModelSummary:
        """Table of the model: layer, output shape, parameters, trainable parameters.

        One training batch is run through the model in eval mode, between two steps; in a loop
        of your own the first call of the model that was seen.

        Raises:
            ModelError: the model cannot be run on a batch, or no call of it was seen yet.
        """
        return cast(ModelSummary, self._client.do(SummarizeModel()))

    def network(
        self,
        sample: int = 0,
        show: Show = "activations",
        part: str = "",
        data: Any = None,
        index: int | None = None,
    ) -> NetworkPicture:
        """Picture of the network: its parts, and what each gives for one fixed sample.

        The samples are up to 256 of `val_data`, else of `train_data`, chosen once. The model is
        called in eval mode between two steps; weights, modes, gradients and random numbers stay
        as they are. A model that fails is drawn as far as it came.

        Args:
            sample: number among the fixed samples, from 0 on.
            show: "activations" for what each part gives, "gradients" for the gradient of the
                loss there, "updates" for the update of its weights that was measured last.
            part: name of a part to look closer at: its maps, weights, attention and units are
                in `detail`.
            data: other samples to look at from now on: a batch as training reads it, or inputs
                alone.
            index: of a sample in the training data to look at instead, such as a worst one.

        Raises:
            ArgumentError: sample or show make no sense, or there is no such part.
            DataError: there is no such sample, or there are no data.
            ModelError: no call of the model was seen yet.
        """
        return cast(NetworkPicture, self._client.do(LookInside(sample, show, part, data, index)))

    def explain(
        self,
        sample: int = 0,
        method: Method = "saliency",
        of: int | None = None,
        layer: str = "",
        index: int | None = None,
    ) -> Attribution:
        """Attribute an output of the model to the inputs of one fixed sample, see `network`.

        Args:
            sample: number among the fixed samples, from 0 on.
            method: "saliency" (Simonyan et al. 2014), "input_x_gradient",
                "integrated_gradients" from zeros (Sundararajan et al. 2017), "occlusion" by zeros
                (Zeiler and Fergus 2014), or "grad_cam" (Selvaraju et al. 2017). Of tokens it is
                the output of their embedding.
            of: index of the output, None for that of the target, else the largest one.
            layer: of Grad-CAM; "" for the last one with maps [H, W].
            index: of a sample in the training data to explain instead, such as a worst one.

        Raises:
            ArgumentError: there is no such method, output or layer.
            DataError: there is no such sample.
            ModelError: the model has no inputs or outputs that can be explained, or takes no single
                sample.
            Exception: whatever else the model raised. Training is as it was.
        """
        return cast(Attribution, self._client.do(Explain(sample, method, of, layer, index)))

    def embedding(
        self, part: str = "", method: Projection = "pca", losses: bool = True
    ) -> Embedding:
        """Outputs of a part for all fixed samples, see `network`, projected onto a plane.

        Args:
            part: name of the part; "" for what the last layer with parameters takes. Of a
                sequence the mean over its positions is projected.
            method: "pca" for the principal components, or "tsne" (van der Maaten and Hinton
                2008), which needs scikit-learn.
            losses: evaluate the loss of each sample, too.

        Raises:
            ArgumentError: there is no such part or method.
            MissingPackageError: scikit-learn is not installed.
            ModelError: no call of the model was seen yet.
            Exception: whatever the model raised. Training is as it was.
        """
        return cast(Embedding, self._client.do(Embed(part, method, losses)))

    def culprits(self, step: int | None = None, top: int = 8) -> WorstSamples:
        """Old name of `worst_samples`; removed in version 0.3."""
        warn_deprecated("culprits()", "worst_samples()")
        return self.worst_samples(step, top)

    def worst_samples(self, step: int | None = None, top: int = 8) -> WorstSamples:
        """The samples of a batch with the largest losses, each evaluated alone.

        In eval mode, at the weights before the update of that step; at most 256 samples and 5
        seconds. `set(excluded_samples=[...])` and `set(relabelled={...})` act on the result.

        Args:
            step: of the batch; None is the step that training stopped in, else the last one.
            top: how many samples to list.

        Raises:
            ArgumentError: there is no such step.
            DataError: the batch cannot be read again.
            ModelError: the model cannot take a single sample.
        """
        return cast(WorstSamples, self._client.do(FindWorstSamples(step, top)))

    def predictions(self, samples: Any = None) -> Predictions:
        """Predictions for fixed samples at the present weights, and at earlier looks.

        The samples are up to 256 of the validation data, else of the training data, chosen once;
        in a loop of your own those of its first step. They are evaluated in eval mode between
        two steps, each time this is called and about once a second while the tab Predictions is
        open. A rewind drops the steps that it goes back over, `reset` drops all.

        Args:
            samples: a batch to take from now on, `(inputs, targets)` or inputs alone; tensors
                [N, ...] with one row for each sample.

        Raises:
            DataError, ModelError: there are no samples, or no call of the model was seen yet.
            Exception: whatever the model or the data raised, as it was.
        """
        return cast(Predictions, self._client.do(Predict(samples)))
