"""Metadata of a training before its first step, in plain values."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from nbdebug.core.control_spec import ControlState
from nbdebug.model.factories import DEFAULT_LR
from nbdebug.model.module.settings import settings_of
from nbdebug.model.source_code import source_of
from nbdebug.model.state.digest import tensors_digest
from nbdebug.training.data.sources import DatasetSource, StreamSource, TensorSource
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup

MAX_CLASSES = 1000
MAX_LAYERS = 2000
MAX_COUNTED_LABELS = 2_000_000


def describe(session: Session, setup: Setup, controls: Iterable[ControlState]) -> dict[str, Any]:
    """Describe parameters, model, data, code and torch settings; nothing is run or drawn.

    Args:
        controls: states of the controls; unavailable ones are excluded.
    """
    return {
        "metrics": list(session.metrics.names),
        "parameters": {**_parameters(session, controls), "lr": _lr(session, setup)},
        "model": _model(session.model),
        "data": {"train": _data(session.source), "validation": _validation(session)},
        "code": {"model": _source(type(session.model)), "loss": _source(_loss(session))},
        "environment": _torch(session),
    }


def _parameters(session: Session, controls: Iterable[ControlState]) -> dict[str, Any]:
    count = sum(p.numel() for p in session.model.parameters())
    return {
        **{one.spec.name: one.value for one in controls if _has_value(one)},
        "model": type(session.model).__name__,
        "parameters": count,
        "loss_fn": _name(session.loss_fn or session.step_fn),
        "train_samples": session.source.length,
        "seed": session.seed,
        "device": str(session.device),
    }


def _lr(session: Session, setup: Setup) -> float:
    """Requested learning rate; a schedule may begin with another one."""
    if setup.resumed is None and isinstance(setup.optimizer, str):
        return DEFAULT_LR if setup.lr is None else setup.lr
    return session.lr


def _has_value(control: ControlState) -> bool:
    """Tell if a control has a value here; {}, () and None are none."""
    spec, value = control.spec, control.value
    empty = value is None or (isinstance(value, dict | tuple | list) and not value)
    return not (spec.unavailable or spec.action or empty)


def _model(model: nn.Module) -> dict[str, Any]:
    layers = [
        {
            "layer": name,
            "kind": type(module).__name__,
            "settings": settings_of(module),
            "parameters": sum(p.numel() for p in module.parameters()),
            "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        }
        for name, module in list(model.named_modules())[:MAX_LAYERS]
    ]
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "initial_weights": tensors_digest(model.state_dict(keep_vars=True).values()),
        "layers": layers,
    }


def _data(source: TensorSource | DatasetSource | StreamSource) -> dict[str, Any]:
    if isinstance(source, TensorSource):
        return {"kind": "tensors", "samples": source.length, "parts": _parts(source.tensors)}
    if isinstance(source, StreamSource):
        return {"kind": type(source.samples).__name__, "samples": None, "parts": []}
    # A user-defined dataset is not read: reading may be slow or draw random numbers.
    tensors = getattr(source.dataset, "tensors", ())
    known = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return {
        "kind": type(source.dataset).__name__,
        "samples": source.length,
        "parts": _parts(tuple(known)),
    }


def _parts(tensors: tuple[torch.Tensor, ...]) -> list[dict[str, Any]]:
    return [
        {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "sha256": tensors_digest([tensor]),
            "classes": _classes(tensor),
        }
        for tensor in tensors
    ]


def _classes(tensor: torch.Tensor) -> dict[str, int]:
    """Class counts of a tensor that looks like class labels."""
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.is_complex():
        return {}
    if len(tensor) > MAX_COUNTED_LABELS:
        return {}
    values, counts = torch.unique(tensor, return_counts=True)
    if len(values) > MAX_CLASSES:
        return {}
    return {str(v): c for v, c in zip(values.tolist(), counts.tolist(), strict=True)}


def _validation(session: Session) -> dict[str, Any]:
    held_out = None if session.validation is None else session.validation.source
    return {} if held_out is None else _data(held_out)


def _torch(session: Session) -> dict[str, Any]:
    device = session.device
    return {
        "torch": torch.__version__,
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "cuda": torch.version.cuda or "",
        "threads": torch.get_num_threads(),
        "seed": session.seed,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
    }


def _loss(session: Session) -> Any:
    loss = session.loss_fn or session.step_fn
    return type(loss) if isinstance(loss, nn.Module) else loss


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", None) or type(thing).__name__)


def _source(thing: Any) -> str:
    """Source code of a user-defined class or function; "" for torch's own."""
    module = inspect.getmodule(thing)
    if module is not None and module.__name__.partition(".")[0] == "torch":
        return ""
    try:
        return source_of(thing)
    except (OSError, TypeError):
        return ""
