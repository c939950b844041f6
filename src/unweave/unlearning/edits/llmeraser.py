"""LLMEraser: edits of the adapter by influence functions (Ding et al., ICLR 2025, arXiv 2412.00383), for removals, corrections and modifications.

With n training rows and the curvature H of their mean loss, taking rows F out changes the parameters by about (1/n) H^-1 sum_F g(z) (equation 6); putting
z' in the place of z by -(1/n) H^-1 sum (g(z') - g(z)). That is for n far above the number of rows in F. Here H is by default the curvature of the rows that
stay (and of those that come in), and then n is their number too: (1/(n - |F|)) H_R^-1 sum_F g(z) is Newton's step to the minimum without F, exact where the
loss is quadratic. Rows with weights count as often as these say.

Two errors of the public code are not repeated: its Hessian product lacks the graph of the gradient's second half and converges to twice H^-1 b, and its
default budget (20 steps of 1e-5) leaves 0.9998 of the residual. Here conjugate gradients solve the damped system, dropout is off, and the relative residual
is reported, with a caution above `max_residual`. The paper's solver, Adam on 1/2 x'Hx - b'x, is an option.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unweave import progress
from unweave.curvature.base import Problem
from unweave.curvature.cg import mean_eigenvalue
from unweave.curvature.gauss_newton import Vectors, gauss_newton
from unweave.curvature.solver import Counted, adam_on_quadratic, hessian, scaled, solve_with_cg
from unweave.data.encoding import encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.unlearning.applying import apply_edit
from unweave.unlearning.context import Context
from unweave.unlearning.edits.problem import diagonal_fisher, parameters_of, problem_of
from unweave.unlearning.methods.base import RequestKind
from unweave.unlearning.rows import ForgetRow

if TYPE_CHECKING:
    from unweave.unlearning.methods.llmeraser import LLMEraser

ROOT_FLOOR = 0.1
"""Share of a tensor's mean root moment that every coordinate of it has at least, as in `adam` of `unweave trace`."""

NOTEWORTHY = 60.0
"""Seconds of iterations from which on their length is announced."""


def step(method: "LLMEraser", context: Context) -> dict[str, Any]:
    """Solve, and add the solution; with a target, as much of it as reaches the target, and never more than the retain rows stand.

    Args:
        method: Request, curvature, solver.
        context: Model and rows.

    Returns:
        The relative residual, the products made, the norm of the change and its factor, and the losses measured on the way.
    """
    leaving = [row for row in context.rows if row.is_forget]
    coming = COMING[method.request](method, context, leaving)
    staying = [row for row in context.rows if not row.is_forget]
    rows = [*leaving, *staying] if method.curvature_from == "all" else [*staying, *coming]
    count = rows_of_curvature(method, leaving, staying, coming)
    problem = problem_of(context, method, spread(rows, method.curvature_rows))
    right = right_hand_side(context, method, leaving, coming)
    solution, about = solved(method, problem, right, context.options.seed)
    delta = {name: value[0] / count for name, value in solution.items()}
    options: dict[str, Any] = {"name": method.name, "first": method.scale, "target": context.target}
    applied = apply_edit(context, parameters_of(problem), delta, **options)
    cautions = [*idle(method), *about["cautions"], *applied["cautions"]]
    return about | applied | {"curvature_rows": len(problem.rows), "cautions": cautions}


def rows_of_curvature(
    method: "LLMEraser", leaving: Sequence[ForgetRow], staying: Sequence[ForgetRow], coming: Sequence[ForgetRow]
) -> float:
    """The number of training rows whose mean loss the curvature is of, each as often as its weight says.

    Args:
        method: The training rows in all.
        leaving: Rows that go out.
        staying: Rows that are given as staying; they stand for all that stay.
        coming: Rows that come in.

    Returns:
        n less the rows that leave, more those that come; or n itself.

    Raises:
        ConfigError: When no training row would stay.
    """
    trained = method.training_rows or len(leaving) + len(staying)
    if trained <= len(leaving):
        raise ConfigError(
            f"Of {trained} training rows {len(leaving)} are to go: none would stay.",
            where="`training_rows`",
            remedy="give the number of all rows that the adapter was trained on, or leave it out",
        )
    weights = {name: sum(row.weight for row in rows) for name, rows in (("out", leaving), ("in", coming))}
    stay = (trained - len(leaving)) * sum(row.weight for row in staying) / len(staying)
    return stay + (weights["out"] if method.curvature_from == "all" else weights["in"])


def solved(method: "LLMEraser", problem: Problem, right: Vectors, seed: int) -> tuple[Vectors, dict[str, Any]]:
    """The solution of the damped system; the curvature's graphs end here.

    Args:
        method: Curvature, damping, solver.
        problem: The curvature's rows.
        right: The right side.
        seed: Of the probes.

    Returns:
        The solution, and what there is to say of it.
    """
    metric = _metric(method, problem)
    with frozen_in_evaluation(problem.sketcher.model):
        plain = gauss_newton(problem) if method.curvature == "gauss-newton" else hessian(problem)

        def in_metric(vectors: Vectors) -> Vectors:
            return scaled(plain(scaled(vectors, metric, -0.5)), metric, -0.5)

        level = abs(mean_eigenvalue(in_metric, right, len(problem.rows), seed, probes=method.probes))
        shift = method.damping * level
        counted = Counted(plain, first=lambda seconds: _say_time(method, seconds))

        def damped(vectors: Vectors) -> Vectors:
            return {
                name: value + (shift * metric[name] + method.l2) * vectors[name]
                for name, value in counted.product(vectors).items()
            }

        if method.solver == "cg":
            ekfac = method.preconditioner == "ekfac"
            budget: dict[str, Any] = {"tolerance": method.tolerance, "iterations": method.iterations}
            solution, residual = solve_with_cg(problem, damped, right, metric, ekfac=ekfac, **budget)
        else:
            solution, residual = adam_on_quadratic(damped, right, steps=method.iterations, rate=method.solver_rate)
    cautions = []
    if not residual <= method.max_residual:
        cautions.append(
            f"llmeraser: the relative residual is {residual:.2g} after {counted.count} products, {method.max_residual:g} is asked for. Raise `iterations` or "
            "`damping`."
        )
    return solution, {"residual": residual, "products": counted.count, "damping": shift, "cautions": cautions}


