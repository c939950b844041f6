"""Fisher forgetting: noise on the parameters that the retain rows do not need (Golatkar et al., arXiv 1911.04933).

theta += N(0, alpha / F_R), F_R the diagonal Fisher information of the retain rows: noise of the variance alpha / F_R, as in the published code. That code
clamps 1/F at 1e3, which fits the networks that it was written for: the scale of F is that of squared gradients, and for LoRA's parameters 1/F is above
1e3 nearly everywhere, so that every parameter would get the same noise. Here nothing depends on that scale. 1/F is clamped at a quantile of its own
values, alpha counts in units in which the median parameter's noise has the variance `noise` of the mean square of its tensor, and no parameter's noise is
larger than `max_noise` times its tensor's root mean square.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unweave.errors import TrainingError
from unweave.unlearning.applying import apply_edit
from unweave.unlearning.methods.base import Method, Setting
from unweave.unlearning.methods.curvature import (
    EditConfig,
    diagonal_fisher,
    extreme,
    parameters_of,
    problem_of,
)
from unweave.unlearning.target import target_loss
from unweave.unlearning.watch import watched_rows

MOSTLY = 0.5
"""Share of clamped parameters from which on the noise is said to be none of Fisher's."""


@dataclass(frozen=True, kw_only=True)
class FisherConfig(EditConfig):
    """theta += N(0, alpha / F_R), F_R the diagonal Fisher information of the retain rows, 1/F_R clamped.

    Attributes:
        method: The unlearning method.
        noise: alpha, in units of the median over all parameters of F_R times the mean square of the parameter's tensor: the variance of the noise on the
            median parameter, relative to its tensor.
        max_inverse: The quantile of 1/F_R at which it is clamped: parameters that no retain row needs would be lost in noise.
        max_noise: The most noise that a parameter gets, relative to the root mean square of its tensor.
    """

    method: str = "fisher"
    noise: float = 0.1
    max_inverse: float = 0.9
    max_noise: float = 2.0


def edit(config: FisherConfig, setting: Setting) -> dict[str, Any]:
    """Add the noise.

    Args:
        config: How much.
        setting: Model and rows.

    Returns:
        The share of parameters at a clamp, alpha in the formula's own unit, and what `apply_edit` tells.
    """
    problem = problem_of(setting, config, [row for row in setting.rows if not row.is_forget])
    parameters = parameters_of(problem)
    spreads, alpha, clamped = noise_spreads(config, diagonal_fisher(problem, description="fisher"), parameters)
    generator = torch.Generator().manual_seed(config.seed)
    delta = {
        name: (spread * torch.randn(spread.shape, generator=generator)).to(parameters[name].device)
        for name, spread in spreads.items()
    }
    target = target_loss(config, setting.loaded, watched_rows(config, setting.rows)[0])
    told = apply_edit(config, setting, parameters, delta, first=config.scale, target=target)
    cautions = list(told["cautions"])
    if clamped > MOSTLY:
        cautions.append(
            f"fisher: {clamped:.1%} of the parameters are at a clamp, where the noise does not depend on the rows. Lower --noise, or raise --max-noise or "
            "--max-inverse."
        )
    return told | {"clamped": clamped, "alpha": alpha, "cautions": cautions}


def noise_spreads(
    config: FisherConfig, fisher: dict[str, Tensor], parameters: dict[str, Tensor]
) -> tuple[dict[str, Tensor], float, float]:
    """The standard deviation of each parameter's noise.

    Args:
        config: How much, and the clamps.
        fisher: F_R.
        parameters: Name to parameter.

    Returns:
        Name to deviations, on the CPU; alpha in the unit of F times a parameter's square; and the share of parameters at a clamp.

    Raises:
        TrainingError: When half of the parameters have no Fisher information at all, so that there is no scale.
    """
    information = {name: values.cpu() for name, values in fisher.items()}
    # The quantile of 1/F from above is that of F from below; parameters that no row touches are clamped at the smallest F there is.
    floor = extreme(list(information.values()), 1 - config.max_inverse)
    if floor == 0:
        floor = min(float(own[own > 0].min()) for own in information.values() if bool((own > 0).any()))
    roots = {name: float(own.detach().float().square().mean()) ** 0.5 for name, own in parameters.items()}
    unit = extreme([own * roots[name] ** 2 for name, own in information.items()], 0.5)
    if unit == 0:
        raise TrainingError(
            "Half of the parameters or more have no gradient from any retain row, or are zero: Fisher's noise has no scale.",
            where="--retain",
            remedy="give more retain rows, or use another method",
        )
    alpha = config.noise * unit
    spreads, clamped, count = {}, 0, 0
    for name, own in information.items():
        wanted = (alpha / own.clamp(min=floor)).sqrt()
        most = config.max_noise * roots[name]
        clamped += int(((own < floor) | (wanted > most)).sum())
        count += own.numel()
        spreads[name] = wanted.clamp(max=most)
    return spreads, alpha, clamped / count


METHOD = Method(
    name="fisher",
    summary="noise on parameters that the retain rows do not need",
    paper="Golatkar et al., arXiv 1911.04933",
    config_type=FisherConfig,
    edit=edit,
    uses_weights=True,
    takes_target=True,
    cost="one pass of gradients over the retain rows",
    search={"noise": (0.01, 0.03, 0.1, 0.3)},
)
