"""Fitting a student: stop where held-out rows are ordered best, calibrate what it says, and check it on rows that had no part in that."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from scipy.stats import norm, rankdata

from unweave import progress
from unweave.errors import ConfigError, DataError, TrainingError
from unweave.stats.intervals import rank_correlation, rank_correlations
from unweave.stats.ranking import top_overlap
from unweave.valuation.config import FitOptions
from unweave.valuation.kernel import KernelHead
from unweave.valuation.losses import LOSSES
from unweave.valuation.spec import Calibration, StudentSpec
from unweave.valuation.texts import Text
from unweave.valuation.training import Standing, Training

if TYPE_CHECKING:
    from unweave.valuation.student import ValueStudent

COVERAGES = ("0.8", "0.9")
FEWEST = 40


@dataclass(frozen=True)
class Valued:
    """Rows with their values.

    Attributes:
        texts: Their prompts and answers.
        values: A column a task.
    """

    texts: list[Text]
    values: Float[np.ndarray, "n T"]

    def between(self, start: int, end: int) -> "Valued":
        """Some of the rows.

        Args:
            start: The first.
            end: The one after the last.

        Returns:
            Their texts and values.
        """
        return Valued(self.texts[start:end], self.values[start:end])


@dataclass(frozen=True)
class Fitted:
    """How a fit went.

    Attributes:
        rows: Rows fitted on, held-out ones apart.
        epochs: Epochs made.
        kept_epoch: The epoch that the student is of.
    """

    rows: int
    epochs: int
    kept_epoch: int


def require_learnable(rows: Valued, options: FitOptions, *, where: str) -> None:
    """Refuse rows that are too few, or whose values are no numbers, and options that can't be.

    Args:
        rows: The rows.
        options: How they are to be fitted.
        where: Where they come from, for the message.

    Raises:
        ConfigError: When an option is out of range.
        DataError: When there are too few rows, or a value is no number.
    """
    if not 0 < options.held_out < 0.4 or min(options.epochs, options.patience, options.batch_size) < 1:
        raise ConfigError(
            "These can't be fitted with.",
            where="`held_out`, `epochs`, `patience`, `batch_size`",
            remedy="give a share below 0.4, and numbers of 1 or more",
        )
    if len(rows.texts) < FEWEST:
        raise DataError(
            f"{len(rows.texts)} rows are too few to learn from and to check.",
            where=where,
            remedy=f"value {FEWEST} or more",
        )
    if not np.isfinite(rows.values).all():
        raise DataError("A value is not a number.", where=where, remedy="value the rows again")


def fit(
    student: "ValueStudent", rows: Valued, options: FitOptions, *, folder: Path | None = None, fingerprint: str = ""
) -> Fitted:
    """Fit a student, calibrate it, and measure it; all of it goes into the student.

    Args:
        student: A student that has learned nothing yet.
        rows: The rows, in an order that says nothing about them: the last are held out.
        options: How.
        folder: Where the end of each epoch is kept, so that a fit that was killed goes on; `None` keeps nothing.
        fingerprint: Of the fit: what another one has kept is not read.

    Returns:
        How it went.
    """
    count = len(rows.texts)
    aside = max(10, round(options.held_out * count))
    first, middle, last = (
        rows.between(*ends)
        for ends in ((0, count - 2 * aside), (count - 2 * aside, count - aside), (count - aside, count))
    )
    if options.loss == "kernel":
        # Nothing is stopped early, so that all rows are fitted.
        first = middle = rows.between(0, count - aside)
        standing, scores = Standing(epoch=1, kept=1), _solve(student, first)
    else:
        standing = _train(student, options, first, middle, folder=folder, fingerprint=fingerprint)
        scores = student.scores(middle.texts)
    student.spec = replace(calibrated(student, scores, middle.values, last), fitted_on=len(first.texts))
    return Fitted(len(first.texts), standing.epoch, standing.kept)


def normal_scores(values: Float[np.ndarray, "n T"]) -> Float[np.ndarray, "n T"]:
    """Values by their ranks, as quantiles of the normal distribution: heavy tails would rule a squared loss, and only the order has to survive.

    Args:
        values: A column a task.

    Returns:
        The same order with about unit spread.
    """
    ranks = np.stack([rankdata(column) for column in values.T], axis=1)
    return norm.ppf((ranks - 0.5) / len(values))


def calibrated(
    student: "ValueStudent",
    middle_scores: Float[np.ndarray, "n T"],
    middle_values: Float[np.ndarray, "n T"],
    last: Valued,
) -> StudentSpec:
    """Map raw scores to values on some rows, and measure intervals and quality on others.

    The map is isotonic regression; a student whose scores say nothing gets a constant. Intervals are split conformal on half of the last rows, and checked on
    the other half, so that the coverage that is reported is a measured one.

    Args:
        student: The student, fitted.
        middle_scores: Of rows that the student was not fitted on: those that training stopped by, or rows as they are predicted when they are left out.
        middle_values: Their values.
        last: Rows that had no part in anything.

    Returns:
        The student's spec with calibration and metrics.
    """
    last_scores = student.scores(last.texts)
    calibration, metrics = {}, {}
    half = len(last.texts) // 2
    for index, name in enumerate(student.spec.tasks):
        order = np.argsort(middle_scores[:, index], kind="stable")
        fitted = isotonic_regression(middle_values[order, index]).x
        plain = Calibration(middle_scores[order, index].tolist(), fitted.tolist(), {})
        truth, predicted = last.values[:, index], plain(last_scores[:, index])
        errors = np.abs(truth - predicted)
        widths = {level: conformal_width(errors[:half], float(level)) for level in COVERAGES}
        calibration[name] = replace(plain, half_widths=widths)
        metrics[name] = {
            "spearman": rank_correlation(last_scores[:, index], truth),
            "top_overlap": top_overlap(last_scores[:, index], truth),
            "coverage": {level: float((errors[half:] <= width).mean()) for level, width in widths.items()},
            "rows": len(truth),
        }
    return replace(student.spec, calibration=calibration, metrics=metrics)


def conformal_width(errors: Float[np.ndarray, " n"], coverage: float) -> float:
    """The half width that covers a new row with at least a probability (split conformal prediction; Lei et al., JASA 2018).

    Args:
        errors: Absolute errors on exchangeable rows.
        coverage: The probability.

    Returns:
        The ceil((n + 1) coverage)-th smallest error; the largest, where that is beyond them all.
    """
    place = int(np.ceil((len(errors) + 1) * coverage))
    return float(np.sort(errors)[min(place, len(errors)) - 1])


def sampling_order(count: int, seed: int) -> list[int]:
    """The order in which rows of a table are sampled to fit on: whoever fits on fewer takes the first of it.

    Args:
        count: Rows of the table.
        seed: Of the sample.

    Returns:
        Their places.
    """
    places = list(range(count))
    random.Random(seed).shuffle(places)
    return places


def _solve(student: "ValueStudent", rows: Valued) -> Float[np.ndarray, "n T"]:
    """Kernel ridge regression on the student's states; gives what each row scores when it is left out."""
    head = KernelHead(0, 0, len(student.spec.tasks))
    features = torch.from_numpy(student.features(rows.texts)).float()
    left_out = head.fit(features, torch.from_numpy(normal_scores(rows.values)).float()).numpy()
    student.head = head.to(student.device)
    progress.say(f"fit: left-out rows are ordered to Spearman's {_correlation(left_out, rows.values):.3f}")
    return left_out


