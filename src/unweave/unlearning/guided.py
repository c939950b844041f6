"""ReGLU, representation-guided low-rank unlearning: the adapter begins where the forget rows' outputs vary and the retain rows' do not (arXiv 2604.17396).

For each target layer with outputs h = W0 x: C_S = mean over tokens of the set S of h h^T, plus 1e-4 I; C = (1 - beta) C_F - beta C_R; Q its top r
eigenvectors; B = Q, A = Q^T W0, W0 <- W0 - s B A, so that the model is as before at first. A term lambda |B^T Q_R|^2, Q_R the top eigenvectors of C_R, keeps
B away from what the retain rows need. Which tokens: by default those whose state predicts the answer, as for every loss. The paper's text excludes padding
only: then prompts, which sets often share, and the attention sink at the first position make up most of both matrices. The changed W0 is saved as `base/`
beside the adapter: neither is right without the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.data.batches import Batch
from unweave.data.encoding import Example
from unweave.gradients.loss import predicting_positions
from unweave.gradients.source import GradientSource
from unweave.models.loading import Loaded
from unweave.train.adapters import add_lora
from unweave.unlearning.context import Context
from unweave.unlearning.merging import OWN_BASE, merged_base

if TYPE_CHECKING:
    from unweave.unlearning.methods.reglu import ReGLU

RIDGE = 1e-4
TOKEN_BUDGET = 2048


def put_on(method: "ReGLU", context: Context) -> Context:
    """Make the adapter from the covariances, and take it out of the base.

    Args:
        method: Beta, rows, tokens.
        context: Model and rows.

    Returns:
        The same with the new model; its `prepared` pairs each B with the retain rows' directions.
    """
    options = context.options
    loaded = merged_base(context.loaded)
    model = add_lora(loaded.model, options, seed=options.seed)
    layers = {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    }
    sets = {
        kind: [row.example for row in context.rows if row.is_forget == (kind == "forget")][: method.covariance_rows]
        for kind in ("forget", "retain")
    }
    found = {kind: covariances(model, layers, own, loaded, method.covariance_tokens) for kind, own in sets.items()}
    pairs = []
    with torch.no_grad(), progress.task("reglu: bases", len(layers)) as advance:
        for name, module in layers.items():
            own, other = found["forget"].pop(name), found["retain"].pop(name)
            directions = torch.linalg.eigh((1 - method.beta) * own - method.beta * other)[1][:, -options.lora_r :]
            kept = torch.linalg.eigh(other)[1][:, -method.retain_directions :]
            weight, scale = module.base_layer.weight, module.scaling["default"]
            factor_b, factor_a = module.lora_B["default"].weight, module.lora_A["default"].weight
            wide, rank = directions.dtype, directions.shape[1]
            # A layer with fewer outputs than the rank has no more directions: the other pairs begin as LoRA's do, with B at 0.
            factor_b[:, :rank].copy_(directions)
            factor_a[:rank].copy_(directions.T @ weight.to(wide))
            # Of the factors as they are stored: the model must be as before.
            weight.copy_(weight.to(wide) - scale * factor_b.to(wide) @ factor_a.to(wide))
            pairs.append((factor_b, kept.to(torch.promote_types(factor_b.dtype, torch.float32))))
            advance(1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    # Also where the model had no adapter: its weights have changed.
    return replace(context, loaded=Loaded(model, loaded.tokenizer, OWN_BASE, None), prepared=pairs)


def covariances(
    model: Any, layers: dict[str, Any], examples: Sequence[Example], loaded: Loaded, tokens: Literal["answer", "all"]
) -> dict[str, Float[Tensor, "out out"]]:
    """The mean over tokens of h h^T at each layer's output, plus 1e-4 I; padding never counts.

    Args:
        model: The model, its adapter at zero.
        layers: Name to layer.
        examples: The rows.
        loaded: For the tokenizer.
        tokens: Which tokens count.

    Returns:
        Layer's name to its matrix, in float32 or wider.
    """
    sums: dict[str, Tensor] = {}
    part: dict[str, Tensor] = {}
    count, state = 0, {"mask": torch.zeros(0, dtype=torch.bool)}

    def hook(name: str) -> Any:
        def take(_: Any, __: Any, output: Tensor) -> None:
            rows = output[state["mask"]]
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            product = rows.T @ rows
            part[name] = part[name].add_(product) if name in part else product

        return take

    def work(_: list[int], batch: Batch) -> tuple[dict[str, Tensor], int]:
        part.clear()
        state["mask"] = batch.segments >= 0 if tokens == "all" else predicting_positions(batch)[0]
        model(**batch.model_inputs(), use_cache=False, logits_to_keep=1)
        return dict(part), int(state["mask"].sum())

    source = GradientSource(model, loaded.tokenizer.pad_token_id, token_budget=TOKEN_BUDGET)
    handles = [module.base_layer.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        with torch.no_grad(), progress.task("reglu: covariances", len(examples)) as advance:
            for _, (products, size) in source.each(examples, work, advance=advance):
                count += size
                for name, product in products.items():
                    sums[name] = sums[name].add_(product) if name in sums else product
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: total / count + RIDGE * torch.eye(len(total), dtype=total.dtype, device=total.device)
        for name, total in sums.items()
    }
