"""Solving (C + damping D) x = b for an edit of the parameters."""

import time
from collections.abc import Callable

import torch

from unweave.curvature.base import Problem
from unweave.curvature.cg import conjugate_gradients
from unweave.curvature.ekfac import fit_ekfac
from unweave.curvature.gauss_newton import Vectors
from unweave.gradients.loss import differentiable_losses

Product = Callable[[Vectors], Vectors]


class Counted:
    """A product that counts its calls, and times them.

    Args:
        inner: The product.
        first: Called with the seconds that the first call took, before there is a second.
    """

    def __init__(self, inner: Product, *, first: Callable[[float], None] = lambda _: None):
        self._inner = inner
        self._first = first
        self.count = 0

    def product(self, vectors: Vectors) -> Vectors:
        """One product.

        Args:
            vectors: A stack.

        Returns:
            The product of each.
        """
        started = time.monotonic()
        found = self._inner(vectors)
        self.count += 1
        if self.count == 1:
            self._first(time.monotonic() - started)
        return found


def scaled(vectors: Vectors, factors: Vectors, power: float) -> Vectors:
    """A stack of vectors times a power of a diagonal matrix.

    Args:
        vectors: The stack.
        factors: The diagonal, a tensor of each parameter's shape.
        power: The power.

    Returns:
        The products.
    """
    return {name: value * factors[name].pow(power) for name, value in vectors.items()}


def hessian(problem: Problem) -> Product:
    """The Hessian product of the rows' (weighted) mean loss: the gradient of <gradient, v>, through the whole of the gradient.

    Args:
        problem: Model and rows.

    Returns:
        v to H v, for each vector of a stack.
    """
    model, names = problem.sketcher.model, [item.name for item in problem.sketcher.parameters]
    parameters = [item.parameter for item in problem.sketcher.parameters]

    def product(vectors: Vectors) -> Vectors:
        stack = len(next(iter(vectors.values())))
        total = {name: torch.zeros_like(value) for name, value in vectors.items()}
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            for batch in problem.batches():
                losses, weights = differentiable_losses(model, batch).means(), problem.weights_of(batch)
                loss = (losses if weights is None else losses * weights.to(losses)).sum() / problem.total
                gradients = torch.autograd.grad(loss, parameters, create_graph=True)
                for index in range(stack):
                    inner = sum(
                        (own * vectors[name][index].to(own.dtype)).sum()
                        for name, own in zip(names, gradients, strict=True)
                    )
                    second = torch.autograd.grad(inner, parameters, retain_graph=index + 1 < stack)  # type: ignore[arg-type]
                    for name, value in zip(names, second, strict=True):
                        total[name][index] += value.to(total[name].dtype)
        for parameter in parameters:
            parameter.requires_grad_(False)
        return total

    return product


def solve_with_cg(
    problem: Problem,
    product: Product,
    right: Vectors,
    metric: Vectors,
    *,
    ekfac: bool,
    tolerance: float,
    iterations: int,
) -> tuple[Vectors, float]:
    """Conjugate gradients, preconditioned with the metric's inverse or with EK-FAC.

    Args:
        problem: Rows of the curvature.
        product: v to A v.
        right: b.
        metric: The diagonal D; the iterates are those of the system in the coordinates D^(1/2) x.
        ekfac: Precondition with EK-FAC of the same rows.
        tolerance: Relative residual to stop at.
        iterations: The most products.

    Returns:
        x, and the relative residual |b - A x| / |b|.
    """
    precondition = fit_ekfac(problem) if ekfac else lambda vectors: scaled(vectors, metric, -1)
    solution, residual = conjugate_gradients(
        product, right, tolerance=tolerance, iterations=iterations, precondition=precondition
    )
    return solution, float(residual[0])


def adam_on_quadratic(product: Product, right: Vectors, *, steps: int, rate: float) -> tuple[Vectors, float]:
    """The solver of LLMEraser's paper: Adam on 1/2 x'Ax - b'x from x = 0.

    Args:
        product: v to A v.
        right: b.
        steps: How many.
        rate: Step size.

    Returns:
        x, and the relative residual |b - A x| / |b|.
    """
    names = list(right)
    x = [torch.zeros_like(right[name]) for name in names]
    optimizer = torch.optim.Adam(x, lr=rate)
    for _ in range(steps):
        image = product(dict(zip(names, x, strict=True)))
        for own, name in zip(x, names, strict=True):
            own.grad = image[name] - right[name]
        optimizer.step()
    solution = dict(zip(names, x, strict=True))
    image = product(solution)
    gap = sum(float((right[name] - image[name]).double().square().sum()) for name in names)
    whole = sum(float(right[name].double().square().sum()) for name in names)
    return solution, (gap / whole) ** 0.5 if whole else 0.0