def _say_time(method: "LLMEraser", seconds: float) -> None:
    """What the iterations will take at most, once one product with the curvature has been timed."""
    if (most := seconds * method.iterations) >= NOTEWORTHY:
        progress.say(
            f"llmeraser: a product with the curvature takes {seconds:.1f} s; {method.iterations} at most make {most / 60:.1f} minutes. Fewer "
            "`curvature_rows` or `iterations`, or more `damping`, take less."
        )


def idle(method: "LLMEraser") -> list[str]:
    """Cautions about own options that another of them puts out of use.

    Args:
        method: The method.

    Returns:
        Sentences.
    """
    given = {own.name for own in fields(method) if getattr(method, own.name) != own.default}
    uses = {
        "solver_rate": method.solver == "adam", "preconditioner": method.solver == "cg", "tolerance": method.solver == "cg",
        "replacement": method.request == "modification", "probes": method.damping > 0,
        "l2": method.rounds > 1,
    }  # fmt: skip
    return [
        f"llmeraser: `{name}` does nothing beside the other options given."
        for name, used in uses.items()
        if not used and name in given
    ]


def spread(rows: Sequence[ForgetRow], most: int) -> Sequence[ForgetRow]:
    """At most so many rows, evenly from all.

    Args:
        rows: All rows.
        most: How many; 0 takes all.

    Returns:
        The rows.
    """
    return rows[:: max(1, -(-len(rows) // most))] if most else rows


def _metric(method: "LLMEraser", problem: Problem) -> Vectors:
    """The diagonal D of the damping."""
    if method.metric == "identity":
        return {item.name: torch.ones_like(item.parameter, dtype=torch.float32) for item in problem.sketcher.parameters}
    roots = {name: value.sqrt() for name, value in diagonal_fisher(problem, description="second moments").items()}
    return {
        name: root + ROOT_FLOOR * root.mean().clamp(min=torch.finfo(root.dtype).tiny) for name, root in roots.items()
    }


def right_hand_side(
    context: Context, method: "LLMEraser", leaving: Sequence[ForgetRow], coming: Sequence[ForgetRow]
) -> Vectors:
    """The (weighted) sum of the gradients of what goes out, minus that of what comes in.

    Args:
        context: The model.
        method: For the parameters.
        leaving: Rows that go out.
        coming: Rows that come in.

    Returns:
        A stack of one vector.
    """
    total = summed(problem_of(context, method, leaving))
    if coming:
        new = summed(problem_of(context, method, coming))
        total = {name: own - new[name] for name, own in total.items()}
    return total


def summed(problem: Problem) -> Vectors:
    """The (weighted) sum of the rows' gradients.

    Args:
        problem: The rows.

    Returns:
        A stack of one vector.
    """
    shapes = {item.name: item.parameter.shape for item in problem.sketcher.parameters}
    total: Vectors = {}

    def consume(name: str, piece: Tensor) -> None:
        own = piece.sum(dim=0).view(1, *shapes[name])
        total[name] = total[name] + own if name in total else own

    problem.visit(consume, description="gradients")
    return total


def _nothing(method: "LLMEraser", context: Context, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    del method, context, leaving
    return []


def _clean_answers(method: "LLMEraser", context: Context, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    del method, context
    coming = [replace(row, example=row.clean, is_forget=False) for row in leaving if row.clean is not None]
    if len(coming) != len(leaving):
        raise DataError(
            f"{len(leaving) - len(coming)} of {len(leaving)} rows to correct have no clean answer.",
            where="`forget`",
            remedy="give a column response_clean, or use `request` removal",
        )
    return coming


def _new_rows(method: "LLMEraser", context: Context, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    if method.replacement is None:
        raise ConfigError("A modification needs new rows.", where="`replacement`", remedy="give a file of them")
    rows = read_training_rows(Path(method.replacement), context.options).rows
    found = {
        example.row_id: example for example in encode_rows(rows, context.loaded.tokenizer, context.options).examples
    }
    wanted = [row.example.row_id for row in leaving]
    if odd := sorted(set(found) ^ set(wanted)):
        raise DataError(
            f"New rows and rows to modify differ in {len(odd)} id(s), such as '{odd[0]}'.",
            where=f"{method.replacement}, `forget`",
            remedy="give each row that is to change one new row of the same id",
        )
    return [replace(row, example=found[row.example.row_id], is_forget=False) for row in leaving]


COMING: dict[RequestKind, "Callable[[LLMEraser, Context, Sequence[ForgetRow]], list[ForgetRow]]"] = {
    "removal": _nothing,
    "correction": _clean_answers,
    "modification": _new_rows,
}
"""What comes in the place of the rows that go out."""
