"""Attribution of an output of the model to the inputs of one fixed sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.core.commands.inside import Explain
from nbdebug.core.contexts import contextmanager
from nbdebug.core.results.inside.attribution import Attribution
from nbdebug.errors import ArgumentError, ModelError, NbdebugError, TaskStopped
from nbdebug.model.module.forward import leaves, tensors_of, with_leaves
from nbdebug.model.module.hooks import after_forward
from nbdebug.model.module.names import Layer, layers
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import looking
from nbdebug.training.tasks.inside.structure import every_module_called
from nbdebug.training.tasks.inside.values import as_array

# Points on the way from zeros to the sample; patches along each side of an image.
PATH_POINTS, PATCHES, MAX_OCCLUDED = 32, 8, 256


def explain(
    session: Session, samples: FixedSamples, command: Explain, progress: TaskProgress
) -> Attribution:
    """Attribute an output to the inputs; one sample goes through the model at a time.

    Args:
        samples: the fixed ones, or that with the index of the command.

    Raises:
        TaskStopped: it was stopped.
        DataError: there is no such sample. ArgumentError: there is no such output or layer.
        ModelError: the model has no inputs that can be explained.
        Exception: whatever the model raised.
    """
    if not samples.whole:
        raise ModelError("step_fn does not call the model as a whole: it has no inputs to explain.")
    one = samples.only(command.sample if command.index is None else 0).fresh
    with looking(session), every_module_called(), torch.enable_grad():
        model = _Explained(session.model, one, command.of, progress)
        values, place, gap = METHODS[command.method](model, command.layer)
        shown = as_array(model.shown)
        fits = model.first and not model.tokens and shown.shape == (len(one.names),)
        names = one.names if fits else ()
        return Attribution(
            command.method, session.step, command.sample, model.of, model.output,
            as_array(values), shown, place, gap, command.index, names, model.tokens,
        )  # fmt: skip


class _Explained:
    """One output of a model as a function of its inputs, or of the embedding of its tokens.

    Attributes:
        value: the inputs [1, ...]; shown: of the sample, tokens if they are embedded.
        of: index of the output, -1 for the only one; output: its value.
        first: True if these inputs are the first tensor that the model takes.
    """

    def __init__(
        self, model: nn.Module, one: FixedSamples, of: int | None, progress: TaskProgress
    ) -> None:
        self.model, self._arguments, self._progress = model, one.arguments, progress
        tensors = [leaf for leaf in leaves(one.arguments) if isinstance(leaf, torch.Tensor)]
        if not tensors:
            raise ModelError("The model takes no tensor: there are no inputs to explain.")
        self._leaf = next((leaf for leaf in tensors if leaf.is_floating_point()), tensors[0])
        self.first = self._leaf is tensors[0]
        self._embedding: nn.Module | None = None
        self.shown = self._leaf[0] if one.cut else self._leaf
        self.value = self._leaf.detach()
        if not self._leaf.is_floating_point():
            self._find_embedding()
        try:
            self.of = self._chosen(of, one)
        except (RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, NbdebugError):
                raise
            raise ModelError(f"The model takes no single sample: {error}") from error
        self.output = float(self.at(self.value).detach())

    @property
    def tokens(self) -> bool:
        """True if the inputs are numbers of embeddings."""
        return self._embedding is not None

    def at(self, value: torch.Tensor) -> torch.Tensor:
        """The output for other inputs, a scalar."""
        outputs = self._call(value)
        return outputs.reshape(-1)[0] if self.of < 0 else outputs[self.of].sum()

    def slope(self, value: torch.Tensor) -> torch.Tensor:
        """Gradient of the output at other inputs, in their shape."""
        point = value.detach().clone().requires_grad_()
        found = torch.autograd.grad(self.at(point), point, allow_unused=True)[0]
        return torch.zeros_like(point) if found is None else found

    def per_input(self, values: torch.Tensor) -> torch.Tensor:
        """Values without the number of samples; of embeddings one for each token."""
        one = values[0] if len(values) == 1 else values
        return one if self._embedding is None else one.sum(-1)

    def advance(self, share: float) -> None:
        """Tell how much is done.

        Raises:
            TaskStopped: somebody asked to stop.
        """
        self._progress.advance(share, "Explaining an output")
        if self._progress.should_stop():
            raise TaskStopped("The explanation was stopped; training is where it was.")

    def _call(self, value: torch.Tensor) -> torch.Tensor:
        given = value if self._embedding is None else self._leaf
        args, named = with_leaves(
            self._arguments, lambda leaf: given if leaf is self._leaf else leaf
        )
        with self._embedded(value):
            outputs = self.model(*args, **named)
        first = next(tensors_of(outputs), None)
        if first is None:
            raise ModelError("The model gives no tensor: there is no output to explain.")
        return first[0] if first.ndim and len(first) == len(self.value) == 1 else first

    @contextmanager
    def _embedded(self, value: torch.Tensor) -> Iterator[None]:
        if self._embedding is None:
            yield
            return
        hook = after_forward(self._embedding, lambda *_: value)
        try:
            yield
        finally:
            hook.remove()

    def _find_embedding(self) -> None:
        """Take the output of the first embedding as the inputs."""
        seen: list[tuple[nn.Module, torch.Tensor]] = []
        hooks = [
            after_forward(layer.module, lambda m, _, out: seen.append((m, out.detach())))
            for layer in layers(self.model)
            if isinstance(layer.module, nn.Embedding)
        ]
        try:
            self._call(self.value)
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            raise ModelError("The inputs are whole numbers and there is no nn.Embedding for them.")
        self._embedding, self.value = seen[0]

    def _chosen(self, of: int | None, one: FixedSamples) -> int:
        outputs = self._call(self.value).detach()
        if outputs.numel() == 1:
            return -1
        count = len(outputs)
        if of is None:
            targets = one.targets
            known = isinstance(targets, torch.Tensor) and targets.numel() == 1
            classes = known and not targets.is_floating_point() and 0 <= int(targets) < count
            of = int(targets) if classes else int(outputs.reshape(count, -1).sum(1).argmax())
        if not 0 <= of < count:
            raise ArgumentError(f"of must be an output from 0 to {count - 1}, got {of}.")
        return of


Found = tuple[torch.Tensor, str, float]
NONE = float("nan")


def _saliency(model: _Explained, layer: str) -> Found:
    return model.per_input(model.slope(model.value).abs()), "", NONE


def _input_x_gradient(model: _Explained, layer: str) -> Found:
    return model.per_input(model.value * model.slope(model.value)), "", NONE


def _integrated_gradients(model: _Explained, layer: str) -> Found:
    """Mean gradient on the straight way from zeros, by the midpoint rule."""
    # Of half precision a sum of many gradients would lose most digits.
    dtype = torch.promote_types(model.value.dtype, torch.float32)
    mean = torch.zeros_like(model.value, dtype=dtype)
    for point in range(PATH_POINTS):
        model.advance(point / PATH_POINTS)
        mean += model.slope(model.value * (point + 0.5) / PATH_POINTS) / PATH_POINTS
    values = model.value * mean
    with torch.no_grad():
        difference = model.output - float(model.at(torch.zeros_like(model.value)))
    return model.per_input(values), "", float(values.sum()) - difference


def _occlusion(model: _Explained, layer: str) -> Found:
    """Loss of the output where a patch, a token or a feature is set to 0."""
    value = model.value
    found = torch.zeros_like(value)
    with torch.no_grad():
        patches = list(_patches(value, model))
        for number, where in enumerate(patches):
            model.advance(number / len(patches))
            hidden = value.clone()
            hidden[where] = 0
            part = found[where]
            # Spread over the patch, so that the sum is what was lost.
            found[where] = (model.output - float(model.at(hidden))) / max(part.numel(), 1)
    return model.per_input(found), "", NONE


def _patches(value: torch.Tensor, model: _Explained) -> Iterator[tuple[Any, ...]]:
    every = slice(None)
    if value.ndim == 4:
        high, wide = (-(-size // PATCHES) for size in value.shape[2:])
        for top in range(0, value.shape[2], high):
            for left in range(0, value.shape[3], wide):
                yield every, every, slice(top, top + high), slice(left, left + wide)
        return
    length = value.shape[1] if value.ndim > 1 else len(value)
    wide = -(-length // MAX_OCCLUDED)
    for start in range(0, length, wide):
        yield (
            (every, slice(start, start + wide)) if value.ndim > 1 else (slice(start, start + wide),)
        )


def _grad_cam(model: _Explained, layer: str) -> Found:
    """Channels of a layer, each times its mean gradient, where their sum is above 0."""
    seen: dict[str, torch.Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and output.requires_grad:
                seen[name] = output

        return keep

    found: tuple[Layer, ...] = layers(model.model)
    hooks = [after_forward(one.module, note(one.name)) for one in found]
    try:
        output = model.at(model.value.clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if layer and layer not in seen:
        raise ArgumentError(
            f"{layer!r} is no layer with an output [N, C, H, W]: {', '.join(seen)}."
        )
    wide = [name for name, one in seen.items() if min(one.shape[2:]) > 1]
    if not wide:
        raise ModelError("Grad-CAM needs a layer with an output [N, C, H, W]; there is none.")
    name = layer or wide[-1]
    slope = torch.autograd.grad(output, seen[name], allow_unused=True)[0]
    if slope is None:
        raise ModelError(f"The output does not depend on {name}.")
    weights = slope.mean((2, 3), keepdim=True)
    return (weights * seen[name]).sum(1)[0].clamp(min=0).detach(), name, NONE


METHODS: dict[str, Callable[[_Explained, str], Found]] = {
    "saliency": _saliency,
    "input_x_gradient": _input_x_gradient,
    "integrated_gradients": _integrated_gradients,
    "occlusion": _occlusion,
    "grad_cam": _grad_cam,
}
