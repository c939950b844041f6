"""Conjugate gradients on the damped Gauss-Newton product: the truth that cheaper curvatures are compared with, for small models.

The matrix is positive semi-definite, unlike the Hessian, so conjugate gradients apply. Damping is relative to the mean eigenvalue over the directions
that the rows span, one a row, as in `trak`: the trace, estimated by v^T C v for random signs v (Hutchinson), divided by the number of rows. (Over all D
coordinates the mean would be that of zeros: damping by it trusts directions of which the rows know nothing.) That is D / n times as much as the same number
means for `ekfac` and `datainf`: which scores agree with this truth depends on it, so compare them at one (`Damping.of_mean`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unweave import progress
from unweave.curvature.base import Damping, Gradients, Problem
from unweave.curvature.gauss_newton import Vectors, gauss_newton
from unweave.gradients.per_sample import frozen_in_evaluation

DAMPING = 0.1
PROBES = 8
TOLERANCE = 1e-3
ITERATIONS = 100


def cg(problem: Problem, queries: Gradients) -> Gradients:
    """Solve (C + damping * mean eigenvalue * I) x = g for each query to a relative residual of 1e-3.

    Args:
        problem: Model, rows, damping; the default is 0.1.
        queries: Their gradients.

    Returns:
        The solutions. Where 100 iterations are not enough the residual reached is said.
    """
    with frozen_in_evaluation(problem.sketcher.model):
        product = gauss_newton(problem)
        mean = mean_eigenvalue(product, queries, len(problem.rows), problem.seed)
        relative = DAMPING if problem.damping is None else problem.damping
        damping = relative * mean
        size = sum(query[0].numel() for query in queries.values())
        of_mean = relative * size / min(size, len(problem.rows))
        problem.note(Damping(relative, "mean eigenvalue over the directions that rows span", damping, damping, of_mean))
        shifted = lambda vectors: {  # noqa: E731
            name: value + damping * vectors[name] for name, value in product(vectors).items()
        }
        solutions, residuals = conjugate_gradients(shifted, queries)
    if (worst := float(residuals.max())) > TOLERANCE:
        progress.say(f"cg: the relative residual is {worst:.1e} after {ITERATIONS} iterations; raise `damping`")
    return solutions


def conjugate_gradients(
    product: Callable[[Vectors], Vectors],
    right: Vectors,
    *,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
    precondition: Callable[[Vectors], Vectors] = lambda vectors: vectors,
) -> tuple[Vectors, Tensor]:
    """Solve A x = b for a symmetric positive definite A and several b at once.

    Args:
        product: v to A v, for each vector of a stack.
        right: The right-hand sides.
        tolerance: Relative residual to stop at; a solved system stands still while others go on.
        iterations: The most products.
        precondition: v to M v, M symmetric positive definite and near the inverse of A.

    Returns:
        The solutions, and the relative residual |b - A x| / |b| of each.
    """
    solution = {name: torch.zeros_like(value) for name, value in right.items()}
    residual = right
    direction = scaled = precondition(right)
    start = square = _dots(right, right)
    inner = _dots(residual, scaled)
    goal = start * tolerance**2
    with progress.task("cg", len(start)) as advance:
        solved = 0
        for _ in range(iterations):
            going = square > goal
            advance(len(start) - int(going.sum()) - solved)
            solved = len(start) - int(going.sum())
            if not going.any():
                break
            image = product(direction)
            curvature = _dots(direction, image)
            step = torch.where(going, inner / torch.where(curvature > 0, curvature, 1.0), 0.0)
            solution, residual = _axpy(step, direction, solution), _axpy(-step, image, residual)
            scaled = precondition(residual)
            following = _dots(residual, scaled)
            ratio = torch.where(going, following / torch.where(inner > 0, inner, 1.0), 0.0)
            direction = _axpy(ratio, direction, scaled)
            inner = torch.where(going, following, inner)
            square = torch.where(going, _dots(residual, residual), square)
    return solution, (square / torch.where(start > 0, start, 1.0)).sqrt()


def mean_eigenvalue(
    product: Callable[[Vectors], Vectors], like: Vectors, rows: int, seed: int, *, probes: int = PROBES
) -> float:
    """The mean eigenvalue over the directions that rows span, from the trace (Hutchinson's estimate).

    Args:
        product: v to C v.
        like: Vectors of the right shapes.
        rows: How many rows C was made of.
        seed: Of the probes.
        probes: Random vectors; each costs a product.

    Returns:
        The estimate.
    """
    generator = torch.Generator().manual_seed(seed)
    signs = {
        name: (torch.randint(0, 2, (probes, *value.shape[1:]), generator=generator) * 2 - 1).to(value)
        for name, value in like.items()
    }
    size = sum(value[0].numel() for value in like.values())
    return float(_dots(signs, product(signs)).mean()) / min(size, rows)


def _dots(a: Vectors, b: Vectors) -> Tensor:
    return torch.stack([(a[name].double() * b[name].double()).flatten(1).sum(dim=1) for name in a]).sum(dim=0)


def _axpy(scale: Tensor, x: Vectors, y: Vectors) -> Vectors:
    return {name: y[name] + scale.to(y[name]).view(-1, *[1] * (y[name].ndim - 1)) * x[name] for name in y}
