"""Norms of the loss gradients of rows, for the membership attack that uses them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unweave import progress
from unweave.data.batches import collate, plan_batches
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.gradients.per_sample import frozen_in_evaluation, per_sample_gradients
from unweave.models.loading import Loaded
from unweave.models.selection import select_parameters


def gradient_norms(
    loaded: Loaded, rows: Sequence[Row], encoding: EncodingConfig, *, description: str = "gradient norms"
) -> list[float]:
    """The norm of each row's gradient of l(z), over the adapter's parameters, or all linear weights of a model without one.

    Args:
        loaded: The model.
        rows: The rows.
        encoding: Template and lengths.
        description: For the progress bar.

    Returns:
        One a row that has room.
    """
    examples = encode_rows(rows, loaded.tokenizer, encoding).examples
    parameters = select_parameters(loaded.model, "lora" if loaded.adapter else "linear")
    squares = torch.zeros(len(examples), dtype=torch.float64)
    with frozen_in_evaluation(loaded.model), progress.task(description, len(examples)) as advance:
        for chosen in plan_batches([len(example) for example in examples], token_budget=1024):
            batch = collate([examples[index] for index in chosen], pad_token_id=loaded.tokenizer.pad_token_id).to(
                loaded.device
            )

            def add(_: str, piece: Tensor, chosen: list[int] = chosen) -> None:
                squares[chosen] += piece.flatten(1).float().square().sum(dim=1).double().cpu()

            per_sample_gradients(loaded.model, batch, parameters, add, frozen=True)
            advance(len(chosen))
    return squares.sqrt().tolist()
