"""Where forgetting should end: at the loss that the forget rows would have under a model that never saw them."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, fmean, linear_regression
from typing import Any

from unweave import progress
from unweave.data.encoding import Example
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.gradients.passes import frozen_in_evaluation
from unweave.gradients.scoring import example_losses, row_losses
from unweave.models.adapters import switches_off
from unweave.models.fingerprint import tokenizer_fingerprint
from unweave.models.model import Model
from unweave.models.vocabulary import vocabulary_size
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.outcome import LITTLE
from unweave.unlearning.stopping import mean_loss

FEWEST = 8
"""Held-out rows that a line is drawn through, at least."""


@dataclass(frozen=True)
class Target:
    """Where a run is to end.

    Attributes:
        rows: Held-out rows like those to forget: their loss under the model before.
        reference: Gives a model that saw neither these nor the forget rows.
        loss: The loss itself, in nats a token, where there are no such rows.
    """

    rows: Sequence[Row] | None = None
    reference: Callable[[], Model] | None = None
    loss: float | None = None

    def __bool__(self) -> bool:
        return self.rows is not None or self.loss is not None


@dataclass(frozen=True)
class BaseLosses:
    """What the forget rows cost a model without its adapter.

    Attributes:
        by_row: Of each row, by its id, in nats a token.
        mean: Of the rows that are measured.
    """

    by_row: Mapping[str, float]
    mean: float


def base_losses(
    options: UnlearnOptions, loaded: Model, forget: Sequence[Example], measured: Sequence[Example], *, before: float
) -> BaseLosses | None:
    """The loss that each forget row has without the adapter, where that is a place to end.

    Args:
        options: Whether it is asked for.
        loaded: The model, before it is changed.
        forget: The forget rows.
        measured: Those of them that are measured.
        before: The mean loss of these under the model.

    Returns:
        The losses; `None` where there is no adapter to switch off, where the model finds the rows as unlikely already, and where the base does worse than
        guessing, so that it says nothing of a model that has learned the task.
    """
    model = loaded.model
    if not options.stop_at_base or not hasattr(model, "peft_config") or not switches_off(model):
        return None
    with adapter_off(model):
        losses = example_losses(model, forget, pad_token_id=loaded.tokenizer.pad_token_id)
    by_row = dict(zip(losses.row_ids, losses.means(), strict=True))
    mean = fmean(by_row[example.row_id] for example in measured)
    return BaseLosses(by_row, mean) if before + LITTLE < mean < math.log(vocabulary_size(model)) else None


def loss_at_base(loaded: Model, examples: Sequence[Example]) -> float:
    """The mean loss of rows with the adapter off.

    Args:
        loaded: A model with an adapter.
        examples: The rows.

    Returns:
        Nats a token.
    """
    with adapter_off(loaded.model):
        return mean_loss(loaded.model, examples, pad_token_id=loaded.tokenizer.pad_token_id)


@contextlib.contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """The model without what its adapter has learned, for a while.

    Args:
        model: A model with an adapter.

    Yields:
        Nothing.
    """
    # PEFT makes an adapter that it puts back on trainable: the outer block undoes that.
    with frozen_in_evaluation(model), model.disable_adapter():
        yield


def target_loss(target: Target, options: UnlearnOptions, loaded: Model, forget: Sequence[Example]) -> float | None:
    """The loss that the forget rows are to reach.

    That of the target's rows under the model as it is, or the number given. With a reference, rows may differ in how hard they are: a line from each
    held-out row's loss under the reference to that under the model says what rows as hard as the forget rows have. (Difficulty calibration, as
    Watson et al., ICLR 2022, arXiv 2111.08440, have it for membership inference; there the difference of the losses is taken, a line of slope 1.)

    Args:
        target: Rows, or a number.
        options: How rows become tokens.
        loaded: The model, before it is changed.
        forget: The forget rows that will be measured.

    Returns:
        Nats a token; `None` without a target.

    Raises:
        ConfigError: When the reference has another tokenizer.
        DataError: When the held-out rows are too few for a line, or alike.
    """
    if target.rows is None:
        return target.loss
    losses = row_losses(loaded, target.rows, options, description="target").means()
    if target.reference is None:
        return fmean(losses)
    if len(losses) < FEWEST:
        raise DataError(
            f"{len(losses)} held-out rows are too few to say what a loss under the reference means.",
            where="`target`",
            remedy=f"give {FEWEST} or more, or leave `target_reference` out",
        )
    reference = target.reference()
    if tokenizer_fingerprint(reference.tokenizer) != tokenizer_fingerprint(loaded.tokenizer):
        raise ConfigError(
            "The reference has another tokenizer than the model: their losses are not of the same tokens.",
            where="`target_reference`",
            remedy="give the model that was fine-tuned",
        )
    hard = row_losses(reference, target.rows, options, description="target, reference").means()
    at = mean_loss(reference.model, forget, pad_token_id=reference.tokenizer.pad_token_id)
    found = calibrated(hard, losses, at)
    if found is None:
        raise DataError(
            "All held-out rows have the same loss under the reference.",
            where="`target`",
            remedy="give rows that differ, or leave `target_reference` out",
        )
    progress.say(
        f"target: {found:.2f} nats a token, where rows as hard as the forget rows stand; the held-out rows' mean is {fmean(losses):.2f}"
    )
    return found


def calibrated(hard: Sequence[float], losses: Sequence[float], at: float) -> float | None:
    """The loss that rows of some hardness have, by a least-squares line through held-out rows.

    Args:
        hard: Each held-out row's loss under the reference, nats a token.
        losses: The same under the model.
        at: The mean loss of the rows in question under the reference.

    Returns:
        Nats a token; `None` where the held-out rows are all equally hard.
    """
    try:
        slope, level = linear_regression(hard, losses)
    except StatisticsError:
        return None
    return level + slope * at
