"""Calls of the public API, with the types that a checker must give them. This file is checked by pyright, and never run."""

from pathlib import Path
from typing import Any, assert_type

import unweave as uw
from unweave.data.reading import Rows
from unweave.data.rows import Row
from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.verdict import Verdict
from unweave.ledger.requests import Certificate, LedgerRequest, Verification
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

report = uw.evaluate(model, forget=rows[:2], like=rows[2:4], retain=rows[4:], before=model, reference=model)
assert_type(report, Evaluation)
assert_type(report.verdict, Verdict)
assert_type(report.verdict.conclusion, str)
assert_type(report.figures["after"]["forget"]["loss"].value, float)
assert_type(report.save_html("audit.html"), Path)

table = uw.value(model, rows, tasks={"sums": rows})
assert_type(table, ValueTable)
assert_type(table["sums"], list[float])
student = uw.ValueStudent.fit(table, rows)
assert_type(student, uw.ValueStudent)
assert_type(student.predict(rows), ValueTable)

assert_type(uw.SnapshotCallback(at=(0.05, 0.1)), uw.SnapshotCallback)

ledger = uw.Ledger("ledger", model="tuned", rows=rows)
request = ledger.request(ids=["ann-1"], reason="withdrawn").run(method="rapidun")
assert_type(request, LedgerRequest)
assert_type(request.certificate, Certificate)
assert_type(request.certificate.verify(), Verification)
assert_type(request.certificate.verify().ok, bool)
