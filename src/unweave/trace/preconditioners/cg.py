"""Conjugate gradients on the damped Gauss-Newton product: the truth that cheaper curvatures are compared with, for small models.

C = 1/n sum_i 1/T_i sum_t J_it^T (diag p_it - p_it p_it^T) J_it, J the derivative of the logits with respect to the chosen parameters. A product C v is
one forward-mode pass (J v), a product in logit space, and one backward pass. C is positive semi-definite, unlike the Hessian, so conjugate gradients
apply. Damping is relative to the mean eigenvalue, whose estimate is Hutchinson's: v^T C v / D for random signs v.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from unweave import progress
from unweave.data.batches import Batch
from unweave.gradients.loss import predicting_positions
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.trace.preconditioners.base import Gradients, Problem

DAMPING = 0.1
PROBES = 8
TOLERANCE = 1e-3
ITERATIONS = 100

Vector = dict[str, Tensor]


def cg(problem: Problem, queries: Gradients) -> Gradients:
    """Solve (C + damping * mean eigenvalue * I) x = g for each query to a relative residual of 1e-3.

    Args:
        problem: Model, rows, damping; the default is 0.1.
        queries: Their gradients.

    Returns:
        The solutions. Where 100 iterations are not enough the residual reached is said.
    """
    model = problem.sketcher.model
    with frozen_in_evaluation(model):
        product = gauss_newton(problem)
        shapes = {name: query[0] for name, query in queries.items()}
        mean = _mean_eigenvalue(product, shapes, problem.seed)
        damping = (DAMPING if problem.damping is None else problem.damping) * mean
        solutions, worst = [], 0.0
        count = len(next(iter(queries.values())))
        with progress.task("cg", count) as advance:
            for index in range(count):
                right = {name: query[index] for name, query in queries.items()}
                solution, residual = conjugate_gradients(lambda v: _axpy(damping, v, product(v)), right)
                solutions.append(solution)
                worst = max(worst, residual)
                advance(1)
    if worst > TOLERANCE:
        progress.say(f"cg: the relative residual is {worst:.1e} after {ITERATIONS} iterations; raise --damping")
    return {name: torch.stack([solution[name] for solution in solutions]) for name in queries}


def gauss_newton(problem: Problem) -> Callable[[Vector], Vector]:
    """The Gauss-Newton product of the mean loss over the sampled rows.

    Args:
        problem: Model and rows; the model must be frozen in evaluation mode.

    Returns:
        v to C v.
    """
    model = problem.sketcher.model
    parameters = {item.name: item.parameter.detach() for item in problem.sketcher.parameters}
    batches = list(problem.batches())

    def product(vector: Vector) -> Vector:
        total = {name: torch.zeros_like(value) for name, value in vector.items()}
        for batch in batches:
            positions, weights = _weights(batch, problem.sketcher.config.reduction, len(problem.rows))

            def logits(values: Vector, batch: Batch = batch, positions: Tensor = positions) -> Tensor:
                out = torch.func.functional_call(model, values, kwargs={**batch.model_inputs(), "use_cache": False})
                return out.logits[positions]

            tangent = {name: value.to(parameters[name].dtype) for name, value in vector.items()}
            with warnings.catch_warnings():
                # torch's own forward-mode rules are compiled with a function that torch itself has deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                output, forward = torch.func.jvp(logits, (parameters,), (tangent,))
            chances = torch.softmax(output.to(torch.promote_types(output.dtype, torch.float32)), dim=-1)
            inner = chances * (forward - (chances * forward).sum(dim=-1, keepdim=True)) * weights[:, None]
            _, pull_back = torch.func.vjp(logits, parameters)
            for name, value in pull_back(inner.to(output.dtype))[0].items():
                total[name] += value.to(total[name].dtype)
        return total

    return product


def conjugate_gradients(
    product: Callable[[Vector], Vector], right: Vector, *, tolerance: float = TOLERANCE, iterations: int = ITERATIONS
) -> tuple[Vector, float]:
    """Solve A x = b for a symmetric positive definite A.

    Args:
        product: v to A v.
        right: b.
        tolerance: Relative residual to stop at.
        iterations: The most products.

    Returns:
        x, and the relative residual |b - A x| / |b|.
    """
    solution = {name: torch.zeros_like(value) for name, value in right.items()}
    residual, direction = right, right
    start = square = _dot(right, right)
    for _ in range(iterations):
        if square <= start * tolerance**2:
            break
        image = product(direction)
        step = square / _dot(direction, image)
        solution = _axpy(step, direction, solution)
        residual = _axpy(-step, image, residual)
        following = _dot(residual, residual)
        direction = _axpy(following / square, direction, residual)
        square = following
    return solution, (square / start) ** 0.5 if start else 0.0


def _weights(batch: Batch, reduction: str, rows: int) -> tuple[Tensor, Tensor]:
    """Where labels are predicted, and the share of each token in the mean loss over all rows."""
    positions, _, segments = predicting_positions(batch)
    counts = torch.bincount(segments, minlength=len(batch)).clamp(min=1)
    each = counts[segments].reciprocal() if reduction == "mean" else torch.ones(len(segments), device=segments.device)
    return positions, each / rows


def _mean_eigenvalue(product: Callable[[Vector], Vector], shapes: Vector, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    size = sum(value.numel() for value in shapes.values())
    total = 0.0
    for _ in range(PROBES):
        probe = {
            name: (torch.randint(0, 2, value.shape, generator=generator) * 2 - 1).to(value)
            for name, value in shapes.items()
        }
        total += _dot(probe, product(probe))
    return total / PROBES / size


def _dot(a: Vector, b: Vector) -> float:
    return sum(float((a[name].double() * b[name].double()).sum()) for name in a)


def _axpy(scale: float, x: Vector, y: Vector) -> Vector:
    return {name: y[name] + scale * x[name] for name in y}
