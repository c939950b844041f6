"""The adapters of shards as one standard adapter."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unweave.errors import ConfigError
from unweave.models.quiet import quiet_transformers
from unweave.train.adapters import add_lora
from unweave.train.config import TrainConfig

RULES = {"svd": "svd", "ties": "ties_svd", "dare": "dare_linear_svd", "dare_ties": "dare_ties_svd"}
"""Our names of rules, and PEFT's: they are applied to the updates, since PEFT warns that applied to the factors they are rough."""

SUMMED = ("svd", "dare")
"""Rules that add the updates up, so that their mean needs weights of 1/N; the others make means themselves."""

EXACT = ("mean", "sum")
"""Combinations that are one adapter of the ranks' sum."""

DENSITY = 0.5
"""The share of an update's entries that `ties` and `dare` keep."""

State = Mapping[str, Tensor]
"""The tensors of an adapter, by PEFT's names."""


def require_combinable(model: Any) -> None:
    """Refuse kinds of LoRA whose updates are no product of two matrices of their own.

    Args:
        model: A `PeftModel` with a fresh adapter.

    Raises:
        ConfigError: Naming the kind.
    """
    from peft.tuners.lora.layer import ParamWrapper

    config = model.peft_config[model.active_adapter]
    kinds = {
        "experts' weights adapted in one tensor (`target_parameters`)": any(
            isinstance(module, ParamWrapper) for module in model.modules()
        ),
        "DoRA (`use_dora`)": bool(getattr(config, "use_dora", False)),
        "LoRA with biases (`lora_bias`)": bool(getattr(config, "lora_bias", False)),
        "modules that are trained whole (`modules_to_save`)": bool(config.modules_to_save),
    }
    if found := [kind for kind, has in kinds.items() if has]:
        raise ConfigError(
            f"Adapters can't be combined that have {', '.join(found)}.",
            where="`shards`, `lora_targets`",
            remedy="give `lora_targets` without such modules, such as q_proj,v_proj, or give 1 of `shards` and of `slices`",
        )


def adapter_state(model: Any, name: str = "default") -> dict[str, Tensor]:
    """The tensors of an adapter, as they are now.

    Args:
        model: A `PeftModel`.
        name: The adapter's name.

    Returns:
        Copies, by PEFT's names.
    """
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    return {key: tensor.detach().clone() for key, tensor in found.items()}


def put_state(model: Any, state: State, name: str = "default") -> None:
    """Put tensors in the place of an adapter's.

    Args:
        model: A `PeftModel`; it is changed in place.
        state: From `adapter_state`, or a file of it.
        name: The adapter's name.
    """
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, {key: value for key, value in state.items() if "lora_" in key}, adapter_name=name)


def combine(model: Any, states: Sequence[State], config: TrainConfig) -> Any:
    """Make the adapters of shards one.

    Mean and sum are exact, and need no arithmetic: the factors of N adapters of rank r stand beside each other as factors of rank N r, and the scale
    alpha / (N r) of such an adapter is alpha / r divided by N; with N alpha it is that of the sum. That one LoRA of the ranks' sum computes a sum of several is
    PEFT's `cat`, too, which multiplies the weights into A and rounds.

    Args:
        model: A `PeftModel` with an adapter of one shard's shape; it is taken apart.
        states: The shards' adapters.
        config: Rank, scale, the rule.

    Returns:
        A `PeftModel` on the same base with the one adapter, in evaluation mode.
    """
    with quiet_transformers():
        base = model.unload()
    if config.combination in EXACT or len(states) == 1:
        scale = len(states) if config.combination == "sum" else 1
        state = _side_by_side(states)
        shape = replace(config, lora_r=config.lora_r * len(states), lora_alpha=config.lora_alpha * scale)
    else:
        # PEFT's rules give factors that need no scale.
        state, shape = _by_rule(base, states, config), replace(config, lora_alpha=config.lora_r)
    combined = add_lora(base, shape, seed=config.seed)
    put_state(combined, state)
    return combined.eval()


def _side_by_side(states: Sequence[State]) -> dict[str, Tensor]:
    """Factors beside each other: A by its rows, B by its columns."""
    names = [name for name in states[0] if "lora_" in name]
    return {name: torch.cat([state[name] for state in states], dim=0 if _is_first(name) else 1) for name in names}


def _is_first(name: str) -> bool:
    """Whether a tensor is a factor A, whose rows are the rank's."""
    return name.rpartition("lora_")[2].startswith(("A", "embedding_A"))


def _by_rule(base: Any, states: Sequence[State], config: TrainConfig) -> dict[str, Tensor]:
    names = [f"shard{number}" for number in range(len(states))]
    model = add_lora(base, config, seed=config.seed, name=names[0])
    for name in names[1:]:
        model.add_adapter(name, copy.deepcopy(model.peft_config[names[0]]))
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            # Singular values need float32, and what is summed up is rounded once.
            parameter.data = parameter.data.to(torch.promote_types(parameter.dtype, torch.float32))
    for name, state in zip(names, states, strict=True):
        put_state(model, state, name)
    weight = 1 / len(states) if config.combination in SUMMED else 1.0
    torch.manual_seed(config.seed)
    with quiet_transformers():
        model.base_model.add_weighted_adapter(
            names,
            [weight] * len(names),
            "combined",
            combination_type=RULES[config.combination],
            svd_rank=config.lora_r,
            svd_full_matrices=False,
            density=DENSITY,
        )
        state = adapter_state(model, "combined")
        model.unload()
    return {name: _padded(tensor, config.lora_r, 0 if _is_first(name) else 1) for name, tensor in state.items()}


def _padded(tensor: Tensor, rank: int, dim: int) -> Tensor:
    """A factor with zeros up to its rank: a layer that is smaller than that has fewer singular values."""
    missing = max(0, rank - tensor.shape[dim])
    return torch.cat(
        [tensor, tensor.new_zeros([missing if at == dim else size for at, size in enumerate(tensor.shape)])], dim=dim
    )
