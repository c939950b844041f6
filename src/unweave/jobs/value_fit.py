"""`unweave value fit`: teach a student, stop where held-out rows are ordered best, calibrate what it says, and check it on rows that had no part in that."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression
from scipy.stats import norm, rankdata

from unweave import progress
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError, TrainingError
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_encoder, of_path, of_rows
from unweave.stats.intervals import rank_correlation, rank_correlations
from unweave.stats.ranking import top_overlap
from unweave.valuation.config import FitConfig
from unweave.valuation.kernel import KernelHead
from unweave.valuation.losses import LOSSES
from unweave.valuation.student import RECORD, Calibration, Student
from unweave.valuation.table import read_table, task_columns, valued_rows
from unweave.valuation.texts import Text, prompt_and_answer
from unweave.valuation.training import Standing, Training

COVERAGES = ("0.8", "0.9")
FEWEST = 40
KEPT = ".fit"


@dataclass(frozen=True)
class FitResult:
    """What fitting gave.

    Attributes:
        folder: The student.
        rows: Rows fitted on, held-out ones apart.
        epochs: Epochs made.
        kept_epoch: The epoch that the student is of.
        metrics: Task to Spearman's correlation, overlap of the top tenth, and coverage of the intervals, on rows that had no part in fitting.
        seconds: Wall time.
    """

    folder: Path
    rows: int
    epochs: int
    kept_epoch: int
    metrics: dict[str, dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class _Part:
    """Rows with their values.

    Attributes:
        texts: Their prompts and answers.
        values: A column a task.
    """

    texts: list[Text]
    values: Float[np.ndarray, "n T"]


def fit_student(config: FitConfig) -> FitResult:
    """Fit a student. A run that was killed goes on after its last epoch; one that is done is not repeated.

    Args:
        config: Values, rows, student, loss.

    Returns:
        The student's folder and how well it does.

    Raises:
        ConfigError: When an option is out of range.
        DataError: When values and rows do not fit, or are too few.
    """
    run = RunFolder(config.output_dir, "value fit", config, inputs=fit_inputs(config))
    with run.held():
        done = run.finished(files=(RECORD,))
        if done is not None:
            return FitResult(**{**done, "folder": config.output_dir})
        return _fit(run, config)


def fit_inputs(config: FitConfig) -> dict[str, Input]:
    """What fitting reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {
        "values": of_path(config.values),
        "data": of_rows(config.data, config),
        "student": of_encoder(config.student),
    }


