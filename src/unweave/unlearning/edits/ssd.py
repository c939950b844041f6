"""SSD, selective synaptic dampening: parameters that matter far more to the forget rows than to the others are scaled down.

Foster et al., arXiv 2308.07707: theta_i *= min(lambda F_D / F_F, 1) where F_F > a F_D, the paper's dampening and selection. The paper takes F_D over all
training rows, of which the forget rows are few. Here few rows stand for the rest: were the forget rows among them, F_F / F_D could not exceed n / n_F, and
a = 10 would select nothing with fewer than nine rows to keep for each to forget. So F_D is that of the retain rows.

How many parameters pass a differs from model to model. With a target a is lowered until the forget rows reach it, as far as the retain rows stand it.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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
        The shares of parameters that were selected and scaled, the selection that was taken, and what `apply_edit` gives.

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
    before = {name: own.detach().clone() for name, own in parameters.items()}
    ratios = {
        name: own / fisher["retain"][name].clamp(min=torch.finfo(own.dtype).tiny)
        for name, own in fisher["forget"].items()
    }

    def changes(selection: float) -> dict[str, Tensor]:
        return {
            name: torch.where(own > selection, (_factor(method, own) - 1) * before[name].to(own.dtype), 0.0)
            for name, own in ratios.items()
        }

    def counted(selection: float) -> tuple[int, int]:
        selected = sum(int((own > selection).sum()) for own in ratios.values())
        return selected, sum(int(((own > selection) & (_factor(method, own) < 1)).sum()) for own in ratios.values())

    selection, (selected, scaled) = method.selection, counted(method.selection)
    if not scaled and context.target is None:
        largest, usual = (extreme(list(ratios.values()), share) for share in (1.0, 1 - USUAL))
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
    edit: dict[str, Any] = {"name": method.name, "target": context.target}
    if context.target is None:
        applied = apply_edit(context, parameters, changes(selection), first=method.scale, **edit)
    else:
        # A larger factor is a lower selection: 0 selects nothing.
        applied = apply_edit(
            context,
            parameters,
            lambda factor: changes(method.selection / factor if factor else math.inf),
            first=method.scale,
            **edit,
        )
        selection = method.selection / applied["scale"]
        selected, scaled = counted(selection)
    count = sum(own.numel() for own in ratios.values())
    return {"selected": selected / count, "scaled": scaled / count, "selection": selection, **applied}


def _factor(method: "SSD", ratio: Tensor) -> Tensor:
    return (method.dampening / ratio).clamp(max=1.0)
