"""Tokens that a model has no embedding for: they are an error here, not an index out of range in the middle of a run."""

from collections.abc import Iterable
from typing import Any

from unweave.data.encoding import Example
from unweave.errors import ModelError


def vocabulary_size(model: Any) -> int:
    """How many tokens a model has embeddings for.

    Args:
        model: A Hugging Face causal model.

    Returns:
        Rows of its input embedding.
    """
    return int(model.get_input_embeddings().weight.shape[0])


def require_tokens(model: Any, examples: Iterable[Example], *, tokenizer: Any = None) -> None:
    """Refuse rows with a token that the model has no embedding for.

    Args:
        model: A Hugging Face causal model.
        examples: The rows.
        tokenizer: To name the token.

    Raises:
        ModelError: Naming the first such row and token.
    """
    size = vocabulary_size(model)
    for example in examples:
        highest = max(example.input_ids, default=0)
        if highest >= size:
            name = f" ({tokenizer.convert_ids_to_tokens(highest)})" if tokenizer is not None else ""
            raise ModelError(
                f"Row '{example.row_id}' has token {highest}{name}, and the model has embeddings for {size} tokens only.",
                where="the model's tokenizer",
                remedy="use the tokenizer that the model was trained with, or add the embeddings first: "
                "model.resize_token_embeddings(len(tokenizer)) and model.save_pretrained(folder)",
            )
