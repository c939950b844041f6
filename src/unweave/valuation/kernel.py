"""Kernel ridge regression on frozen states: a student that needs few rows, and no epochs."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.stats.intervals import rank_correlation

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class KernelHead(nn.Module):
    """Scores as sums over fitted rows: s(x) = mean + sum_i a_i exp(-|x - x_i|^2 / w).

    Features are standardised; w is the median of the fitted rows' squared distances.

    Args:
        rows: Fitted rows.
        features: Numbers a row.
        outputs: Scores a row.
    """

    def __init__(self, rows: int, features: int, outputs: int):
        super().__init__()
        shapes = {
            "support": (rows, features), "coefficients": (rows, outputs), "means": (outputs,), "centre": (features,), "scale": (features,), "width": (),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B T"]:
        """Scores.

        Args:
            features: Of each row, as they come.

        Returns:
            A column an output.
        """
        kernel = gaussian(self._standard(features), self.support, self.width)
        return kernel @ self.coefficients + self.means

    def fit(self, features: Float[Tensor, "n F"], targets: Float[Tensor, "n T"]) -> Float[Tensor, "n T"]:
        """Solve, with the ridge of each output chosen by the rank correlation of its left-out predictions (closed form; Rasmussen and Williams 2006, 5.4.2).

        Args:
            features: Of the rows to fit.
            targets: A column an output.

        Returns:
            What each row is predicted to have when it is left out, a column an output.
        """
        wide = features.double()
        self.centre, self.scale = wide.mean(dim=0).float(), wide.std(dim=0).clamp(min=1e-6).float()
        self.support = self._standard(features)
        distances = squared_distances(self.support, self.support)
        self.width = distances[~torch.eye(len(distances), dtype=torch.bool)].median().clamp(min=1e-12)
        self.means = targets.mean(dim=0).float()
        values, vectors = torch.linalg.eigh(gaussian(self.support, self.support, self.width).double())
        left = targets.double() - targets.double().mean(dim=0)
        columns, predicted = [], []
        for column in left.T:
            tried = [_left_out(values, vectors, column, ridge) for ridge in RIDGES]
            best = int(np.argmax([rank_correlation((column - errors).numpy(), column.numpy()) for _, errors in tried]))
            columns.append(tried[best][0])
            predicted.append(column - tried[best][1])
        self.coefficients = torch.stack(columns, dim=1).float()
        return torch.stack(predicted, dim=1).float() + self.means

    def _standard(self, features: Tensor) -> Tensor:
        # Divided by the root of their number, so that distances do not grow with it.
        return (features.float() - self.centre) / self.scale / features.shape[1] ** 0.5


def gaussian(a: Float[Tensor, "n F"], b: Float[Tensor, "m F"], width: Tensor) -> Float[Tensor, "n m"]:
    """The kernel exp(-|x - y|^2 / width).

    Args:
        a: Rows.
        b: Rows.
        width: Of the kernel.

    Returns:
        All pairs.
    """
    return torch.exp(-squared_distances(a, b) / width)


def squared_distances(a: Float[Tensor, "n F"], b: Float[Tensor, "m F"]) -> Float[Tensor, "n m"]:
    """Squared Euclidean distances of all pairs.

    Args:
        a: Rows.
        b: Rows.

    Returns:
        None below zero.
    """
    return (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)[None] - 2 * a @ b.T).clamp(min=0)


def _left_out(values: Tensor, vectors: Tensor, column: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Coefficients (K + ridge I)^-1 y, and the error of each row when it is left out: a_i / [(K + ridge I)^-1]_ii."""
    inverse = 1 / (values + ridge)
    coefficients = vectors @ (inverse * (vectors.T @ column))
    return coefficients, coefficients / (vectors.square() @ inverse)
