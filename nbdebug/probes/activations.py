"""Mean, standard deviation, near-zero, dead and saturated share of each layer's output."""

from __future__ import annotations

import torch
from torch import nn

from nbdebug.model.module.names import Layer, hooked_layers
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._layer_outputs import LayerOutputs
from nbdebug.probes._layer_statistics import active, by_unit, moments, saturated
from nbdebug.probes.base import Probe, Values

MIN_SAMPLES_FOR_DEAD = 512
BOUNDED = (nn.Tanh, nn.Sigmoid, nn.Softsign)


class Activations(Probe):
    """Output of each layer: `activation_mean`, `activation_std`, `near_zero`, `dead`, `saturated`.

    near_zero is the share of values with |x| <= 0.05. dead is the share of units whose
    95th percentile of |x| over at least 512 samples is below 1e-5, collected over as many
    measured steps as needed (definition of TheDeepChecker; NaN until then). saturated is the
    share of units of tanh, sigmoid and softsign layers that are within 2.5 % of a limit of
    their range for at least 95 % of the batch. The last layer is not measured, since confident
    predictions saturate its units.
    """

    name = "activations"
    order = 30

    def attach(self, session: TrainingState) -> None:
        self._model, self._device = session.model, session.device
        self.follow()

    def follow(self) -> None:
        self._layers = hooked_layers(self._model)
        groups = ("activation_mean", "activation_std", "near_zero", "dead")
        self._names = tuple(f"{group}/{layer.name}" for group in groups for layer in self._layers)
        self._bounded = [
            layer.name for layer in self._layers[:-1] if isinstance(layer.module, BOUNDED)
        ]
        self._edges = tuple(f"saturated/{name}" for name in self._bounded)
        self._column = {layer.name: index for index, layer in enumerate(self._layers)}
        self._outputs: LayerOutputs | None = None
        self.forget()

    def forget(self) -> None:
        self._seen = 0
        self._active: dict[str, torch.Tensor] = {}
        self._observed: dict[str, int] = {}

    def begin(self, step: int) -> None:
        self._moments: dict[str, torch.Tensor] = {}
        self._saturated: dict[str, torch.Tensor] = {}
        self._samples = 0
        self._outputs = LayerOutputs(self._layers, self._look)

    def _look(self, layer: Layer, output: torch.Tensor) -> None:
        # For a module that runs several times in a step, the last call counts.
        units = by_unit(layer, output)
        self._moments[layer.name] = moments(units)
        if isinstance(layer.module, BOUNDED):
            self._saturated[layer.name] = saturated(units, isinstance(layer.module, nn.Sigmoid))
        count, observed = active(units), len(units)
        known = self._active.get(layer.name)
        if known is not None and known.shape == count.shape:
            count = count + known
            observed += self._observed[layer.name]
        self._active[layer.name], self._observed[layer.name] = count, observed
        self._samples = max(self._samples, len(output) if output.ndim else 1)

    def read(self, step: int) -> Values:
        if self._outputs is not None:
            self.inside += self._outputs.finish()
        if not self._names:
            return {}
        self._seen += self._samples
        width = len(self._layers)
        table = torch.full((4, width), torch.nan, device=self._device)
        if self._moments:
            columns = [self._column[name] for name in self._moments]
            measured = [each.to(self._device) for each in self._moments.values()]
            table[:3, columns] = torch.stack(measured, 1)
        if self._seen >= MIN_SAMPLES_FOR_DEAD:
            for name, active in self._active.items():
                # The 95th percentile is below the threshold if at most 5 % of the values are above.
                dead = (active <= 0.05 * self._observed[name]).float().mean()
                table[3, self._column[name]] = dead
            self.forget()
        found: dict[str | tuple[str, ...], torch.Tensor | float] = {self._names: table.flatten()}
        if self._edges:
            missing = torch.tensor(torch.nan, device=self._device)
            shares = [self._saturated.get(name, missing) for name in self._bounded]
            found[self._edges] = torch.stack([share.to(self._device) for share in shares])
        return found

    def cancel(self) -> None:
        if self._outputs is not None:
            self._outputs.remove()
            self._outputs = None
