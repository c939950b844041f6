"""Weight files: `{"index": i, "weight": w}`, one JSON object a line, and what a list of weights says of itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.errors import DataError
from unweave.files import read_text, write_jsonl
from unweave.weights.checks import INFLUENCE, MOST, row_weights


@dataclass(frozen=True)
class WeightSummary:
    """How far a list of weights is from uniform.

    Attributes:
        count: Rows.
        effective_sample_size: (sum |w|)^2 / sum w^2, between 1 and the number of rows.
        at_low: Share of the weights at the smallest value, where more than one row has it.
        at_high: Share at the largest value, where more than one row has it.
        levels: Distinct values.
        minimum: Smallest weight.
        maximum: Largest weight.
        negative: Rows that change sides.
    """

    count: int
    effective_sample_size: float
    at_low: float
    at_high: float
    levels: int
    minimum: float
    maximum: float
    negative: int


def summarize(weights: Sequence[float]) -> WeightSummary:
    """Saturation and effective sample size.

    Args:
        weights: Weights, at least one.

    Returns:
        The summary.
    """
    total, squares = sum(map(abs, weights)), sum(weight * weight for weight in weights)
    low, high = min(weights), max(weights)
    shares = [sum(weight == end for weight in weights) for end in (low, high)]
    at_low, at_high = (share / len(weights) if share > 1 and low != high else 0.0 for share in shares)
    size = total * total / squares if squares else 0.0
    negative = sum(weight < 0 for weight in weights)
    return WeightSummary(len(weights), size, at_low, at_high, len(set(weights)), low, high, negative)


def write_weights(path: Path, weights: Sequence[float]) -> None:
    """Write weights in RapidUn's format.

    Args:
        path: The file.
        weights: One a row, in the order of the rows.

    Raises:
        DataError: When one is no finite number or too large, or all are zero.
    """
    found = row_weights(weights, where=str(path), remedy=INFLUENCE).tolist()
    write_jsonl(path, [{"index": index, "weight": weight} for index, weight in enumerate(found)])


def read_weights(path: Path, *, count: int, signed: bool = False) -> list[float]:
    """Read weights for a number of rows.

    Args:
        path: The file.
        count: Rows; every index from 0 to count - 1 must stand in the file once.
        signed: Whether weights may be negative.

    Returns:
        The weights, in the order of the rows.

    Raises:
        DataError: When the file is missing or broken, or does not fit the rows.
    """
    if not path.is_file():
        raise DataError("Weight file not found.", where=str(path), remedy="make it with `unweave weigh`")
    weights: dict[int, float] = {}
    for number, line in enumerate(read_text(path, what="The weight file").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            index, weight = _index(record["index"]), float(record["weight"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DataError(
                f"Not a weight: {error}.",
                where=f"{path}:{number}",
                remedy='write lines like {"index": 0, "weight": 1.0}',
            ) from error
        bottom = -MOST if signed else 0
        if index in weights or not 0 <= index < count or not bottom <= weight <= MOST:
            raise DataError(
                f"Index {index} with weight {weight} is repeated, out of range or not finite.",
                where=f"{path}:{number}",
                remedy=f"give each of 0..{count - 1} once",
            )
        weights[index] = weight
    return row_weights(
        [weights[index] for index in sorted(weights)], where=str(path), count=count, signed=signed
    ).tolist()


def _index(value: Any) -> int:
    index = int(value)
    if isinstance(value, bool) or index != value:
        raise ValueError(f"{value!r} is no index")
    return index
