"""What FRePo's program does to images before it distills them, written from its formulas in NumPy: the slow reference of undoing it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Preprocessing:
    """The fit of training images `[N, H, W, C]`, pixels in [0, 1], by the constants of each channel; whitening if `whitens`."""

    def __init__(self, train: Array, mean: Array, std: Array, whitens: bool = True) -> None:
        self.mean, self.std, self.whitens = mean, std, whitens
        flat = ((train - mean) / std).reshape(len(train), -1)
        self.center = flat.mean(axis=0)
        apart = flat - self.center
        covariance = apart.T @ apart / len(train)
        size = len(covariance)
        u, s, _ = np.linalg.svd(covariance + 0.1 * np.trace(covariance) / size * np.eye(size))
        factors = 1 / np.sqrt(s)
        factors[len(train) :] = 1.0
        self.matrix = (u * factors) @ u.T

    def apply(self, images: Array) -> Array:
        """Images `[n, H, W, C]` as its networks get them."""
        normalized = (images - self.mean) / self.std
        if not self.whitens:
            return np.asarray(normalized)
        return ((normalized.reshape(len(images), -1) - self.center) @ self.matrix).reshape(images.shape)
