"""Influence by part of the model, from one pass: by tensor, module, layer, or the expert of a mixture.

Inner products of gradients are sums over tensors, so that every tensor has its own share, and the shares add up to the influence of all.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.attribution.targets import Target, target_gradients
from unweave.data.encoding import Example
from unweave.errors import ModelError
from unweave.gradients.passes import frozen_in_evaluation
from unweave.gradients.source import GradientSource

By = Literal["tensor", "module", "layer", "expert"]

_EXPERT = re.compile(r"^(.*?experts\.\d+)(?:\.|$)")
_LAYER = re.compile(r"^(.*?(?:layers|h|blocks?|layer)\.\d+)(?:\.|$)")
_ADAPTER = re.compile(r"\.(lora_|ia3_|oft_|hada_|lokr_|vera_|modules_to_save)")
FUSED = re.compile(r"\.experts\.[a-z_]*(gate_up|gate|up|down)_proj")


def group_of(name: str, by: By) -> str:
    """Which part of a model a tensor belongs to.

    Args:
        name: The tensor's, as `named_parameters` gives it.
        by: What the parts are: an adapter's matrices belong to the module that they are on.

    Returns:
        The part's name; of `layer` and `expert`, `other` for what is in none.

    Raises:
        ModelError: When experts share one tensor, whose gradient has no parts of theirs by name.
    """
    if by == "tensor":
        return name
    module = _ADAPTER.split(name)[0] if _ADAPTER.search(name) else name.rpartition(".")[0]
    if by == "module":
        return module
    if by == "expert" and FUSED.search(name) and not _EXPERT.match(name):
        raise ModelError(
            f"The experts of {module} are in one tensor, so that none has a name of its own.",
            remedy="group by module or layer",
        )
    found = (_EXPERT if by == "expert" else _LAYER).match(name)
    return found.group(1) if found else "other"


def influence_by_part(
    source: GradientSource,
    targets: Sequence[Target],
    rows: Sequence[Example],
    *,
    by: By = "module",
    precondition: Callable[[str, Tensor], Tensor] = lambda _, gradient: gradient,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Float[Tensor, "q n"]]:
    """<grad f, g(row)> by part of the model.

    Args:
        source: Model, parameters and the reduction of rows' losses; gradients are not normalised.
        targets: Functions of the model.
        rows: The rows.
        by: What the parts are.
        precondition: Changes the targets' gradients of a tensor, as AdamW's preconditioner does.
        advance: Called with the number of rows just done.

    Returns:
        Part to its share for each target and row, float64; all of them add up to the influence.

    Raises:
        ModelError: As `group_of`.
    """
    groups = {item.name: group_of(item.name, by) for item in source.parameters}
    found = {
        group: torch.zeros(len(targets), len(rows), dtype=torch.float64) for group in dict.fromkeys(groups.values())
    }
    parameters = {item.name: item.parameter for item in source.parameters}
    flags = {name: own.requires_grad for name, own in parameters.items()}
    try:
        for own in parameters.values():
            own.requires_grad_(True)
        gradients = target_gradients(source.model, parameters, targets)
    finally:
        for name, own in parameters.items():
            own.requires_grad_(flags[name])
    wanted = {name: precondition(name, own).flatten(1) for name, own in gradients.items()}
    with frozen_in_evaluation(source.model):
        for places in source.plan(rows):

            def consume(name: str, piece: Tensor, places: list[int] = places) -> None:
                flat = piece.flatten(1)
                products = wanted[name].to(flat) @ flat.T
                found[groups[name]].index_add_(1, torch.tensor(places), products.double().cpu())

            source.differentiate(source.batch([rows[place] for place in places]), consume)
            advance(len(places))
    return found
