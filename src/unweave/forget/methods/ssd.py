"""SSD, selective synaptic dampening: parameters that matter far more to the forget rows than to all are scaled down (Foster et al., arXiv 2308.07707)."""

from dataclasses import dataclass
from typing import Any

import torch

from unweave.forget.methods.base import Method, Setting
from unweave.forget.methods.curvature import EditConfig, change, diagonal_fisher, parameters_of, problem_of


@dataclass(frozen=True, kw_only=True)
class SsdConfig(EditConfig):
    """theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D; F_F and F_D are the diagonal Fisher information of the forget rows and of all rows given.

    Attributes:
        method: The unlearning method.
        selection: a: how much more a parameter must matter to the forget rows.
        dampening: lambda: how strongly it is scaled down.
    """

    method: str = "ssd"
    selection: float = 10.0
    dampening: float = 1.0


def edit(config: SsdConfig, setting: Setting) -> dict[str, Any]:
    """Dampen.

    Args:
        config: Selection and dampening.
        setting: Model and rows.

    Returns:
        The share of parameters that were scaled, and the norm of the change.
    """
    rows = {
        "forget": [row.example for row in setting.rows if row.is_forget],
        "all": [row.example for row in setting.rows],
    }
    problems = {name: problem_of(setting, config, own) for name, own in rows.items()}
    fisher = {name: diagonal_fisher(own, description=f"ssd, {name} rows") for name, own in problems.items()}
    parameters = parameters_of(problems["all"])
    delta, selected, count = {}, 0, 0
    for name, parameter in parameters.items():
        own, other = fisher["forget"][name], fisher["all"][name]
        chosen = own > config.selection * other
        scale = (config.dampening * other / own.clamp(min=torch.finfo(own.dtype).tiny)).clamp(max=1.0)
        delta[name] = torch.where(chosen, (scale - 1) * parameter.detach().to(own.dtype), 0.0)
        selected, count = selected + int(chosen.sum()), count + chosen.numel()
    return {"selected": selected / count, "norm": change(parameters, delta)}


METHOD = Method(
    name="ssd",
    summary="scales down parameters that matter far more to the forget rows than to all",
    paper="Foster et al., arXiv 2308.07707",
    config_type=SsdConfig,
    edit=edit,
    cost="one pass of gradients over all rows, and one over the forget rows",
    search={"selection": (2.0, 5.0, 10.0), "dampening": (0.3, 1.0)},
)
