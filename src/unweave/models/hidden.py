"""Hidden states of a model, without the logits that would come with them."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from unweave.data.batches import Batch
from unweave.models.blocks import run_batch


def hidden_states(model: Any, batch: Batch) -> tuple[Float[Tensor, "B T H"], ...]:
    """The states behind the embedding and behind each layer; the last has been through the final norm.

    The head is fed one position only: the logits of the others would take more memory than all the states.

    Args:
        model: A Hugging Face causal model.
        batch: What it reads.

    Returns:
        One more than there are layers.
    """
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, given: (given[0][:, -1:],))
    try:
        return run_batch(model, batch, output_hidden_states=True).hidden_states
    finally:
        handle.remove()
