"""EK-FAC (George et al., NeurIPS 2018; Grosse et al., arXiv 2308.03296): Kronecker factors for the basis, measured eigenvalues in it.

For a weight with gradient G = sum_t l_t r_t^T, L = E[l l^T] and R = E[r r^T] give bases Q_L, Q_R; in them the curvature is taken to be diagonal, with
Lambda = E[(Q_L^T G Q_R)^2] over rows. Then

    P V = Q_L ((Q_L^T V Q_R) / (Lambda + lambda)) Q_R^T,        lambda = damping * mean Lambda (0.1, as is usual).

The expectation is over labels sampled from the model: the Fisher information, which is the Gauss-Newton matrix of cross-entropy. That holds for a row's loss as
the *sum* over its T tokens (`--reduction sum`, in which EK-FAC agrees with kronfluence's to 2.6e-6, slope 1.0000). Where it is their *mean*, the Gauss-Newton
matrix is 1/T times the sum of the tokens' own, and the covariance of the mean's gradients 1/T^2: relabelled gradients are taken times the root of T, and
tokens weigh 1/T in both factors. With `empirical` the expectation is over the labels of the rows, and over gradients as they are. Tensors that are no
linear weights get the diagonal alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unweave.curvature.base import Damping, Gradients, Problem, second_moments
from unweave.data.batches import Batch
from unweave.gradients.loss import head_sees_only, predicting_positions
from unweave.gradients.per_sample import Reduction
from unweave.gradients.pieces import weight_factors
from unweave.models.selection import SelectedParameter, Use, is_linear_weight

DAMPING = 0.1


def ekfac(problem: Problem, queries: Gradients, *, empirical: bool = False) -> Gradients:
    """EK-FAC in two passes over the rows: one for the bases, one for the eigenvalues.

    Args:
        problem: Model, rows, damping; the default is 0.1.
        queries: Their gradients.
        empirical: Use the rows' own labels.

    Returns:
        The preconditioned gradients.
    """
    return fit_ekfac(problem, empirical=empirical)(queries)


@dataclass(frozen=True)
class Ekfac:
    """A fitted curvature, for use on many gradients.

    Attributes:
        bases: Tensor's name to the eigenvectors of both its factors; none for tensors that are no linear weights.
        eigenvalues: Tensor's name to the curvature in that basis, flat.
        damping: Relative to the mean eigenvalue of each tensor.
    """

    bases: dict[str, tuple[Tensor, Tensor]]
    eigenvalues: dict[str, Tensor]
    damping: float

    @cached_property
    def amounts(self) -> dict[str, float]:
        """What is added to each tensor's eigenvalues."""
        tiny = torch.finfo(torch.float32).tiny
        return {name: self.damping * max(float(own.mean()), tiny) for name, own in self.eigenvalues.items()}

    def __call__(self, queries: Gradients) -> Gradients:
        """Precondition gradients.

        Args:
            queries: The gradients.

        Returns:
            (C + damping)^-1 g for each.
        """
        out = {}
        for name, query in queries.items():
            spectrum = self.eigenvalues[name] + self.amounts[name]
            if name not in self.bases:
                out[name] = query / spectrum.view(query.shape[1:])
                continue
            left, right = self.bases[name]
            rotated = left.T @ query @ right
            out[name] = left @ (rotated / spectrum.view(rotated.shape[1:])) @ right.T
        return out


def fit_ekfac(problem: Problem, *, empirical: bool = False) -> Ekfac:
    """The fitted curvature, for use on many gradients.

    Args:
        problem: Model, rows, damping; the default is 0.1.
        empirical: Use the rows' own labels.

    Returns:
        Gradients to preconditioned gradients.
    """
    damping = DAMPING if problem.damping is None else problem.damping
    generator = torch.Generator(device=problem.sketcher.device).manual_seed(problem.seed)
    relabel = (lambda batch: batch) if empirical else sampled_labels(problem.sketcher.model, generator)
    given = problem.sketcher.config.reduction
    reduction: Reduction = "root" if given == "mean" and not empirical else given
    covariances = _covariances(problem, relabel, reduction)
    bases = {name: (_eigenvectors(left), _eigenvectors(right)) for name, (left, right) in covariances.items()}

    def rotate(name: str, piece: Tensor) -> Tensor:
        if name not in bases:
            return piece
        left, right = bases[name]
        return (left.T @ piece.view(-1, len(left), len(right)) @ right).flatten(1)

    description = "ekfac, eigenvalues"
    values = second_moments(problem, description=description, rotate=rotate, relabel=relabel, reduction=reduction)
    fitted = Ekfac(bases, values, damping)
    problem.note(Damping.of_tensors(damping, fitted.amounts))
    return fitted


def _covariances(
    problem: Problem, relabel: Callable[[Batch], Batch], reduction: Reduction
) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums of l l^T and r r^T over tokens; their scale does not matter, only the eigenvectors are used."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    counts: list[Tensor] = []

    def counted(batch: Batch) -> Batch:
        counts[:] = [torch.bincount(predicting_positions(batch)[2], minlength=len(batch)).clamp(min=1)]
        return relabel(batch)

    def intercept(item: SelectedParameter, use: Use, values: Tensor, grads: Tensor) -> bool:
        if len(item.uses) == 1 and is_linear_weight(use):
            left, right = weight_factors(use, values, grads)
            wide = torch.promote_types(grads.dtype, torch.float32)
            # Positions without a gradient add nothing to G, so their inputs must not shape the basis.
            alive = (grads != 0).any(dim=-1)
            left, right = left[alive].to(wide), right[alive].to(wide)
            if reduction == "root":
                # The gradients hold the root of their share already.
                right = right * counts[0].to(wide).rsqrt()[:, None].expand(alive.shape)[alive][:, None]
            sides = left.T @ left, right.T @ right
            found[item.name] = (
                sides if item.name not in found else (found[item.name][0] + sides[0], found[item.name][1] + sides[1])
            )
        return True

    problem.visit(
        lambda *_: None, description="ekfac, bases", relabel=counted, reduction=reduction, intercept=intercept
    )
    return found


def _eigenvectors(matrix: Tensor) -> Tensor:
    return torch.linalg.eigh(matrix.double())[1].to(matrix.dtype)


def sampled_labels(model: Any, generator: torch.Generator) -> Callable[[Batch], Batch]:
    """Labels sampled from the model's own prediction: gradients of a loss with them have the Gauss-Newton matrix of cross-entropy as their covariance.

    Args:
        model: The model.
        generator: Of the samples, on its device.

    Returns:
        Batch to the same batch with other labels.
    """

    def relabel(batch: Batch) -> Batch:
        positions, _, _ = predicting_positions(batch)
        with torch.no_grad(), head_sees_only(model, positions):
            logits = model(**batch.model_inputs(), use_cache=False).logits
        chances = torch.softmax(logits.reshape(-1, logits.shape[-1]).float(), dim=-1)
        sampled = torch.multinomial(chances, 1, generator=generator).flatten()
        labels = batch.labels.clone()
        labels[positions.roll(1, dims=1)] = sampled
        return replace(batch, labels=labels)

    return relabel
