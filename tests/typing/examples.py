"""Calls of the public API, with the types that a checker must give them. This file is checked by pyright, and never run."""

from typing import Any, assert_type

import unweave as uw
from unweave.data.reading import Rows
from unweave.data.rows import Row
from unweave.valuation.table import ValueTable

hf_model: Any = None
tokenizer: Any = None

model = uw.load_model("tuned")
assert_type(model, uw.Model)
assert_type(uw.Model(hf_model, tokenizer), uw.Model)
rows = uw.load_rows("rows.jsonl")
assert_type(rows, Rows)
assert_type(rows[0], Row)
assert_type(rows[:2], Rows)
assert_type(rows[0].completion, str)
assert_type(model.render(rows[0]), str)

table = ValueTable(("sums",), [], {})
student = uw.ValueStudent.fit(table, rows)
assert_type(student, uw.ValueStudent)
assert_type(student.predict(rows), ValueTable)

assert_type(uw.SnapshotCallback(at=(0.05, 0.1)), uw.SnapshotCallback)