def _fit(run: RunFolder, config: FitConfig) -> FitResult:
    started = time.monotonic()
    if not 0 < config.held_out < 0.4 or min(config.epochs, config.patience, config.batch_size) < 1:
        raise ConfigError(
            "These can't be fitted with.", where="--held-out, --epochs, --patience, --batch-size", remedy="give a share below 0.4, and numbers of 1 or more"
        )  # fmt: skip
    tasks, parts, rows = _parts(config)
    student = Student.begin(
        config.student, tasks, max_length=config.student_length, device=config.device, kernel=config.loss == "kernel"
    )
    run.start(rows=rows)
    if config.loss == "kernel":
        fitted = _Part([*parts[0].texts, *parts[1].texts], np.concatenate([parts[0].values, parts[1].values]))
        standing, scores, known = Standing(epoch=1, kept=1), _solve(student, fitted), fitted.values
    else:
        fitted = parts[0]
        standing = _train(student, config, *parts[:2], fingerprint=run.digest)
        scores, known = student.scores(parts[1].texts), parts[1].values
    student.spec = replace(calibrated(student, scores, known, parts[2]), fitted_on=len(fitted.texts))
    student.save_pretrained(config.output_dir)
    seconds = round(time.monotonic() - started, 3)
    result = FitResult(
        config.output_dir, len(fitted.texts), standing.epoch, standing.kept, student.spec.metrics, seconds
    )
    run.finish({**result.__dict__, "folder": str(result.folder)})
    return result


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
    student: Student, middle_scores: Float[np.ndarray, "n T"], middle_values: Float[np.ndarray, "n T"], last: _Part
) -> Any:
    """Map raw scores to values on some rows, and measure intervals and quality on others.

    The map is isotonic regression; a student whose scores say nothing gets a constant. Intervals are split conformal on half of the last rows, and checked on
    the other half, so that the coverage that is told is a measured one.

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


def drawing_order(count: int, seed: int) -> list[int]:
    """The order in which rows of a table are drawn to fit on: `FitConfig.rows` takes the first of it.

    Args:
        count: Rows of the table.
        seed: Of the draw.

    Returns:
        Their places.
    """
    places = list(range(count))
    random.Random(seed).shuffle(places)
    return places


def _parts(config: FitConfig) -> tuple[list[str], list[_Part], list[Row]]:
    """Rows to fit on, to stop by, and to check with; and all of them as read."""
    table = read_table(config.values)
    tasks = list(config.tasks) or task_columns(table)
    if unknown := [name for name in tasks if name not in table]:
        raise ConfigError(
            f"The table has no column '{unknown[0]}'.", where=str(config.values), remedy="give columns of it"
        )
    chosen = drawing_order(len(table["id"]), config.seed)[: config.rows or None]
    rows = valued_rows([table["id"][place] for place in chosen], config.values, config)
    if len(chosen) < FEWEST:
        raise DataError(
            f"{len(chosen)} rows are too few to learn from and to check.",
            where=str(config.values),
            remedy=f"value {FEWEST} or more",
        )
    values = np.array([[table[name][place] for name in tasks] for place in chosen], dtype=float)
    if not np.isfinite(values).all():
        raise DataError("A value is not a number.", where=str(config.values), remedy="value the rows again")
    texts: list[Text] = [prompt_and_answer(rows[table["id"][place]]) for place in chosen]
    aside = max(10, round(config.held_out * len(chosen)))
    ends = (len(chosen) - 2 * aside, len(chosen) - aside, len(chosen))
    starts = (0, *ends[:2])
    parts = [_Part(texts[start:end], values[start:end]) for start, end in zip(starts, ends, strict=True)]
    return tasks, parts, list(rows.values())


def _solve(student: Student, rows: _Part) -> Float[np.ndarray, "n T"]:
    """Kernel ridge regression on the student's states: nothing is stopped early, so that all rows are fitted; what each scores when it is left out."""
    head = KernelHead(0, 0, len(student.spec.tasks))
    features = torch.from_numpy(student.features(rows.texts)).float()
    left_out = head.fit(features, torch.from_numpy(normal_scores(rows.values)).float()).numpy()
    student.head = head.to(student.device)
    progress.say(f"fit: left-out rows are ordered to Spearman's {_correlation(left_out, rows.values):.3f}")
    return left_out


def _train(student: Student, config: FitConfig, first: _Part, middle: _Part, *, fingerprint: str) -> Standing:
    """Train until held-out rows are ordered no better, and go back to where they were ordered best."""
    training = Training(
        student, first.texts, torch.from_numpy(normal_scores(first.values)).float(), loss=LOSSES[config.loss], epochs=config.epochs,
        batch_size=config.batch_size, learning_rate=config.learning_rate, seed=config.seed, folder=config.output_dir / KEPT, fingerprint=fingerprint,
    )  # fmt: skip
    standing = training.standing
    with progress.task(f"fit {config.output_dir.name}", training.steps) as advance:
        advance(standing.epoch * training.batches)
        while standing.epoch < config.epochs and (
            not standing.epoch or standing.epoch - standing.kept < config.patience
        ):
            training.epoch(advance)
            training.note(_correlation(student.scores(middle.texts), middle.values))
    if not standing.kept:
        raise TrainingError(
            f"None of {standing.epoch} epoch(s) gave held-out rows an order: nothing was learned.",
            where="--learning-rate, --epochs",
            remedy="raise the step size or the epochs, or value more rows",
        )
    training.finish()
    return standing


def _correlation(scores: Float[np.ndarray, "n T"], values: Float[np.ndarray, "n T"]) -> float:
    """Spearman's correlation, the mean over tasks."""
    return float(np.mean(rank_correlations(scores, values)))
