"""Fisher forgetting: noise on the parameters that the retain rows do not need (Golatkar et al., arXiv 1911.04933).

theta += N(0, alpha / F_R), F_R the diagonal Fisher information of the retain rows: noise of the variance alpha / F_R, as in the published code. That code
clamps 1/F at 1e3, which fits the networks that it was written for: the scale of F is that of squared gradients, and for LoRA's parameters 1/F is above
1e3 nearly everywhere, so that every parameter would get the same noise. Here nothing depends on that scale. 1/F is clamped at a quantile of its own
values, alpha counts in units in which the median parameter's noise has the variance `noise` of the mean square of its tensor, and no parameter's noise is
larger than `max_noise` times its tensor's root mean square.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unweave.errors import TrainingError
from unweave.unlearning.applying import apply_edit
from unweave.unlearning.context import Context
from unweave.unlearning.edits.problem import diagonal_fisher, extreme, parameters_of, problem_of

if TYPE_CHECKING:
    from unweave.unlearning.methods.fisher import Fisher

MOSTLY = 0.5
"""Share of clamped parameters from which on the noise is said to be none of Fisher's."""


def add_noise(method: "Fisher", context: Context) -> dict[str, Any]:
    """Add the noise.

    Args:
        method: How much.
        context: Model and rows.

    Returns:
        The share of parameters at a clamp, alpha in the formula's own unit, and what `apply_edit` gives.
    """
    problem = problem_of(context, method, [row for row in context.rows if not row.is_forget])
    parameters = parameters_of(problem)
    spreads, alpha, clamped = noise_spreads(method, diagonal_fisher(problem, description="fisher"), parameters)
    generator = torch.Generator().manual_seed(context.options.seed)
    delta = {
        name: (spread * torch.randn(spread.shape, generator=generator)).to(parameters[name].device)
        for name, spread in spreads.items()
    }
    applied = apply_edit(context, parameters, delta, name=method.name, first=method.scale, target=context.target)
    cautions = list(applied["cautions"])
    if clamped > MOSTLY:
        cautions.append(
            f"fisher: {clamped:.1%} of the parameters are at a clamp, where the noise does not depend on the rows. Lower `noise`, or raise `max_noise` or "
            "`max_inverse`."
        )
    return applied | {"clamped": clamped, "alpha": alpha, "cautions": cautions}


def noise_spreads(
    method: "Fisher", fisher: dict[str, Tensor], parameters: dict[str, Tensor]
) -> tuple[dict[str, Tensor], float, float]:
    """The standard deviation of each parameter's noise.

    Args:
        method: How much, and the clamps.
        fisher: F_R.
        parameters: Name to parameter.

    Returns:
        Name to deviations, on the CPU; alpha in the unit of F times a parameter's square; and the share of parameters at a clamp.

    Raises:
        TrainingError: When half of the parameters have no Fisher information at all, so that there is no scale.
    """
    information = {name: values.cpu() for name, values in fisher.items()}
    # The quantile of 1/F from above is that of F from below; parameters that no row touches are clamped at the smallest F there is.
    floor = extreme(list(information.values()), 1 - method.max_inverse)
    if floor == 0:
        floor = min(float(own[own > 0].min()) for own in information.values() if bool((own > 0).any()))
    roots = {name: float(own.detach().float().square().mean()) ** 0.5 for name, own in parameters.items()}
    unit = extreme([own * roots[name] ** 2 for name, own in information.items()], 0.5)
    if unit == 0:
        raise TrainingError(
            "Half of the parameters or more have no gradient from any retain row, or are zero: Fisher's noise has no scale.",
            where="`retain`",
            remedy="give more retain rows, or use another method",
        )
    alpha = method.noise * unit
    spreads, clamped, count = {}, 0, 0
    for name, own in information.items():
        wanted = (alpha / own.clamp(min=floor)).sqrt()
        most = method.max_noise * roots[name]
        clamped += int(((own < floor) | (wanted > most)).sum())
        count += own.numel()
        spreads[name] = wanted.clamp(max=most)
    return spreads, alpha, clamped / count
