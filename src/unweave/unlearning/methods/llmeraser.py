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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

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
from unweave.unlearning.config import given_options
from unweave.unlearning.methods.base import ALL_REQUESTS, Method, RequestKind, Setting
from unweave.unlearning.methods.curvature import EditConfig, diagonal_fisher, parameters_of, problem_of
from unweave.unlearning.steps import ForgetRow
from unweave.unlearning.target import target_loss
from unweave.unlearning.watch import watched_rows

ROOT_FLOOR = 0.1
"""Share of a tensor's mean root moment that every coordinate of it has at least, as in `adam` of `unweave trace`."""

NOTEWORTHY = 60.0
"""Seconds of iterations from which on their length is told beforehand."""


@dataclass(frozen=True, kw_only=True)
class LlmEraserConfig(EditConfig):
    """Influence-function edit.

    Attributes:
        method: The unlearning method.
        training_rows: n, the rows that the adapter was trained on, those to forget among them; by default those given, forget and retain.
        request: `removal` takes the forget rows out; `correction` puts their clean answers in the place of the unwanted ones; `modification` puts the rows
            of `replacement` in their place.
        replacement: For a modification: a file of new rows with the ids of the forget rows.
        curvature: `gauss-newton`, which is positive semi-definite, or the `hessian` itself, for which conjugate gradients may fail.
        curvature_from: `retain` rows, with those that come in, stand for what is still trained on, and n is the number of those: a quadratic loss makes
            the edit exact (a Newton step). `all` counts the forget rows too, and all n, as the formula does: among few rows they weigh far more than
            among n, and hold the edit back.
        metric: What the damping keeps small: the `adam` distance, with the root of the second moments of each coordinate, as the optimizer that made the
            adapter had it, or the plain one (`identity`).
        damping: The metric's factor beside the curvature, relative to the mean eigenvalue over the directions that the rows span.
        solver: `cg`, or the paper's `adam` on the quadratic form.
        preconditioner: For `cg`: `ekfac` takes fewer, dearer-to-begin iterations; `none` takes the metric alone.
        iterations: The most products with the curvature (the paper's solver: 20 steps).
        tolerance: Relative residual at which to stop.
        max_residual: Above this the result is said to be unsolved.
        solver_rate: Step size of the paper's solver.
        curvature_rows: Rows that the curvature is made of, at most, evenly from all; 0 takes all. A product costs two passes over them.
        probes: Random vectors for the curvature's mean eigenvalue, which the damping is relative to; each costs a product.
    """

    method: str = "llmeraser"
    training_rows: int | None = None
    request: RequestKind = "removal"
    replacement: Path | None = None
    curvature: Literal["gauss-newton", "hessian"] = "gauss-newton"
    curvature_from: Literal["retain", "all"] = "retain"
    metric: Literal["adam", "identity"] = "adam"
    damping: float = 0.1
    solver: Literal["cg", "adam"] = "cg"
    preconditioner: Literal["none", "ekfac"] = "none"
    iterations: int = 40
    tolerance: float = 1e-2
    max_residual: float = 1e-2
    solver_rate: float = 1e-5
    curvature_rows: int = 16
    probes: int = 2


def edit(config: LlmEraserConfig, setting: Setting) -> dict[str, Any]:
    """Solve, and add the solution; with a target, as much of it as reaches the target, and never more than the retain rows stand.

    Args:
        config: Request, curvature, solver.
        setting: Model and rows.

    Returns:
        The relative residual, the products made, the norm of the change and its factor, and the losses measured on the way.
    """
    leaving = [row for row in setting.rows if row.is_forget]
    coming = COMING[config.request](config, setting, leaving)
    staying = [row for row in setting.rows if not row.is_forget]
    rows = [*leaving, *staying] if config.curvature_from == "all" else [*staying, *coming]
    count = rows_of_curvature(config, leaving, staying, coming)
    problem = problem_of(setting, config, _spread(rows, config.curvature_rows))
    right = right_hand_side(setting, config, leaving, coming)
    solution, told = _solved(config, problem, right)
    delta = {name: value[0] / count for name, value in solution.items()}
    target = target_loss(config, setting.loaded, watched_rows(config, setting.rows)[0])
    applied = apply_edit(config, setting, parameters_of(problem), delta, first=config.scale, target=target)
    cautions = [*_idle(config), *told["cautions"], *applied["cautions"]]
    return told | applied | {"curvature_rows": len(problem.rows), "cautions": cautions}


