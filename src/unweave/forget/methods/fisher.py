"""Fisher forgetting: noise on the parameters that the retain rows do not need (Golatkar et al., arXiv 1911.04933)."""

from dataclasses import dataclass
from typing import Any

import torch

from unweave.forget.methods.base import Method, Setting
from unweave.forget.methods.curvature import EditConfig, change, diagonal_fisher, parameters_of, problem_of


@dataclass(frozen=True, kw_only=True)
class FisherConfig(EditConfig):
    """theta += N(0, alpha / F_R), F_R the diagonal Fisher information of the retain rows, 1/F_R clamped.

    Attributes:
        method: The unlearning method.
        noise: alpha, the variance of the noise at F_R = 1.
        max_inverse: The largest 1/F_R that counts: parameters that no retain row needs would be lost in noise.
    """

    method: str = "fisher"
    noise: float = 1e-6
    max_inverse: float = 1e3


def edit(config: FisherConfig, setting: Setting) -> dict[str, Any]:
    """Add the noise.

    Args:
        config: How much.
        setting: Model and rows.

    Returns:
        The norm of the noise, and the share of parameters at the clamp.
    """
    problem = problem_of(setting, config, [row.example for row in setting.rows if not row.is_forget])
    fisher = diagonal_fisher(problem, description="fisher")
    generator = torch.Generator().manual_seed(config.seed)
    delta, clamped, count = {}, 0, 0
    for name, values in fisher.items():
        inverse = values.cpu().clamp(min=torch.finfo(torch.float32).tiny).reciprocal()
        clamped += int((inverse > config.max_inverse).sum())
        count += inverse.numel()
        spread = (config.noise * inverse.clamp(max=config.max_inverse)).sqrt()
        delta[name] = (spread * torch.randn(spread.shape, generator=generator)).to(values.device)
    return {"norm": change(parameters_of(problem), delta), "clamped": clamped / count}


METHOD = Method(
    name="fisher",
    summary="noise on parameters that the retain rows do not need",
    paper="Golatkar et al., arXiv 1911.04933",
    config_type=FisherConfig,
    edit=edit,
    cost="one pass of gradients over the retain rows",
    search={"noise": (1e-8, 1e-7, 1e-6, 1e-5)},
)
