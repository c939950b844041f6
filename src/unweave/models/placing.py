"""Models whose weights are not all where they are computed with: layers that wait in the CPU's memory, and layers that are run again for the backward pass."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unweave.errors import ModelError

MARK = "_unweave_runs_again"
"""On a layer that `load` was asked to checkpoint: it is, in evaluation too."""


def checkpoint_layers(model: Any, *, where: str) -> None:
    """Have the layers run again for the backward pass, in place of keeping what they computed.

    Args:
        model: The model, with its adapter if it has one; it is changed in place.
        where: The model's name, for the error.

    Raises:
        ModelError: When the model offers no such thing.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # transformers renames it.
    new = getattr(base, "activation_checkpointing_enable", None)
    name = "gradient_checkpointing_kwargs" if new is None else "activation_checkpointing_kwargs"
    try:
        (new or base.gradient_checkpointing_enable)(**{name: {"use_reentrant": False}})
    except ValueError as error:
        raise ModelError(
            "The model offers no gradient checkpointing.",
            where=f"`gradient_checkpointing`, {where}",
            remedy="leave `gradient_checkpointing` out",
        ) from error
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            setattr(module, MARK, True)


def offload_layers(model: Any, device: torch.device) -> None:
    """Let the weights of the layers wait in the CPU's memory; a module has its own on the device while it runs.

    What an adapter adds stays on the device, and so do embeddings and the output head, which may share a tensor.

    Args:
        model: The model, on the CPU, with its adapter if it has one; it is changed in place.
        device: Where it is computed.
    """
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    trained = _added(model)
    ends = {id(end) for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None}
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.Linear) and id(module) not in ends and not any(id(one) in trained for one in own):
            add_hook_to_module(module, AlignDevicesHook(execution_device=device, offload=True))
        else:
            for tensor in [*own, *module.buffers(recurse=False)]:
                tensor.data = tensor.data.to(device)


def values_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters with their values, wherever these wait.

    Args:
        model: The model.

    Yields:
        Name and tensor, in the order of `named_parameters`.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_meta:
            yield name, parameter
            continue
        holder, _, attribute = name.rpartition(".")
        hook = getattr(model.get_submodule(holder), "_hf_hook", None)
        waiting = getattr(hook, "weights_map", None)
        yield name, parameter if waiting is None else waiting[attribute]


@contextlib.contextmanager
def spread(name: str) -> Iterator[None]:
    """Name the option where layers can't be spread over the devices.

    Args:
        name: The model's.

    Yields:
        Nothing.

    Raises:
        ModelError: In place of what accelerate says.
        ValueError: As it came, where it is of something else.
    """
    try:
        yield
    except ValueError as error:
        if "device_map" not in str(error) and "offload" not in str(error):
            raise
        raise ModelError(
            f"The layers can't be spread over the devices: {str(error).splitlines()[0]}",
            where=f"`device_map`, {name}",
            remedy="use `device_map` offload, or `quantization` 4bit",
        ) from error


def _added(model: Any) -> set[int]:
    """The parameters that an adapter brought."""
    if not hasattr(model, "peft_config"):
        return set()
    from unweave.models.adapters import adapter_parameters

    return {id(parameter) for parameter in adapter_parameters(model).values()}
