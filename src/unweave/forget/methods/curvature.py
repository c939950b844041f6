"""What methods that edit parameters share: the rows' gradients and their squares, on the parameters that are to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.forget.config import ForgetConfig
from unweave.forget.methods.base import Setting
from unweave.trace.config import GradientConfig
from unweave.trace.preconditioners.base import Problem, second_moments
from unweave.trace.sketching import Sketcher


@dataclass(frozen=True, kw_only=True)
class EditConfig(ForgetConfig):
    """Change the adapter's parameters directly, without training steps.

    Attributes:
        adapter_mode: The model's own adapter is edited: a new one holds nothing to take out.
        token_budget: Tokens a batch, padding included.
    """

    adapter_mode: Any = "continue"
    token_budget: int = 1024


def problem_of(setting: Setting, config: EditConfig, rows: Sequence[Example]) -> Problem:
    """The adapter's parameters with some rows.

    Args:
        setting: The model.
        config: The method's config.
        rows: The rows.

    Returns:
        What products and moments are made of.

    Raises:
        ConfigError: When the model has no adapter, or a new one is to be made.
    """
    if setting.loaded.adapter is None or config.adapter_mode != "continue":
        raise ConfigError(
            f"{config.method} edits what an adapter has learned, and there is none to edit.",
            where="--model, --adapter-mode",
            remedy="give an adapter folder and --adapter-mode continue",
        )
    gradients = GradientConfig(parameters="lora", normalize="none", token_budget=config.token_budget)
    pad = setting.loaded.tokenizer.pad_token_id
    sketcher = Sketcher(setting.loaded.model, pad_token_id=pad, config=gradients)
    return Problem(sketcher, rows, None, config.seed)


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


def change(parameters: dict[str, Tensor], delta: dict[str, Tensor]) -> float:
    """Add to parameters, in place.

    Args:
        parameters: Name to parameter.
        delta: Name to what is added, in float32 or wider.

    Returns:
        The norm of what was added.
    """
    total = 0.0
    with torch.no_grad():
        for name, parameter in parameters.items():
            step = delta[name].view(parameter.shape)
            parameter.copy_((parameter.to(step.dtype) + step).to(parameter.dtype))
            total += float(step.double().square().sum())
    return total**0.5
