"""Data sets of the examples: five that come with scikit-learn, and two that are made up."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from nbdebug._version import install_line
from nbdebug.errors import MissingPackageError

CLASSES = 4
FEATURES = 12
SAMPLES = 200
INSTALL = f"This example needs scikit-learn. Install it with: {install_line('lab')}"

Pair = tuple[torch.Tensor, torch.Tensor]


@cache
def load(name: str) -> Pair:
    """Standardised inputs [N, F] and class indices [N], or standardised targets [N, 1].

    Args:
        name: `digits`, `iris`, `wine`, `breast_cancer` or `diabetes`; only the last one has
            numbers to predict in place of classes.

    Raises:
        MissingPackageError: scikit-learn is not installed; the message says how to install it.
    """
    try:
        from sklearn import datasets
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingPackageError(INSTALL) from error

    bunch: Any = getattr(datasets, f"load_{name}")()
    X = torch.tensor(StandardScaler().fit_transform(bunch.data), dtype=torch.float32)
    if name != "diabetes":
        return X, torch.tensor(bunch.target, dtype=torch.int64)
    y = torch.tensor(bunch.target, dtype=torch.float32)[:, None]
    return X, (y - y.mean()) / y.std()


def digits(seed: int = 0, count: int = 1437) -> Pair:
    """A random choice of handwritten digits: standardised pixels [N, 64] and classes [N].

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    X, y = load("digits")
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))[:count]
    return X[order], y[order]


def blobs(samples: int = SAMPLES, seed: int = 7) -> Pair:
    """Four clouds of points: X [N, 12], y [N]."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2.0 * torch.randn(CLASSES, FEATURES, generator=generator)
    y = torch.randint(0, CLASSES, (samples,), generator=generator)
    X = centres[y] + torch.randn(samples, FEATURES, generator=generator)
    return X, y


def images(samples: int = 96, seed: int = 7) -> Pair:
    """Four classes of noisy pictures: X [N, 1, 8, 8], y [N]; the class is the brightness."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (samples,), generator=generator)
    X = torch.randn(samples, 1, 8, 8, generator=generator) + y[:, None, None, None]
    return X, y
