"""SSD, selective synaptic dampening: parameters that matter far more to the forget rows than to the others are scaled down.

Foster et al., arXiv 2308.07707: theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D, the paper's dampening and selection. The paper takes F_D over all
training rows, of which the forget rows are few. Here few rows stand for the rest: were the forget rows among them, F_F / F_D could not exceed n / n_F, and
a = 10 would select nothing with fewer than nine rows to keep for each to forget. So F_D is that of the retain rows.
"""

from typing import TYPE_CHECKING, Any

import torch

from unweave.errors import TrainingError
from unweave.unlearning.applying import apply_edit
from unweave.unlearning.context import Context
from unweave.unlearning.edits.problem import diagonal_fisher, extreme, parameters_of, problem_of

if TYPE_CHECKING:
    from unweave.unlearning.methods.ssd import SSD

USUAL = 1e-3
"""Share of the parameters that the paper's own options select, in order of magnitude: what a remedy goes by."""


def dampen(method: "SSD", context: Context) -> dict[str, Any]:
    """Dampen.

    Args:
        method: Selection and dampening.
        context: Model and rows.

    Returns:
        The share of parameters that were scaled, and what `apply_edit` gives.

    Raises:
        TrainingError: When no parameter is selected, or none of the selected is scaled.
    """
    rows = {
        "forget": [row for row in context.rows if row.is_forget],
        "retain": [row for row in context.rows if not row.is_forget],
    }
    problems = {name: problem_of(context, method, own) for name, own in rows.items()}
    fisher = {name: diagonal_fisher(own, description=f"ssd, {name} rows") for name, own in problems.items()}
    parameters = parameters_of(problems["retain"])
    delta, ratios, selected, scaled, count = {}, [], 0, 0, 0
    for name, parameter in parameters.items():
        own, other = fisher["forget"][name], fisher["retain"][name]
        tiny = torch.finfo(own.dtype).tiny
        chosen = own > method.selection * other
        factor = (method.dampening * other / own.clamp(min=tiny)).clamp(max=1.0)
        delta[name] = torch.where(chosen, (factor - 1) * parameter.detach().to(own.dtype), 0.0)
        ratios.append(own / other.clamp(min=tiny))
        count += chosen.numel()
        selected += int(chosen.sum())
        scaled += int((chosen & (factor < 1)).sum())
    if not scaled:
        largest, usual = extreme(ratios, 1.0), extreme(ratios, 1 - USUAL)
        raise TrainingError(
            f"SSD changes no parameter: F_F / F_D is {largest:.3g} at most, {method.selection:g} is asked for to be selected"
            + (
                f", and a dampening of {method.dampening:g} scales none of the {selected} selected."
                if selected
                else "."
            ),
            where="`selection`, `dampening`",
            remedy=f"a selection of {usual:.3g} takes a thousandth of the parameters; the dampening must be below the ratio",
        )
    applied = apply_edit(context, parameters, delta, name=method.name, first=method.scale, target=None)
    return {"selected": selected / count, "scaled": scaled / count, **applied}
