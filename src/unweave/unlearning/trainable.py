"""What a run trains: the model's own adapter, or a fresh one on the model with the old one merged in."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unweave.errors import ConfigError
from unweave.models.adapters import train_adapter
from unweave.train.adapters import add_lora
from unweave.unlearning.merging import merged_base

if TYPE_CHECKING:
    from unweave.unlearning.context import Context

Modules = Callable[[Any], Collection[str]]
"""The names of the modules of a model that are to be trained."""


def trainable(context: "Context", *, modules: Modules | None = None) -> "Context":
    """Make the adapter that is to be trained.

    Args:
        context: The model, and which kind of adapter.
        modules: Where the method trains fewer modules than `lora_targets` says: which ones.

    Returns:
        The same with the model, and what its adapter's base is.
    """
    loaded, options = context.loaded, context.options
    if loaded.adapter is not None and options.adapter_mode == "continue":
        train_adapter(loaded.model, where=loaded.adapter)
        if modules is not None:
            _keep_to(loaded.model, modules(loaded.model), where=str(loaded.adapter))
        return context
    merged = merged_base(loaded)
    if modules is not None:
        options = replace(options, lora_targets=",".join(modules(merged.model)))
    return replace(context, loaded=replace(merged, model=add_lora(merged.model, options, seed=options.seed)))


def _keep_to(model: Any, modules: Collection[str], *, where: str) -> None:
    """Freeze what an adapter trains elsewhere."""
    found = False
    for name, parameter in model.named_parameters():
        inside = any(name.startswith(f"{module}.") for module in modules)
        found |= parameter.requires_grad and inside
        parameter.requires_grad_(parameter.requires_grad and inside)
    if not found:
        raise ConfigError(
            "The adapter has nothing to train on the modules that the method trains.",
            where=f"{where}, `lora_targets`",
            remedy="use `adapter_mode` new, or give modules of those layers that the adapter is on",
        )
