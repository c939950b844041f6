"""Which parameters count: the ones whose gradients are traced.

A *selected parameter* has one name, and one or more *uses*: the modules that hold it. A tied weight (output head and embedding) has
two, and its gradient is the sum over both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from unweave.errors import ConfigError, ModelError
from unweave.models.adapters import REFUSED, adapter_parameters


@dataclass(frozen=True)
class Use:
    """One module that holds a selected parameter.

    Attributes:
        module_name: The module's path in the model.
        module: The module.
        attribute: The parameter's name in it, such as `weight`.
    """

    module_name: str
    module: nn.Module
    attribute: str


@dataclass(frozen=True)
class SelectedParameter:
    """A parameter whose gradient counts.

    Attributes:
        name: Its path in the model, as `named_parameters` gives it.
        parameter: The tensor.
        uses: Where it is used.
        of_group: Whether it was chosen with a group (`lora`, `linear`, `all`), and not by its name: a group may hold what takes no part in
            the loss, as a vision tower where there is only text.
    """

    name: str
    parameter: nn.Parameter
    uses: tuple[Use, ...]
    of_group: bool = False


GROUPS = ("lora", "adapter", "linear", "all")


def select_parameters(model: nn.Module, which: str | Sequence[str] = "lora") -> list[SelectedParameter]:
    """Choose parameters, in the order of `named_parameters`.

    Args:
        model: The model.
        which: `lora`, or its other name `adapter` (all that the active adapter trains, of whatever PEFT kind: matrices, magnitudes, vectors,
            embeddings, saved modules, tokens, biases), `linear` (the weights of all linear layers but the output head and the adapters' own),
            `all`, or regular expressions of which one must be found in a parameter's name.

    Returns:
        At least one parameter.

    Raises:
        ConfigError: When nothing is selected.
    """
    refuse_virtual_tokens(model)
    uses: dict[int, list[Use]] = {}
    modules = dict(model.named_modules())
    for module_name, module in modules.items():
        for attribute, parameter in module.named_parameters(recurse=False):
            holder, name = module_name, attribute
            if isinstance(module, nn.ParameterDict):
                # A dictionary of parameters computes nothing; the module around it does: so IA3 keeps its vectors.
                holder, _, child = module_name.rpartition(".")
                name = f"{child}.{attribute}"
            uses.setdefault(id(parameter), []).append(Use(holder, modules[holder], name))
    patterns = _patterns(which)
    head, prefix = _output_head(model), getattr(getattr(model, "base_model", None), "prefix", None) or "lora_"
    in_head = set() if head is None else set(head.modules())
    trained = adapter_parameters(model) if which in ("lora", "adapter") and hasattr(model, "peft_config") else {}
    selected = []
    for name, parameter in model.named_parameters():
        holders = tuple(uses[id(parameter)])
        if patterns:
            chosen = any(pattern.search(name) for pattern in patterns)
        elif which in ("lora", "adapter"):
            chosen = name in trained
        elif which == "linear":
            linear = all(is_linear_weight(use) and use.module not in in_head for use in holders)
            chosen = linear and prefix not in name and ".modules_to_save." not in name
        else:
            chosen = True
        if chosen:
            selected.append(SelectedParameter(name, parameter, holders, of_group=not patterns))
    if not selected:
        hint = (
            "the model has no LoRA adapter, nor one of another kind; use linear"
            if which in ("lora", "adapter")
            else "give lora, adapter, linear, all, or a pattern of a name"
        )
        raise ConfigError(f"No parameter is selected by {which!r}.", where="`parameters`", remedy=hint)
    if waiting := next((own.name for own in selected if own.parameter.is_meta), None):
        raise ConfigError(
            f"The weights of {waiting} are not where they are computed with: there is no gradient of them.",
            where="`parameters`, `device_map`",
            remedy="use `parameters` lora, or `device_map` one",
        )
    return selected


def _patterns(which: str | Sequence[str]) -> list[re.Pattern[str]]:
    """The patterns of names that a choice holds; none for a named set of parameters."""
    if which in GROUPS:
        return []
    try:
        return [re.compile(pattern) for pattern in ([which] if isinstance(which, str) else which)]
    except re.error as error:
        raise ConfigError(
            f"{error.pattern!r} is no pattern of a name: {error}.",
            where="`parameters`",
            remedy="give lora, adapter, linear, all, or a regular expression; a bracket that is meant as such needs a backslash",
        ) from error


def refuse_virtual_tokens(model: nn.Module) -> None:
    """Refuse adapters through which a row's own gradients can't be separated, such as prompt tuning, whose tokens stand before the row's.

    Args:
        model: The model, with or without an adapter.

    Raises:
        ModelError: For such an adapter.
    """
    for name, config in getattr(model, "peft_config", {}).items():
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if kind in REFUSED:
            raise ModelError(
                f"The adapter '{name}' is {REFUSED[kind]} ({kind}): a row's tokens are not where the row says, so it has no gradients of its own.",
                remedy="use an adapter that changes weights, such as LoRA, or the base model with `parameters` linear",
            )


def gradient_shape(item: SelectedParameter) -> tuple[int, ...]:
    """The shape of a parameter's gradient: its own, but of a quantised weight, whose storage is flat, that of the layer.

    Args:
        item: The parameter.

    Returns:
        The shape.
    """
    module = item.uses[0].module
    if is_linear_weight(item.uses[0]) and not is_conv1d(module):
        return (int(module.out_features), int(module.in_features))  # type: ignore[arg-type]
    return tuple(item.parameter.shape)


def is_linear(module: nn.Module) -> bool:
    """Whether a module computes x W^T (+ b), or x W (+ b) as GPT-2's Conv1D does.

    Args:
        module: The module.

    Returns:
        True for `nn.Linear` and its subclasses, and for `transformers.pytorch_utils.Conv1D`.
    """
    return isinstance(module, nn.Linear) or is_conv1d(module)


def is_linear_weight(use: Use) -> bool:
    """Whether a use is the weight of a linear module, whose gradient is a sum of outer products.

    Args:
        use: The use.

    Returns:
        True for weights of `nn.Linear` and Conv1D.
    """
    return is_linear(use.module) and use.attribute == "weight"


def is_conv1d(module: nn.Module) -> bool:
    """Whether a module is GPT-2's Conv1D, whose weight is stored as [in, out].

    Args:
        module: The module.

    Returns:
        True for that class.
    """
    return type(module).__name__ == "Conv1D" and type(module).__module__ == "transformers.pytorch_utils"


def _output_head(model: nn.Module) -> nn.Module | None:
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if callable(getter) else None
    return head if isinstance(head, nn.Module) else None
