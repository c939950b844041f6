"""A model whose adapter has become part of its weights, as the base of what is trained next; it is written when the result is."""

import re
from pathlib import Path

from unweave.models.loading import Loaded
from unweave.models.merging import merged_model
from unweave.models.pretrained import require_finite
from unweave.models.saving import save_model

OWN_BASE = "(a base of its own)"
"""Stands for the base of a model whose weights are the run's own and lie nowhere yet."""

BASE_FOLDER = "base"
"""The folder that they get, beside the adapter."""

WRAPPED = re.compile(r"(?:\.base_layer)+\.")
"""What PEFT puts into the name of a weight; once for each weight of a module that it wraps, as of a layer of experts."""


def merged_base(loaded: Loaded) -> Loaded:
    """Merge the adapter, where there is one.

    Args:
        loaded: The model; it is changed in place.

    Returns:
        The merged model, whose base is `OWN_BASE`, or the model as it is.
    """
    return merged_model(loaded, Path(OWN_BASE), save=False)


def save_base(loaded: Loaded, folder: Path) -> None:
    """Write the base of a model with an adapter: PEFT wraps layers in place, so the weights get their own names back.

    Args:
        loaded: The model.
        folder: Where to.
    """
    model = loaded.model.get_base_model()
    state = {WRAPPED.sub(".", name): value for name, value in model.state_dict().items() if "lora_" not in name}
    require_finite(state.items(), where=str(folder))
    save_model(model, loaded.tokenizer, folder, state_dict=state)