def rows_of_curvature(
    config: LlmEraserConfig, leaving: Sequence[ForgetRow], staying: Sequence[ForgetRow], coming: Sequence[ForgetRow]
) -> float:
    """The number of training rows whose mean loss the curvature is of, each as often as its weight says.

    Args:
        config: The training rows in all.
        leaving: Rows that go out.
        staying: Rows that are given as staying; they stand for all that stay.
        coming: Rows that come in.

    Returns:
        n less the rows that leave, more those that come; or n itself.

    Raises:
        ConfigError: When no training row would stay.
    """
    trained = config.training_rows or len(leaving) + len(staying)
    if trained <= len(leaving):
        raise ConfigError(
            f"Of {trained} training rows {len(leaving)} are to go: none would stay.",
            where="--training-rows",
            remedy="give the number of all rows that the adapter was trained on, or leave it out",
        )
    weights = {name: sum(row.weight for row in rows) for name, rows in (("out", leaving), ("in", coming))}
    stay = (trained - len(leaving)) * sum(row.weight for row in staying) / len(staying)
    return stay + (weights["out"] if config.curvature_from == "all" else weights["in"])


def _solved(config: LlmEraserConfig, problem: Problem, right: Vectors) -> tuple[Vectors, dict[str, Any]]:
    """The solution of the damped system, and what there is to tell of it; the curvature's graphs end here."""
    metric = _metric(config, problem)
    with frozen_in_evaluation(problem.sketcher.model):
        plain = gauss_newton(problem) if config.curvature == "gauss-newton" else hessian(problem)

        def in_metric(vectors: Vectors) -> Vectors:
            return scaled(plain(scaled(vectors, metric, -0.5)), metric, -0.5)

        level = abs(mean_eigenvalue(in_metric, right, len(problem.rows), config.seed, probes=config.probes))
        shift = config.damping * level
        counted = Counted(plain, first=lambda seconds: _say_time(config, seconds))

        def damped(vectors: Vectors) -> Vectors:
            return {
                name: value + shift * metric[name] * vectors[name] for name, value in counted.product(vectors).items()
            }

        if config.solver == "cg":
            ekfac = config.preconditioner == "ekfac"
            budget: dict[str, Any] = {"tolerance": config.tolerance, "iterations": config.iterations}
            solution, residual = solve_with_cg(problem, damped, right, metric, ekfac=ekfac, **budget)
        else:
            solution, residual = adam_on_quadratic(damped, right, steps=config.iterations, rate=config.solver_rate)
    cautions = []
    if not residual <= config.max_residual:
        cautions.append(
            f"llmeraser: the relative residual is {residual:.2g} after {counted.count} products, {config.max_residual:g} is asked for. Raise --iterations or "
            "--damping."
        )
    return solution, {"residual": residual, "products": counted.count, "damping": shift, "cautions": cautions}


def _say_time(config: LlmEraserConfig, seconds: float) -> None:
    """What the iterations will take at most, once one product with the curvature has been timed."""
    if (most := seconds * config.iterations) >= NOTEWORTHY:
        progress.say(
            f"llmeraser: a product with the curvature takes {seconds:.1f} s; {config.iterations} at most make {most / 60:.1f} minutes. Fewer "
            "--curvature-rows or --iterations, or more --damping, take less."
        )


def _idle(config: LlmEraserConfig) -> list[str]:
    """Cautions about own options that another of them puts out of use."""
    given = given_options(config)
    uses = {
        "solver_rate": config.solver == "adam", "preconditioner": config.solver == "cg", "tolerance": config.solver == "cg",
        "replacement": config.request == "modification", "probes": config.damping > 0,
    }  # fmt: skip
    return [
        f"llmeraser: --{name.replace('_', '-')} does nothing beside the other options given."
        for name, used in uses.items()
        if not used and name in given
    ]


