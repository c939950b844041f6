"""ReGLU, representation-guided low-rank unlearning: the adapter begins where the forget rows' outputs vary and the retain rows' do not (arXiv 2604.17396).

For each target layer with outputs h = W0 x: C_S = mean over tokens of the set S of h h^T, plus 1e-4 I; C = (1 - beta) C_F - beta C_R; Q its top r
eigenvectors; B = Q, A = Q^T W0, W0 <- W0 - s B A, so that the model is as before at first. A term lambda |B^T Q_R|^2, Q_R the top eigenvectors of C_R, keeps
B away from what the retain rows need. Which tokens: by default those whose state predicts the answer, as for every loss. The paper's text excludes padding
only: then prompts, which sets often share, and the attention sink at the first position make up most of both matrices. The changed W0 is saved as `base/`
beside the adapter: neither is right without the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.data.batches import collate, plan_batches
from unweave.data.encoding import Example
from unweave.gradients.loss import predicting_positions
from unweave.models.loading import Loaded
from unweave.models.pretrained import require_finite
from unweave.models.saving import save_model
from unweave.train.adapters import add_lora
from unweave.unlearning.merging import merged_base
from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method, Setting
from unweave.unlearning.methods.ihl import inverted_hinge
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView

RIDGE = 1e-4


@dataclass(frozen=True, kw_only=True)
class RegluConfig(BalancedConfig):
    """Representation-guided adapter.

    Attributes:
        method: The unlearning method.
        forget_loss: `ihl`, the inverted hinge loss, or `graddiff`, the negative loss.
        beta: Weight of the retain rows' covariance (the paper: 0.7).
        orthogonality: lambda, the factor of |B^T Q_R|^2 (the paper: 0.5).
        retain_directions: Eigenvectors of C_R that B is kept away from (the paper: 128).
        covariance_rows: Rows of each split that covariances are made of (the paper: 256).
        covariance_tokens: Whose outputs: of the positions that predict the `answer`, or of `all` tokens (the paper).
        lora_r: Rank (the paper: 32).
        lora_alpha: Scale (the paper: 64).
        learning_rate: Peak step size (the paper: 1e-4).
        epochs: The paper: 5.
        lora_dropout: None: the adapter begins with what the model knows.
    """

    method: str = "reglu"
    forget_loss: Literal["ihl", "graddiff"] = "ihl"
    beta: float = 0.7
    orthogonality: float = 0.5
    retain_directions: int = 128
    covariance_rows: int = 256
    covariance_tokens: Literal["answer", "all"] = "answer"
    lora_r: int = 32
    lora_alpha: int = 64
    lora_dropout: float = 0.0
    learning_rate: float = 1e-4
    epochs: float = 5.0


class Reglu(Balanced):
    """The objective."""

    config: RegluConfig

    def loss(self, view: StepView) -> Tensor:
        """See `Objective.loss`.

        Args:
            view: The step.

        Returns:
            Forget part, retain part and the orthogonality term.
        """
        away = sum((factor.to(basis.dtype).T @ basis).square().sum() for factor, basis in self.setting.prepared)
        return super().loss(view) + self.config.orthogonality * away

    def forget_part(self, view: StepView) -> Tensor:
        """The inverted hinge loss, or the negative loss, of the forget rows.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        if self.config.forget_loss == "graddiff":
            return -view.masked_mean(view.losses.means(), Role.UNWANTED)
        values = [inverted_hinge(part) for part in view.labelled]
        return view.masked_mean(view.per_sequence(values).means(), Role.UNWANTED)


def prepare(config: RegluConfig, setting: Setting) -> Setting:
    """Make the adapter from the covariances, and take it out of the base.

    Args:
        config: Rank, beta, targets.
        setting: Model and rows.

    Returns:
        The setting with the new model; its `prepared` pairs each B with the retain rows' directions.
    """
    loaded = merged_base(config, setting.loaded, save=False)
    # Also where the model had no adapter: its weights change.
    loaded = Loaded(loaded.model, loaded.tokenizer, str(config.output_dir / "base"), None)
    model = add_lora(loaded.model, config, seed=config.seed)
    layers = {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "base_layer")
    }
    sets = {
        kind: [row.example for row in setting.rows if row.is_forget == (kind == "forget")][: config.covariance_rows]
        for kind in ("forget", "retain")
    }
    found = {kind: covariances(model, layers, own, loaded, config.covariance_tokens) for kind, own in sets.items()}
    pairs = []
    with torch.no_grad(), progress.task("reglu: bases", len(layers)) as advance:
        for name, module in layers.items():
            own, other = found["forget"].pop(name), found["retain"].pop(name)
            directions = torch.linalg.eigh((1 - config.beta) * own - config.beta * other)[1][:, -config.lora_r :]
            kept = torch.linalg.eigh(other)[1][:, -config.retain_directions :]
            weight, scale = module.base_layer.weight, module.scaling["default"]
            factor_b, factor_a = module.lora_B["default"].weight, module.lora_A["default"].weight
            wide = directions.dtype
            factor_b.copy_(directions)
            factor_a.copy_(directions.T @ weight.to(wide))
            # Of the factors as they are stored: the model must be as before.
            weight.copy_(weight.to(wide) - scale * factor_b.to(wide) @ factor_a.to(wide))
            pairs.append((factor_b, kept.to(torch.promote_types(factor_b.dtype, torch.float32))))
            advance(1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    _save_bare(Loaded(model.get_base_model(), loaded.tokenizer, loaded.base, None))
    return replace(setting, loaded=Loaded(model, loaded.tokenizer, loaded.base, None), prepared=pairs)


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
    count, state = 0, {"mask": torch.zeros(0, dtype=torch.bool)}

    def hook(name: str) -> Any:
        def take(_: Any, __: Any, output: Tensor) -> None:
            rows = output[state["mask"]]
            rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
            product = rows.T @ rows
            sums[name] = sums[name].add_(product) if name in sums else product

        return take

    handles = [module.base_layer.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        with torch.no_grad(), progress.task("reglu: covariances", len(examples)) as advance:
            for chosen in plan_batches([len(example) for example in examples], token_budget=2048):
                batch = collate([examples[index] for index in chosen], pad_token_id=loaded.tokenizer.pad_token_id)
                batch = batch.to(next(model.parameters()).device)
                state["mask"] = batch.segments >= 0 if tokens == "all" else predicting_positions(batch)[0]
                count += int(state["mask"].sum())
                model(**batch.model_inputs(), use_cache=False, logits_to_keep=1)
                advance(len(chosen))
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: total / count + RIDGE * torch.eye(len(total), dtype=total.dtype, device=total.device)
        for name, total in sums.items()
    }


def _save_bare(loaded: Loaded) -> None:
    """The changed base without the adapter: PEFT wraps layers in place, so the weights get their own names back."""
    state = {
        name.replace(".base_layer.", "."): value
        for name, value in loaded.model.state_dict().items()
        if "lora_" not in name
    }
    require_finite(state.items(), where=loaded.base)
    save_model(loaded.model, loaded.tokenizer, loaded.base, state_dict=state)


METHOD = Method(
    name="reglu",
    summary="an adapter that begins in the directions of the forget rows, kept away from those of the retain rows",
    paper="ReGLU, arXiv 2604.17396",
    config_type=RegluConfig,
    build=Reglu,
    prepare=prepare,
    requests=ALL_REQUESTS,
    search={"learning_rate": (3e-5, 1e-4, 3e-4), "gamma": (0.5, 1.0)},
    cost="two forward passes over 256 rows and two eigendecompositions a layer, then one forward and one backward pass a step",
)
