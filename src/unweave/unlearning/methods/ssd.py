"""SSD, selective synaptic dampening: parameters that matter far more to the forget rows than to the others are scaled down.

Foster et al., arXiv 2308.07707: theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D, the paper's dampening and selection. The paper takes F_D over all
training rows, of which the forget rows are few. Here few rows stand for the rest: were the forget rows among them, F_F / F_D could not exceed n / n_F, and
a = 10 would select nothing with fewer than nine rows to keep for each to forget. So F_D is that of the retain rows.
"""

from dataclasses import dataclass
from typing import Any

import torch

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

USUAL = 1e-3
"""Share of the parameters that the paper's own settings select, in order of magnitude: what a remedy goes by."""


@dataclass(frozen=True, kw_only=True)
class SsdConfig(EditConfig):
    """theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D; F_F and F_D are the diagonal Fisher information of the forget and of the retain rows.

    Attributes:
        method: The unlearning method.
        selection: a: how much more a parameter must matter to the forget rows.
        dampening: lambda: a smaller one scales down more strongly.
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
        The share of parameters that were scaled, and what `apply_edit` tells.

    Raises:
        TrainingError: When no parameter is selected, or none of the selected is scaled.
    """
    rows = {
        "forget": [row for row in setting.rows if row.is_forget],
        "retain": [row for row in setting.rows if not row.is_forget],
    }
    problems = {name: problem_of(setting, config, own) for name, own in rows.items()}
    fisher = {name: diagonal_fisher(own, description=f"ssd, {name} rows") for name, own in problems.items()}
    parameters = parameters_of(problems["retain"])
    delta, ratios, selected, scaled, count = {}, [], 0, 0, 0
    for name, parameter in parameters.items():
        own, other = fisher["forget"][name], fisher["retain"][name]
        tiny = torch.finfo(own.dtype).tiny
        chosen = own > config.selection * other
        factor = (config.dampening * other / own.clamp(min=tiny)).clamp(max=1.0)
        delta[name] = torch.where(chosen, (factor - 1) * parameter.detach().to(own.dtype), 0.0)
        ratios.append(own / other.clamp(min=tiny))
        count += chosen.numel()
        selected += int(chosen.sum())
        scaled += int((chosen & (factor < 1)).sum())
    if not scaled:
        largest, usual = extreme(ratios, 1.0), extreme(ratios, 1 - USUAL)
        raise TrainingError(
            f"SSD changes no parameter: F_F / F_D is {largest:.3g} at most, {config.selection:g} is asked for to be selected"
            + (
                f", and a dampening of {config.dampening:g} scales none of the {selected} selected."
                if selected
                else "."
            ),
            where="--selection, --dampening",
            remedy=f"a selection of {usual:.3g} takes a thousandth of the parameters; the dampening must be below the ratio",
        )
    told = apply_edit(config, setting, parameters, delta, first=config.scale, target=None)
    return {"selected": selected / count, "scaled": scaled / count, **told}


METHOD = Method(
    name="ssd",
    summary="scales down parameters that matter far more to the forget rows than to the retain rows",
    paper="Foster et al., arXiv 2308.07707",
    config_type=SsdConfig,
    edit=edit,
    uses_weights=True,
    ignores=("seed",),
    cost="one pass of gradients over all rows",
    search={"selection": (2.0, 5.0, 10.0), "dampening": (0.3, 1.0)},
)