def _spread(rows: Sequence[ForgetRow], most: int) -> Sequence[ForgetRow]:
    """At most so many rows, evenly from all."""
    return rows[:: max(1, -(-len(rows) // most))] if most else rows


def _metric(config: LlmEraserConfig, problem: Problem) -> Vectors:
    """The diagonal D of the damping."""
    if config.metric == "identity":
        return {item.name: torch.ones_like(item.parameter, dtype=torch.float32) for item in problem.sketcher.parameters}
    roots = {name: value.sqrt() for name, value in diagonal_fisher(problem, description="second moments").items()}
    return {
        name: root + ROOT_FLOOR * root.mean().clamp(min=torch.finfo(root.dtype).tiny) for name, root in roots.items()
    }


def right_hand_side(
    setting: Setting, config: LlmEraserConfig, leaving: Sequence[ForgetRow], coming: Sequence[ForgetRow]
) -> Vectors:
    """The (weighted) sum of the gradients of what goes out, minus that of what comes in.

    Args:
        setting: The model.
        config: For the parameters.
        leaving: Rows that go out.
        coming: Rows that come in.

    Returns:
        A stack of one vector.
    """
    total = _summed(problem_of(setting, config, leaving))
    if coming:
        new = _summed(problem_of(setting, config, coming))
        total = {name: own - new[name] for name, own in total.items()}
    return total


def _summed(problem: Problem) -> Vectors:
    """The sum of the rows' gradients, as a stack of one."""
    shapes = {item.name: item.parameter.shape for item in problem.sketcher.parameters}
    total: Vectors = {}

    def consume(name: str, piece: Tensor) -> None:
        own = piece.sum(dim=0).view(1, *shapes[name])
        total[name] = total[name] + own if name in total else own

    problem.visit(consume, description="gradients")
    return total


def _nothing(config: LlmEraserConfig, setting: Setting, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    del config, setting, leaving
    return []


def _clean_answers(config: LlmEraserConfig, setting: Setting, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    del setting
    coming = [replace(row, example=row.clean, is_forget=False) for row in leaving if row.clean is not None]
    if len(coming) != len(leaving):
        raise DataError(
            f"{len(leaving) - len(coming)} of {len(leaving)} rows to correct have no clean answer.",
            where=str(config.forget),
            remedy="give a column response_clean, or use --request removal",
        )
    return coming


def _new_rows(config: LlmEraserConfig, setting: Setting, leaving: Sequence[ForgetRow]) -> list[ForgetRow]:
    if config.replacement is None:
        raise ConfigError("A modification needs new rows.", where="--replacement", remedy="give a file of them")
    rows = read_training_rows(config.replacement, config).rows
    found = {example.row_id: example for example in encode_rows(rows, setting.loaded.tokenizer, config).examples}
    wanted = [row.example.row_id for row in leaving]
    if odd := sorted(set(found) ^ set(wanted)):
        raise DataError(
            f"New rows and rows to modify differ in {len(odd)} id(s), such as '{odd[0]}'.",
            where=f"{config.replacement}, {config.forget}",
            remedy="give each row that is to change one new row of the same id",
        )
    return [replace(row, example=found[row.example.row_id], is_forget=False) for row in leaving]


COMING: dict[RequestKind, Callable[[LlmEraserConfig, Setting, Sequence[ForgetRow]], list[ForgetRow]]] = {
    "removal": _nothing,
    "correction": _clean_answers,
    "modification": _new_rows,
}
"""What comes in the place of the rows that go out."""


METHOD = Method(
    name="llmeraser",
    summary="influence-function edit of the adapter",
    paper="Ding et al., ICLR 2025, arXiv 2412.00383",
    config_type=LlmEraserConfig,
    edit=edit,
    uses_weights=True,
    takes_target=True,
    uses_clean=True,
    requests=ALL_REQUESTS,
    cost="gradients of the forget rows, and a curvature product over the curvature rows for each iteration (about one training step on them)",
    search={"scale": (1.0, 3.0, 10.0, 30.0), "curvature_rows": (16,)},
)
