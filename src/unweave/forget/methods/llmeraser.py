"""LLMEraser: edits of the adapter by influence functions (Ding et al., ICLR 2025, arXiv 2412.00383), for removals, corrections and modifications.

With n training rows and the curvature H of their mean loss, taking rows F out changes the parameters by about (1/n) H^-1 sum_F g(z) (equation 6); putting
z' in the place of z by -(1/n) H^-1 sum (g(z') - g(z)).

Two errors of the public code are not repeated: its Hessian product lacks the graph of the gradient's second half and converges to twice H^-1 b, and its
default budget (20 steps of 1e-5) leaves 0.9998 of the residual. Here conjugate gradients solve the damped system, dropout is off, and the relative residual
is reported, with a warning above `max_residual`. The paper's solver, Adam on 1/2 x'Hx - b'x, is an option.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from unweave import progress
from unweave.data.encoding import Example, encode_rows
from unweave.errors import ConfigError, DataError
from unweave.forget.line_search import TOLERANCE, Stop, along_to_target, without_ruin
from unweave.forget.methods.base import ALL_REQUESTS, Method, RequestKind, Setting
from unweave.forget.methods.curvature import EditConfig, change, diagonal_fisher, parameters_of, problem_of
from unweave.forget.solver import Counted, adam_on_quadratic, hessian, scaled, solve_with_cg
from unweave.forget.target import target_loss
from unweave.forget.watch import mean_loss, watched_rows
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.trace.preconditioners.base import Problem
from unweave.trace.preconditioners.cg import mean_eigenvalue
from unweave.trace.preconditioners.gauss_newton import Vectors, gauss_newton
from unweave.train.rows import read_training_rows

ROOT_FLOOR = 0.1
"""Share of a tensor's mean root moment that every coordinate of it has at least, as in `adam` of `unweave trace`."""


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
        curvature_from: `retain` rows stand for what is still trained on, for which a quadratic loss makes the edit exact (a Newton step); `all`
            counts the forget rows too, as the formula does: among few rows they weigh far more than among n, and hold the edit back.
        metric: What the damping keeps small: the `adam` distance, with the root of the second moments of each coordinate, as the optimizer that made the
            adapter had it, or the plain one (`identity`).
        damping: The metric's factor beside the curvature, relative to the mean eigenvalue over the directions that the rows span.
        solver: `cg`, or the paper's `adam` on the quadratic form.
        preconditioner: For `cg`: `ekfac` takes fewer, dearer-to-begin iterations; `none` takes the metric alone.
        iterations: The most products with the curvature (the paper's solver: 20 steps).
        tolerance: Relative residual at which to stop.
        max_residual: Above this the result is said to be unsolved.
        solver_rate: Step size of the paper's solver.
        scale: Factor of the edit; 1 is the formula. It is halved until the retain rows stand it (`max_retain_increase`). With `target` or `target_loss` it
            is the first to be tried: first order alone moves rows that the model knows by heart too little.
        curvature_rows: Rows that the curvature is made of, at most; 0 takes all.
        probes: Random vectors for the curvature's mean eigenvalue, which the damping is relative to; each costs a product.
    """

    method: str = "llmeraser"
    training_rows: int | None = None
    request: RequestKind = "removal"
    replacement: Path | None = None
    curvature: Literal["gauss-newton", "hessian"] = "gauss-newton"
    curvature_from: Literal["retain", "all"] = "retain"
    metric: Literal["adam", "identity"] = "adam"
    damping: float = 0.01
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
    """Solve, and add the solution; with a target, as much of it as reaches the target, and never more than the retain rows stand.

    Args:
        config: Request, curvature, solver.
        setting: Model and rows.

    Returns:
        The relative residual, the products made, the norm of the change and its factor, and the losses measured on the way.
    """
    rows = [row.example for row in setting.rows if config.curvature_from == "all" or not row.is_forget]
    problem = problem_of(setting, config, _spread(rows, config.curvature_rows))
    solution, told = _solved(config, problem, right_hand_side(config, setting, problem))
    count = config.training_rows or len(setting.rows)
    return told | _apply(config, setting, problem, {name: value[0] / count for name, value in solution.items()})


def _solved(config: LlmEraserConfig, problem: Problem, right: Vectors) -> tuple[Vectors, dict[str, Any]]:
    """The solution of the damped system, and what there is to tell of it; the curvature's graphs end here."""
    metric = _metric(config, problem)
    with frozen_in_evaluation(problem.sketcher.model):
        counted = Counted(gauss_newton(problem) if config.curvature == "gauss-newton" else hessian(problem))

        def in_metric(vectors: Vectors) -> Vectors:
            return scaled(counted.product(scaled(vectors, metric, -0.5)), metric, -0.5)

        level = abs(mean_eigenvalue(in_metric, right, len(problem.rows), config.seed, probes=config.probes))
        counted.count = 0
        shift = config.damping * level

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
    if not residual <= config.max_residual:
        progress.say(
            f"llmeraser: the relative residual is {residual:.2g} after {counted.count} products, {config.max_residual:g} is asked for: "
            "raise --iterations or --damping"
        )
    return solution, {"residual": residual, "products": counted.count, "damping": shift}


def _spread(rows: Sequence[Example], most: int) -> Sequence[Example]:
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


def _times(delta: Vectors, factor: float) -> Vectors:
    return {name: factor * value for name, value in delta.items()}


def _apply(config: LlmEraserConfig, setting: Setting, problem: Problem, delta: Vectors) -> dict[str, Any]:
    """Change the parameters by a multiple of delta: the one that reaches the target, or the one asked for, as far as the retain rows stand it."""
    parameters = parameters_of(problem)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    watched, pad = watched_rows(config, setting.rows), setting.loaded.tokenizer.pad_token_id
    target = target_loss(config, setting.loaded, watched[0])

    def go_to(scale: float) -> float:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
        return change(parameters, _times(delta, scale))

    def measure(scale: float) -> Stop:
        go_to(scale)
        forget, retain = (mean_loss(setting.loaded.model, rows, pad_token_id=pad) for rows in watched)
        return Stop(scale, forget, retain)

    bounds: dict[str, float] = {"first": config.scale, "max_retain_increase": config.max_retain_increase}
    points = without_ruin(measure, **bounds) if target is None else along_to_target(measure, target, **bounds)
    reached = points[-1]
    limit = f"the retain rows lose more than {config.max_retain_increase:g} nats a token"
    if target is None and reached.scale != config.scale:
        progress.say(f"llmeraser: at the factor {config.scale:g} {limit}; {reached.scale:g} is taken")
    if target is not None and reached.forget_loss < target * (1 - TOLERANCE):
        progress.say(
            f"llmeraser: the forget rows' loss is {reached.forget_loss:.2f} nats a token, {target:.2f} was to be reached: further on {limit}, or the forget "
            "rows gain nothing"
        )
    told = {"scale": reached.scale, "norm": go_to(reached.scale), "target": target}
    return told | {"watched": [asdict(point) for point in points]}


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
    total = _summed(replace(problem, rows=leaving))
    if coming := COMING[config.request](config, setting, leaving):
        new = _summed(replace(problem, rows=coming))
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


METHOD = Method(
    name="llmeraser",
    summary="influence-function edit of the adapter",
    paper="Ding et al., ICLR 2025, arXiv 2412.00383",
    config_type=LlmEraserConfig,
    edit=edit,
    takes_target=True,
    uses_clean=True,
    requests=ALL_REQUESTS,
    cost="gradients of the forget rows, and a curvature product over the curvature rows for each iteration (about one training step on them)",
    search={"scale": (1.0, 3.0, 10.0, 30.0), "curvature_rows": (16,)},
)
