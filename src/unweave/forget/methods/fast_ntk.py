"""Fast-NTK: the linearised adapter retrained in closed form with and without the forget rows (Li et al., arXiv 2312.14923).

In the tangent space of the current parameters each row has one output, f = minus its loss l(z) (the projection of its token log-probabilities onto their
mean), with gradient -g(z), and the linear model that fits targets y on a set S by ridge regression has w(S) = -G'(G G' + n lambda I)^-1 (f0 - y), G the rows'
output gradients, n their number. The edit is w(R) - w(R and F): what fitting the retain rows alone changes. Targets: retain rows keep their outputs
improved to 0 loss, forget rows too, so that their removal is what differs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.errors import ConfigError
from unweave.forget.methods.base import Method, Setting
from unweave.forget.methods.curvature import EditConfig, change, parameters_of, problem_of
from unweave.gradients.scoring import example_losses
from unweave.trace.preconditioners.base import gradients_of


@dataclass(frozen=True, kw_only=True)
class FastNtkConfig(EditConfig):
    """Closed-form edit of the linearised adapter.

    Attributes:
        method: The unlearning method.
        ridge: lambda, relative to the mean of the kernel's diagonal.
        scale: Factor of the edit; 1 is the formula.
        max_gib: The most memory that the rows' gradients may take.
    """

    method: str = "fast-ntk"
    ridge: float = 0.1
    scale: float = 1.0
    max_gib: float = 8.0


def edit(config: FastNtkConfig, setting: Setting) -> dict[str, Any]:
    """Solve both regressions and add their difference.

    Args:
        config: Ridge and scale.
        setting: Model and rows.

    Returns:
        The norm of the change.

    Raises:
        ConfigError: When the gradients do not fit.
    """
    examples = [row.example for row in setting.rows]
    problem = problem_of(setting, config, examples)
    size = sum(parameter.numel() for parameter in parameters_of(problem).values())
    if (need := 4 * size * len(examples) / 2**30) > config.max_gib:
        raise ConfigError(
            f"The gradients of {len(examples)} rows take {need:.1f} GiB.",
            where="--max-gib",
            remedy="raise it, or give fewer rows",
        )
    gradients = gradients_of(problem.sketcher, examples)
    names = list(gradients)
    flat = {name: gradients[name].flatten(1) for name in names}
    kernel = sum((flat[name] @ flat[name].T).double() for name in names)
    assert isinstance(kernel, Tensor)
    losses = torch.tensor(
        example_losses(setting.loaded.model, examples, pad_token_id=setting.loaded.tokenizer.pad_token_id).means(),
        dtype=torch.float64,
    )
    retain = torch.tensor([not row.is_forget for row in setting.rows])
    ridge = config.ridge * float(kernel.diagonal().mean()) / len(examples)
    combined = coefficients(kernel, losses, ridge=ridge)
    kept = torch.zeros_like(losses)
    kept[retain] = coefficients(kernel[retain][:, retain], losses[retain], ridge=ridge)
    difference = config.scale * (kept - combined)
    parameters = parameters_of(problem)
    delta = {name: (difference.to(flat[name]) @ flat[name]).view(parameters[name].shape) for name in names}
    return {"norm": change(parameters, delta)}


def coefficients(kernel: Float[Tensor, "n n"], losses: Float[Tensor, " n"], *, ridge: float) -> Float[Tensor, " n"]:
    """The weights of the rows' loss gradients in the ridge solution: w = G_l' c with c = -(K + n lambda I)^-1 l, G_l the loss gradients.

    With outputs f = -l and targets 0, both signs of the output gradient cancel.

    Args:
        kernel: Inner products of the rows' gradients.
        losses: l(z) of each row.
        ridge: lambda.

    Returns:
        One a row.
    """
    count = len(losses)
    return -torch.linalg.solve(kernel + count * ridge * torch.eye(count, dtype=kernel.dtype), losses.to(kernel.dtype))


METHOD = Method(
    name="fast-ntk",
    summary="the linearised adapter refitted in closed form without the forget rows",
    paper="Li et al., arXiv 2312.14923",
    config_type=FastNtkConfig,
    edit=edit,
    cost="gradients of all rows, held in memory, and a system of their number",
    search={"scale": (0.1, 0.3, 1.0, 3.0)},
)
