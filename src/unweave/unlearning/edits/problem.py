"""What methods that edit parameters share: the rows' gradients and their squares, on the parameters that are to change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unweave.curvature.base import Problem, second_moments
from unweave.errors import ConfigError
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.unlearning.context import Context
from unweave.unlearning.methods.base import Edit
from unweave.unlearning.rows import ForgetRow


def problem_of(context: Context, method: Edit, rows: Sequence[ForgetRow]) -> Problem:
    """The adapter's parameters with some rows.

    Args:
        context: The model.
        method: The method.
        rows: The rows; those whose weight is 0 are left out.

    Returns:
        What products and moments are made of, weighted by the rows' weights.

    Raises:
        ConfigError: When the model has no adapter, or a new one is to be made.
    """
    if context.loaded.adapter is None or context.options.adapter_mode != "continue":
        raise ConfigError(
            f"{method.name} edits what an adapter has learned, and there is none to edit.",
            where="`model`, `adapter_mode`",
            remedy="give an adapter folder and `adapter_mode` continue",
        )
    gradients = GradientConfig(parameters="lora", normalize="none", token_budget=method.token_budget)
    pad = context.loaded.tokenizer.pad_token_id
    sketcher = Sketcher(context.loaded.model, pad_token_id=pad, config=gradients)
    weights = {row.example.row_id: row.weight for row in rows if row.weight != 1}
    return Problem(sketcher, [row.example for row in rows if row.weight], None, context.options.seed, weights=weights)


def diagonal_fisher(problem: Problem, *, description: str) -> dict[str, Tensor]:
    """The mean square of the rows' gradients, the diagonal of the empirical Fisher information.

    Args:
        problem: Parameters and rows.
        description: For the progress bar.

    Returns:
        Parameter's name to a tensor of its shape, float32.
    """
    found = second_moments(problem, description=description)
    return {item.name: found[item.name].view(item.parameter.shape) for item in problem.sketcher.parameters}


def parameters_of(problem: Problem) -> dict[str, Tensor]:
    """The parameters that are edited.

    Args:
        problem: Their problem.

    Returns:
        Name to parameter.
    """
    return {item.name: item.parameter for item in problem.sketcher.parameters}


def extreme(values: Sequence[Tensor], share: float) -> float:
    """The quantile of all elements of some tensors.

    Args:
        values: The tensors; none of their elements is negative.
        share: Which quantile, from 0 to 1.

    Returns:
        The smallest element that at least this share of all do not exceed.
    """
    flat = torch.cat([value.detach().flatten().cpu() for value in values])
    place = max(1, min(len(flat), round(share * len(flat))))
    return float(flat.kthvalue(place).values)
