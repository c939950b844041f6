"""TOFU's aggregated evaluation logs: four tests, each with per-sample values by the sample's index.

A log is one JSON file whose keys are the names of the tests' files, or a folder that holds such a file or the tests' files themselves.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unweave.errors import DataError

TESTS = {
    "retain": "eval_log.json",
    "forget": "eval_log_forget.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
"""Our names of the tests, and TOFU's."""

AGGREGATED = "eval_log_aggregated.json"


@dataclass(frozen=True)
class TofuTest:
    """Per-sample values of one test, in the order of the samples' indices.

    Attributes:
        answer_losses: Mean token loss of the right answer.
        paraphrased_losses: Mean token loss of the right answer in other words.
        perturbed_losses: Mean token loss of each wrong answer.
        rouge: ROUGE-L recall of the generated answer; empty where the log has none.
        row_ids: The samples.
    """

    answer_losses: list[float]
    paraphrased_losses: list[float]
    perturbed_losses: list[list[float]]
    rouge: list[float]
    row_ids: list[str]


@dataclass(frozen=True)
class TofuLog:
    """One model's evaluation.

    Attributes:
        path: Where it was read; empty for one that was measured.
        tests: Our name of a test to its values.
    """

    path: str
    tests: dict[str, TofuTest] = field(default_factory=dict)

    def test(self, name: str) -> TofuTest:
        """The values of a test.

        Args:
            name: One of `TESTS`.

        Returns:
            The values.

        Raises:
            DataError: When the log lacks it.
        """
        if name not in self.tests:
            raise DataError(
                f"The log has no test '{TESTS[name]}'.", where=self.path, remedy="evaluate the model on that split too"
            )
        return self.tests[name]

    def to_json(self) -> dict[str, Any]:
        """The log in TOFU's own format."""
        return {
            TESTS[name]: {
                "avg_gt_loss": dict(zip(test.row_ids, test.answer_losses, strict=True)),
                "avg_paraphrased_loss": dict(zip(test.row_ids, test.paraphrased_losses, strict=True)),
                "average_perturb_loss": dict(zip(test.row_ids, test.perturbed_losses, strict=True)),
                "rougeL_recall": dict(zip(test.row_ids, test.rouge, strict=False)),
            }
            for name, test in self.tests.items()
        }


def read_log(path: Path) -> TofuLog:
    """Read a log.

    Args:
        path: The aggregated JSON file, or its folder.

    Returns:
        The tests that are there.

    Raises:
        DataError: When there is none, or a test is incomplete: the message names the test and what it lacks.
    """
    return log_of(_content(path), str(path))


def log_of(content: dict[str, Any], where: str) -> TofuLog:
    """A log from what its file holds.

    Args:
        content: TOFU's name of a test to its values.
        where: The file, for messages.

    Returns:
        The tests that are there.

    Raises:
        DataError: When a test is incomplete, or there is none.
    """
    tests = {name: _test(content[file], f"{where}: {file}") for name, file in TESTS.items() if file in content}
    if not tests:
        raise DataError(
            "This is no TOFU evaluation log.",
            where=where,
            remedy=f"give a JSON object with the keys {', '.join(TESTS.values())}",
        )
    return TofuLog(where, tests)


def _content(path: Path) -> dict[str, Any]:
    if path.is_dir():
        if (path / AGGREGATED).is_file():
            return _read(path / AGGREGATED)
        return {file: _read(path / file) for file in TESTS.values() if (path / file).is_file()}
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        # Python writes and reads NaN and Infinity, which logs of diverged models hold.
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("Evaluation log not found.", where=str(path), remedy="check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"The evaluation log is not JSON: {error}.", where=str(path), remedy="evaluate again"
        ) from error
    if not isinstance(value, dict):
        raise DataError("The evaluation log is no JSON object.", where=str(path), remedy="give an aggregated log")
    return value


def _test(value: Any, where: str) -> TofuTest:
    columns: dict[str, dict[str, Any]] = {}
    for key in ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss", "rougeL_recall"):
        column = value.get(key) if isinstance(value, dict) else None
        if not isinstance(column, dict) or (not column and key != "rougeL_recall"):
            if key == "rougeL_recall" and column is None:
                columns[key] = {}
                continue
            raise DataError(
                f"The test has no '{key}' by sample.", where=where, remedy="evaluate with per-sample values"
            )
        columns[key] = column
    ids = sorted(columns["avg_gt_loss"], key=_index)
    for key, column in columns.items():
        if column and set(column) != set(ids):
            odd = min(set(column) ^ set(ids), key=_index)
            raise DataError(
                f"'{key}' and 'avg_gt_loss' are of different samples, such as {odd}.",
                where=where,
                remedy="evaluate all of them on the same samples",
            )
    try:
        perturbed = [_numbers(columns["average_perturb_loss"][key]) for key in ids]
        return TofuTest(
            answer_losses=[_number(columns["avg_gt_loss"][key]) for key in ids],
            paraphrased_losses=[_number(columns["avg_paraphrased_loss"][key]) for key in ids],
            perturbed_losses=perturbed,
            rouge=[_number(columns["rougeL_recall"][key]) for key in ids] if columns["rougeL_recall"] else [],
            row_ids=ids,
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"A value is no number: {error}.", where=where, remedy="evaluate again") from error


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _numbers(value: Any) -> list[float]:
    losses = [_number(loss) for loss in value] if isinstance(value, list) else [_number(value)]
    if not losses:
        raise ValueError("a sample has no perturbed answer")
    return losses


def _index(key: str) -> tuple[int, str]:
    return (int(key), "") if key.isdigit() else (1 << 60, key)
