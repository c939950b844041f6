"""LLMEraser: edits of the adapter by influence functions (Ding et al., ICLR 2025, arXiv 2412.00383), for removals, corrections and modifications.

With n training rows and the curvature H of their mean loss, taking rows F out changes the parameters by about (1/n) H^-1 sum_F g(z) (equation 6); putting
z' in the place of z by -(1/n) H^-1 sum (g(z') - g(z)).

Two errors of the public code are not repeated: its Hessian product lacks the graph of the gradient's second half and converges to twice H^-1 b, and its
default budget (20 steps of 1e-5) leaves 0.9998 of the residual. Here conjugate gradients solve the damped system, dropout is off, and the relative residual
is reported, with a warning above `max_residual`. The paper's solver, Adam on 1/2 x'Hx - b'x, is an option.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from unweave import progress
from unweave.data.encoding import Example, encode_rows
from unweave.errors import ConfigError, DataError
from unweave.forget.methods.base import ALL_REQUESTS, Method, RequestKind, Setting
from unweave.forget.methods.curvature import EditConfig, change, parameters_of, problem_of
from unweave.gradients.loss import TokenLosses, labelled_logits
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.trace.preconditioners.base import Problem, gradients_of
from unweave.trace.preconditioners.cg import Vectors, conjugate_gradients, gauss_newton, mean_eigenvalue
from unweave.trace.preconditioners.ekfac import fit_ekfac
from unweave.train.rows import read_training_rows


@dataclass(frozen=True, kw_only=True)
class LlmEraserConfig(EditConfig):
    """Influence-function edit.

    Attributes:
        method: The unlearning method.
        training_rows: n, the rows that the adapter was trained on; by default those given, forget and retain.
        request: `removal` takes the forget rows out; `correction` puts their clean answers in the place of the unwanted ones; `modification` puts the rows
            of `replacement` in their place.
        replacement: For a modification: a file of new rows with the ids of the forget rows.
        curvature: `gauss-newton`, which is positive semi-definite, or the `hessian` itself, for which conjugate gradients may fail.
        damping: Added to the curvature, relative to its mean eigenvalue over the directions that the rows span.
        solver: `cg`, or the paper's `adam` on the quadratic form.
        preconditioner: For `cg`: `ekfac` takes fewer, dearer-to-begin iterations; `none`.
        iterations: The most products with the curvature (the paper's solver: 20 steps).
        tolerance: Relative residual at which to stop.
        max_residual: Above this the result is said to be unsolved.
        solver_rate: Step size of the paper's solver.
        scale: Factor of the edit; 1 is the formula.
        curvature_rows: Rows that the curvature is made of, at most; 0 takes all.
        probes: Random vectors for the curvature's mean eigenvalue, which the damping is relative to; each costs a product.
    """

    method: str = "llmeraser"
    training_rows: int | None = None
    request: RequestKind = "removal"
    replacement: Path | None = None
    curvature: Literal["gauss-newton", "hessian"] = "gauss-newton"
    damping: float = 0.1
    solver: Literal["cg", "adam"] = "cg"
    preconditioner: Literal["none", "ekfac"] = "none"
    iterations: int = 100
    tolerance: float = 1e-2
    max_residual: float = 1e-2
    solver_rate: float = 1e-5
    scale: float = 1.0
    curvature_rows: int = 0
    probes: int = 2


def edit(config: LlmEraserConfig, setting: Setting) -> dict[str, Any]:
    """Solve, and add the solution.

    Args:
        config: Request, curvature, solver.
        setting: Model and rows.

    Returns:
        The relative residual, the products made, the norm of the change.
    """
    rows = [row.example for row in setting.rows]
    kept = rows if not config.curvature_rows else rows[:: max(1, -(-len(rows) // config.curvature_rows))]
    problem = problem_of(setting, config, kept)
    right = right_hand_side(config, setting, problem)
    with frozen_in_evaluation(setting.loaded.model):
        counted = Counted(gauss_newton(problem) if config.curvature == "gauss-newton" else hessian(problem))
        level = abs(mean_eigenvalue(counted.product, right, len(kept), config.seed, probes=config.probes))
        counted.count = 0
        shift = config.damping * level

        def damped(vectors: Vectors) -> Vectors:
            return {name: value + shift * vectors[name] for name, value in counted.product(vectors).items()}

        solution, residual = _solve(config, problem, damped, right)
    if not residual <= config.max_residual:
        progress.say(
            f"llmeraser: the relative residual is {residual:.2g} after {counted.count} products, {config.max_residual:g} is asked for: "
            "raise --iterations or --damping"
        )
    count = config.training_rows or len(rows)
    delta = {name: config.scale / count * value[0] for name, value in solution.items()}
    norm = change(parameters_of(problem), delta)
    return {"residual": residual, "products": counted.count, "damping": shift, "norm": norm}


def right_hand_side(config: LlmEraserConfig, setting: Setting, problem: Problem) -> Vectors:
    """The summed gradient of what goes out, minus that of what comes in.

    Args:
        config: The request.
        setting: The rows.
        problem: The parameters.

    Returns:
        A stack of one vector.

    Raises:
        ConfigError: When a modification has no new rows.
        DataError: When a correction lacks a clean answer, or a modification a new row.
    """
    leaving = [row.example for row in setting.rows if row.is_forget]
    total = {name: own.sum(dim=0, keepdim=True) for name, own in gradients_of(problem.sketcher, leaving).items()}
    if coming := COMING[config.request](config, setting, leaving):
        new = gradients_of(problem.sketcher, coming)
        total = {name: own - new[name].sum(dim=0, keepdim=True) for name, own in total.items()}
    return total


def _nothing(config: LlmEraserConfig, setting: Setting, leaving: Sequence[Example]) -> list[Example]:
    del config, setting, leaving
    return []


def _clean_answers(config: LlmEraserConfig, setting: Setting, leaving: Sequence[Example]) -> list[Example]:
    coming = [row.clean for row in setting.rows if row.is_forget and row.clean is not None]
    if len(coming) != len(leaving):
        raise DataError(
            f"{len(leaving) - len(coming)} of {len(leaving)} rows to correct have no clean answer.",
            where=str(config.forget),
            remedy="give a column response_clean, or use --request removal",
        )
    return coming


def _new_rows(config: LlmEraserConfig, setting: Setting, leaving: Sequence[Example]) -> list[Example]:
    if config.replacement is None:
        raise ConfigError("A modification needs new rows.", where="--replacement", remedy="give a file of them")
    rows = read_training_rows(config.replacement, config).rows
    found = {example.row_id: example for example in encode_rows(rows, setting.loaded.tokenizer, config).examples}
    wanted = [example.row_id for example in leaving]
    if odd := sorted(set(found) ^ set(wanted)):
        raise DataError(
            f"New rows and rows to modify differ in {len(odd)} id(s), such as '{odd[0]}'.",
            where=f"{config.replacement}, {config.forget}",
            remedy="give each row that is to change one new row of the same id",
        )
    return [found[row_id] for row_id in wanted]


COMING: dict[RequestKind, Callable[[LlmEraserConfig, Setting, Sequence[Example]], list[Example]]] = {
    "removal": _nothing,
    "correction": _clean_answers,
    "modification": _new_rows,
}
"""What comes in the place of the rows that go out."""


class Counted:
    """A product that counts its calls.

    Args:
        inner: The product.
    """

    def __init__(self, inner: Callable[[Vectors], Vectors]):
        self._inner = inner
        self.count = 0

    def product(self, vectors: Vectors) -> Vectors:
        """One product.

        Args:
            vectors: A stack.

        Returns:
            The product of each.
        """
        self.count += 1
        return self._inner(vectors)


def hessian(problem: Problem) -> Callable[[Vectors], Vectors]:
    """The Hessian product of the rows' mean loss: the gradient of <gradient, v>, through the whole of the gradient.

    Args:
        problem: Model and rows.

    Returns:
        v to H v, for each vector of a stack.
    """
    model, names = problem.sketcher.model, [item.name for item in problem.sketcher.parameters]
    parameters = [item.parameter for item in problem.sketcher.parameters]
    count = len(problem.rows)

    def product(vectors: Vectors) -> Vectors:
        stack = len(next(iter(vectors.values())))
        total = {name: torch.zeros_like(value) for name, value in vectors.items()}
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            for batch in problem.batches():
                loss = _differentiable_losses(model, batch).sum() / count
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


def _differentiable_losses(model: Any, batch: Any) -> Tensor:
    """l(z) of each row, twice differentiable: the chunked cross-entropy of training is so once only."""
    logits, targets, segments = labelled_logits(model, batch)
    wide = torch.promote_types(logits.dtype, torch.float32)
    nll = functional.cross_entropy(logits.to(wide), targets, reduction="none")
    return TokenLosses(nll, segments, len(batch)).means()


def _solve(
    config: LlmEraserConfig, problem: Problem, damped: Callable[[Vectors], Vectors], right: Vectors
) -> tuple[Vectors, float]:
    if config.solver == "cg":
        options: dict[str, Any] = {"tolerance": config.tolerance, "iterations": config.iterations}
        if config.preconditioner == "ekfac":
            options["precondition"] = fit_ekfac(problem)
        solution, residual = conjugate_gradients(damped, right, **options)
        return solution, float(residual[0])
    return adam_on_quadratic(damped, right, steps=config.iterations, rate=config.solver_rate)


def adam_on_quadratic(
    product: Callable[[Vectors], Vectors], right: Vectors, *, steps: int, rate: float
) -> tuple[Vectors, float]:
    """The paper's solver: Adam on 1/2 x'Ax - b'x from x = 0.

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


METHOD = Method(
    name="llmeraser",
    summary="influence-function edit of the adapter",
    paper="Ding et al., ICLR 2025, arXiv 2412.00383",
    config_type=LlmEraserConfig,
    edit=edit,
    uses_clean=True,
    requests=ALL_REQUESTS,
    cost="gradients of the forget rows, and a curvature product over all rows for each iteration (about four forward passes)",
    search={"scale": (1.0, 3.0, 10.0, 30.0), "curvature_rows": (16,)},
)
