"""Hidden states of a model, without the logits that would come with them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor


def hidden_states(model: Any, inputs: dict[str, Any]) -> tuple[Float[Tensor, "B T H"], ...]:
    """The states behind the embedding and behind each layer; the last has been through the final norm.

    The head is fed one position only: the logits of the others would take more memory than all the states.

    Args:
        model: A Hugging Face causal model.
        inputs: Its keyword arguments.

    Returns:
        One more than there are layers.
    """
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, given: (given[0][:, -1:],))
    try:
        return model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
    finally:
        handle.remove()
