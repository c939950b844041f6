"""A model to work on beside the one that was given: its weights are shared until something would change them."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import nn

from unweave.errors import ConfigError
from unweave.models.adapters import adapter_parameters
from unweave.models.model import Model


def working_copy(model: Model, *, whole: bool) -> Model:
    """A copy of a model.

    Args:
        model: The model.
        whole: Copy all weights, for what changes those of the base. Otherwise the base's are shared, and what PEFT trains of an adapter is copied.

    Returns:
        The copy, each parameter an object of its own: what is marked as trainable there is not marked here.

    Raises:
        ConfigError: When accelerate has spread the model over devices: its modules can't be copied.
    """
    if any(hasattr(module, "_hf_hook") for module in model.model.modules()):
        raise ConfigError(
            "The model is spread over devices by accelerate, and can't be copied.",
            where="`in_place`",
            remedy="give in_place=True, and load the model anew where you need it as it was",
        )
    memo: dict[int, Any] = {} if whole else _shared(model.model)
    return replace(model, model=copy.deepcopy(model.model, memo))


def _shared(model: Any) -> dict[int, Any]:
    """What takes the place of each parameter of the base in a copy: another parameter of the same values, or the same one where it is quantised."""
    own = {id(one) for one in adapter_parameters(model).values()} if hasattr(model, "peft_config") else set()
    return {
        id(one): nn.Parameter(one.detach(), requires_grad=one.requires_grad) if type(one) is nn.Parameter else one
        for one in model.parameters()
        if id(one) not in own
    }


def own_values(parameters: Iterable[nn.Parameter], model: Any) -> None:
    """Give parameters values of their own, where they share them with another model.

    Args:
        parameters: Those that will change.
        model: The other model.
    """
    theirs = {one.data_ptr() for one in model.parameters()}
    for one in parameters:
        if one.data_ptr() in theirs:
            one.data = one.data.clone()
