"""Teacher-forced losses of rows under a model, in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unweave import progress
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.gradients.loss import token_losses
from unweave.gradients.source import GradientSource
from unweave.models.evaluation import evaluating
from unweave.models.loading import Loaded
from unweave.models.vocabulary import require_tokens


@dataclass(frozen=True)
class RowLosses:
    """Losses of rows, in the order of the rows that fit.

    Attributes:
        row_ids: Their ids.
        sums: Summed loss of the completion's tokens, in nats.
        tokens: How many tokens.
    """

    row_ids: list[str]
    sums: list[float]
    tokens: list[int]

    def means(self) -> list[float]:
        """l(z) of each row: nats a token."""
        return [total / count for total, count in zip(self.sums, self.tokens, strict=True)]


def row_losses(
    loaded: Loaded,
    rows: Sequence[Row],
    encoding: EncodingConfig,
    *,
    token_budget: int = 4096,
    description: str = "score",
) -> RowLosses:
    """Score the completions of rows.

    Args:
        loaded: The model.
        rows: The rows.
        encoding: Template and lengths.
        token_budget: Tokens a batch.
        description: For the progress bar.

    Returns:
        The losses.
    """
    examples = encode_rows(rows, loaded.tokenizer, encoding).examples
    pad = loaded.tokenizer.pad_token_id
    with progress.task(description, len(examples)) as advance:
        return example_losses(loaded.model, examples, pad_token_id=pad, token_budget=token_budget, advance=advance)


def example_losses(
    model: Any,
    examples: Sequence[Example],
    *,
    pad_token_id: int,
    token_budget: int = 4096,
    advance: progress.Advance = lambda _: None,
) -> RowLosses:
    """Score examples, with dropout off and nothing to differentiate.

    Args:
        model: A Hugging Face causal model.
        examples: The examples.
        pad_token_id: What to pad with.
        token_budget: Tokens a batch.
        advance: Called with the number of examples just done.

    Returns:
        The losses, in the order of the examples.
    """
    require_tokens(model, examples)
    sums, counts = [0.0] * len(examples), [0] * len(examples)
    source = GradientSource(model, pad_token_id, token_budget=token_budget)
    with torch.no_grad(), evaluating(model):
        for chosen, losses in source.each(examples, lambda _, batch: token_losses(model, batch), advance=advance):
            for index, total, count in zip(chosen, losses.sums().tolist(), losses.counts().tolist(), strict=True):
                sums[index], counts[index] = total, count
    return RowLosses([example.row_id for example in examples], sums, counts)