def _train(
    student: "ValueStudent",
    options: FitOptions,
    first: Valued,
    middle: Valued,
    *,
    folder: Path | None,
    fingerprint: str,
) -> Standing:
    """Train until held-out rows are ordered no better, and go back to where they were ordered best."""
    training = Training(
        student, first.texts, torch.from_numpy(normal_scores(first.values)).float(), loss=LOSSES[options.loss], epochs=options.epochs,
        batch_size=options.batch_size, learning_rate=options.learning_rate, seed=options.seed, folder=folder, fingerprint=fingerprint,
    )  # fmt: skip
    standing = training.standing
    with progress.task("fit a student", training.steps) as advance:
        advance(standing.epoch * training.batches)
        while standing.epoch < options.epochs and (
            not standing.epoch or standing.epoch - standing.kept < options.patience
        ):
            training.epoch(advance)
            training.note(_correlation(student.scores(middle.texts), middle.values))
    if not standing.kept:
        raise TrainingError(
            f"None of {standing.epoch} epoch(s) gave held-out rows an order: nothing was learned.",
            where="`learning_rate`, `epochs`",
            remedy="raise the step size or the epochs, or value more rows",
        )
    training.finish()
    return standing


def _correlation(scores: Float[np.ndarray, "n T"], values: Float[np.ndarray, "n T"]) -> float:
    """Spearman's correlation, the mean over tasks."""
    return float(np.mean(rank_correlations(scores, values)))
