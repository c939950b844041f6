"""Weight files: what is in them is looked at before it is used, and before it is written."""

import json
import math

import pytest

from unweave.errors import DataError
from unweave.weights.files import read_weights, write_weights


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def weights(*values):
    return [{"index": index, "weight": value} for index, value in enumerate(values)]


@pytest.mark.parametrize(
    ("records", "match"),
    [
        (weights(0.0, 0.0), "All weights are zero"),
        (weights(1.0), "1 weights for 2 rows"),
        (weights(1.0, 1.0, 1.0), "Index 2"),
        ([*weights(1.0, 1.0), {"index": 0, "weight": 2.0}], "Index 0"),
        (weights(1.0, math.nan), "Index 1"),
        (weights(1.0, math.inf), "Index 1"),
        (weights(1.0, 1e300), "Index 1"),
        (weights(1.0, -1.0), "Index 1"),
        ([{"index": True, "weight": 1.0}], "no index"),
    ],
)
def test_weights_that_can_not_be(tmp_path, records, match):
    with pytest.raises(DataError, match=match) as raised:
        read_weights(write(tmp_path / "w.jsonl", *records), count=2)
    assert raised.value.remedy


def test_negative_weights_are_for_rows_to_keep(tmp_path):
    path = write(tmp_path / "w.jsonl", *weights(1.0, -1.0))
    assert read_weights(path, count=2, signed=True) == [1.0, -1.0]
    with pytest.raises(DataError, match="Index 1"):
        read_weights(write(path, *weights(1.0, -math.inf)), count=2, signed=True)


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, math.nan], [math.inf, 1.0]])
def test_weights_that_can_not_be_are_not_written(tmp_path, values):
    with pytest.raises(DataError, match="can't be weighed"):
        write_weights(tmp_path / "w.jsonl", values)
    assert not (tmp_path / "w.jsonl").exists()
