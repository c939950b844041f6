"""`unweave value fit`: teach a student the values of a table."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unweave.config import part_of
from unweave.errors import ConfigError
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_path, of_rows
from unweave.run.model_inputs import of_encoder
from unweave.valuation.config import FitConfig, FitOptions
from unweave.valuation.fitting import Valued, fit, require_learnable, sampling_order
from unweave.valuation.student import ValueStudent
from unweave.valuation.student_files import RECORD
from unweave.valuation.table import read_table, task_columns, valued_rows
from unweave.valuation.texts import prompt_and_answer

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
    options = part_of(FitOptions, config)
    table = read_table(config.values)
    tasks = list(config.tasks) or task_columns(table)
    if unknown := [name for name in tasks if name not in table]:
        raise ConfigError(
            f"The table has no column '{unknown[0]}'.", where=str(config.values), remedy="give columns of it"
        )
    chosen = sampling_order(len(table["id"]), config.seed)[: config.rows or None]
    rows = valued_rows([table["id"][place] for place in chosen], config.values, config)
    values = np.array([[table[name][place] for name in tasks] for place in chosen], dtype=float)
    valued = Valued([prompt_and_answer(rows[table["id"][place]]) for place in chosen], values)
    require_learnable(valued, options, where=str(config.values))
    student = ValueStudent.begin(tasks, options)
    run.start(rows=list(rows.values()))
    fitted = fit(student, valued, options, folder=config.output_dir / KEPT, fingerprint=run.digest)
    student.save_pretrained(config.output_dir)
    seconds = round(time.monotonic() - started, 3)
    result = FitResult(config.output_dir, fitted.rows, fitted.epochs, fitted.kept_epoch, student.spec.metrics, seconds)
    run.finish({**result.__dict__, "folder": str(result.folder)})
    return result
