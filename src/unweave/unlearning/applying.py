"""Making an edit of the parameters as large as its target asks for, and no larger than the rows to keep can stand."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from unweave.errors import ModelError, TrainingError
from unweave.unlearning.context import Context
from unweave.unlearning.line_search import TOLERANCE, Stop, along_to_target, without_ruin
from unweave.unlearning.stopping import checked_rows, mean_loss

ROUNDING = 0.1
"""Share of a change, by its norm, that rounding may take unsaid."""


def apply_edit(
    context: Context,
    parameters: Mapping[str, Tensor],
    delta: Mapping[str, Tensor] | Callable[[float], Mapping[str, Tensor]],
    *,
    name: str,
    first: float,
    target: float | None,
) -> dict[str, Any]:
    """Change the parameters by a multiple of an edit: the one that reaches the target, or the one asked for, as far as the retain rows stand it.

    Args:
        context: Model and rows, which of them are measured, and how much the retain rows' loss may grow.
        parameters: Name to parameter.
        delta: Name to what is added at the factor 1, in float32 or wider; or a function from the factor to that, where an edit is not a multiple.
        name: Of the method.
        first: The factor asked for; with a target the first to be tried.
        target: The loss that the forget rows are to reach, nats a token, or `None`.

    Returns:
        Factor and norm of the change, the share of it that rounding took, the target, the losses measured on the way, and cautions.

    Raises:
        TrainingError: When nothing is to be done, or whatever is done ruins the retain rows.
    """
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    checked, pad = checked_rows(context), context.loaded.tokenizer.pad_token_id

    def go_to(scale: float) -> tuple[float, float]:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])
        if callable(delta):
            return change(parameters, delta(scale))
        return change(parameters, {name: scale * value for name, value in delta.items()})

    def measure(scale: float) -> Stop:
        go_to(scale)
        try:
            forget, retain = (mean_loss(context.loaded.model, rows, pad_token_id=pad) for rows in checked)
        except ModelError:
            # A loss that is no number, far along the edit: too far.
            if scale == 0:
                raise
            forget = retain = float("nan")
        return Stop(scale, forget, retain)

    bounds: dict[str, float] = {"first": first, "max_retain_increase": context.options.max_retain_increase}
    points = without_ruin(measure, **bounds) if target is None else along_to_target(measure, target, **bounds)
    reached = points[-1]
    limit = f"the retain rows lose more than {context.options.max_retain_increase:g} nats a token"
    if reached.scale == 0:
        go_to(0.0)
        _refuse(name, points, target, limit)
    cautions = []
    if target is None and reached.scale != first:
        cautions.append(f"{name}: at the factor {first:g} of the edit {limit}; the factor {reached.scale:g} was taken.")
    if target is not None and reached.forget_loss < target * (1 - TOLERANCE):
        cautions.append(
            f"{name}: the forget rows' loss is {reached.forget_loss:.2f} nats a token, {target:.2f} was to be reached: further along the edit "
            f"{limit}, or the forget rows gain nothing."
        )
    norm, lost = go_to(reached.scale)
    if lost > ROUNDING:
        dtype = str(next(iter(parameters.values())).dtype).removeprefix("torch.")
        cautions.append(
            f"{name}: rounding to {dtype} took {lost:.0%} of the change. Use `dtype` float32, here and where the model is loaded."
        )
    details = {"scale": reached.scale, "norm": norm, "lost_to_rounding": lost, "target": target}
    return details | {"watched": [asdict(point) for point in points], "cautions": cautions}


def nothing_to_do(loss: float, target: float) -> TrainingError:
    """The error of a target that is reached before anything is done.

    Args:
        loss: Of the forget rows, nats a token.
        target: What was to be reached.

    Returns:
        The error.
    """
    return TrainingError(
        f"The forget rows' loss is {loss:.2f} nats a token before the edit, and {target:.2f} was to be reached: there is nothing to do.",
        where="`target`, `target_loss`",
        remedy="give a higher target, or forget nothing",
    )


def _refuse(name: str, points: list[Stop], target: float | None, limit: str) -> None:
    if target is not None and points[-1].forget_loss >= target * (1 - TOLERANCE):
        raise nothing_to_do(points[-1].forget_loss, target)
    smallest = min(point.scale for point in points if point.scale > 0)
    raise TrainingError(
        f"The edit of '{name}' is harmful at every factor down to {smallest:g}: {limit}, or the forget rows gain nothing.",
        where="`max_retain_increase`",
        remedy="raise it, change the method's own options (`unweave list methods` lists them), or use a method that trains",
    )


def change(parameters: Mapping[str, Tensor], delta: Mapping[str, Tensor]) -> tuple[float, float]:
    """Add to parameters, in place.

    Args:
        parameters: Name to parameter.
        delta: Name to what is added, in float32 or wider.

    Returns:
        The norm of what was to be added, and the norm of what rounding to the parameters' dtype took of it, as a share of the former.
    """
    total, missed = 0.0, 0.0
    with torch.no_grad():
        for name, parameter in parameters.items():
            step = delta[name].view(parameter.shape)
            wanted = parameter.to(step.dtype) + step
            parameter.copy_(wanted.to(parameter.dtype))
            total += float(step.double().square().sum())
            missed += float((wanted - parameter.to(wanted.dtype)).double().square().sum())
    return total**0.5, (missed / total) ** 0.5 if total else 0.0
