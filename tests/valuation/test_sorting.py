"""Merging sorted tables, whatever their number, with few open files."""

import json
import resource
import subprocess
import sys
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unweave.valuation import sorting
from unweave.valuation.sorting import merge_sorted

SCHEMA = pa.schema([("id", pa.string()), ("value", pa.float64())])
LIMITED = """
import json, sys, resource
from pathlib import Path
import pyarrow as pa
from unweave.valuation.sorting import merge_sorted
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
folder = Path(sys.argv[1])
schema = pa.schema([("id", pa.string()), ("value", pa.float64())])
tables = sorted(folder.glob("*.parquet"))
print(json.dumps([row for table in merge_sorted(tables, "value", folder=folder, schema=schema) for row in table.to_pylist()]))
"""


def write_tables(folder, count, rows=3):
    """Tables of falling values; many values are in several of them."""
    tables = []
    for number in range(count):
        values = sorted(((number * 7 + row * 5) % 23 / 2 for row in range(rows)), reverse=True)
        records = [{"id": f"{number:04d}-{place}", "value": value} for place, value in enumerate(values)]
        tables.append(folder / f"{number:04d}.parquet")
        pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), tables[-1])
    return tables


def expected_of(tables):
    rows = [row for table in tables for row in pq.read_table(table).to_pylist()]
    return sorted(rows, key=lambda row: -row["value"])


@pytest.mark.parametrize("count", [1, 3, 4, 10, 28])
def test_several_passes_give_what_one_gives_and_leave_nothing(tmp_path, monkeypatch, count):
    monkeypatch.setattr(sorting, "OPEN_FILES", 3)
    monkeypatch.setattr(sorting, "ROWS", 2)
    tables = write_tables(tmp_path, count)
    found = [
        row for table in merge_sorted(tables, "value", folder=tmp_path, schema=SCHEMA) for row in table.to_pylist()
    ]
    assert found == expected_of(tables), "equal values stay in the order of the tables"
    assert all(one["value"] >= two["value"] for one, two in pairwise(found))
    assert sorted(tmp_path.iterdir()) == tables


def test_more_tables_than_a_process_may_open_are_merged(tmp_path):
    tables = write_tables(tmp_path, 150, rows=2)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64, "the limit is the child's"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected_of(tables)
