"""Where forgetting should end: at the loss that the forget rows would have under a model that never saw them."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import StatisticsError, fmean, linear_regression

from unweave import progress
from unweave.data.encoding import Example
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.gradients.scoring import row_losses
from unweave.models.fingerprint import tokenizer_fingerprint
from unweave.models.loading import Loaded, load
from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.watch import mean_loss

FEWEST = 8
"""Held-out rows that a line is drawn through, at least."""


def has_target(config: ForgetConfig) -> bool:
    """Whether a loss of the forget rows is to be reached.

    Args:
        config: The run's.

    Returns:
        Whether rows or a number say which.
    """
    return config.target is not None or config.target_loss is not None


def target_loss(config: ForgetConfig, loaded: Loaded, forget: Sequence[Example]) -> float | None:
    """The loss that the forget rows are to reach.

    That of the target's rows under the model as it is, or the number given. With a reference, rows may differ in how hard they are: a line from each
    held-out row's loss under the reference to that under the model says what rows as hard as the forget rows have. (Difficulty calibration, as
    Watson et al., ICLR 2022, arXiv 2111.08440, have it for membership inference; there the difference of the losses is taken, a line of slope 1.)

    Args:
        config: The run's.
        loaded: The model, before it is changed.
        forget: The forget rows that will be measured.

    Returns:
        Nats a token; `None` without a target.

    Raises:
        ConfigError: When the reference has another tokenizer.
        DataError: When the held-out rows are too few for a line, or alike.
    """
    if config.target is None:
        return config.target_loss
    held_out = read_training_rows(config.target, config).rows
    losses = row_losses(loaded, held_out, config, description="target").means()
    if config.target_reference is None:
        return fmean(losses)
    if len(losses) < FEWEST:
        raise DataError(
            f"{len(losses)} held-out rows are too few to say what a loss under the reference means.",
            where=str(config.target),
            remedy=f"give {FEWEST} or more, or leave --target-reference out",
        )
    reference = load(replace(config, model=config.target_reference, adapter=None, revision=None))
    if tokenizer_fingerprint(reference.tokenizer) != tokenizer_fingerprint(loaded.tokenizer):
        raise ConfigError(
            f"'{config.target_reference}' has another tokenizer than the model: their losses are not of the same tokens.",
            where="--target-reference",
            remedy="give the model that was fine-tuned",
        )
    hard = row_losses(reference, held_out, config, description="target, reference").means()
    target = calibrated(hard, losses, mean_loss(reference.model, forget, pad_token_id=reference.tokenizer.pad_token_id))
    if target is None:
        raise DataError(
            "All held-out rows have the same loss under the reference.",
            where=str(config.target),
            remedy="give rows that differ, or leave --target-reference out",
        )
    progress.say(
        f"target: {target:.2f} nats a token, where rows as hard as the forget rows stand; the held-out rows' mean is {fmean(losses):.2f}"
    )
    return target


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
