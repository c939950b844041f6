"""Norms of the loss gradients of rows, for the membership attack that uses them."""

from collections.abc import Sequence

from unweave import progress
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.gradients.source import GradientSource
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
        One a row that fits.
    """
    examples = encode_rows(rows, loaded.tokenizer, encoding).examples
    parameters = select_parameters(loaded.model, "lora" if loaded.adapter else "linear")
    source = GradientSource(loaded.model, loaded.tokenizer.pad_token_id, parameters)
    with progress.task(description, len(examples)) as advance:
        return source.norms(examples, advance=advance).tolist()
