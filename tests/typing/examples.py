"""Calls of the public API, with the types that a checker must give them. This file is checked by pyright, and never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np

import unweave as uw
from unweave.data.reading import Rows
from unweave.data.rows import Row
from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.verdict import Verdict
from unweave.ledger.certified import Certificate, Verification
from unweave.ledger.requests import LedgerRequest
from unweave.valuation.table import ValueTable
from unweave.weights.weighing import RowWeights

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

index = uw.GradientIndex.build(model, rows)
block = index.influence_matrix(queries=rows, rows=rows)
weights = uw.weights.rapidun(ff=block, fr=block, rf=block, rr=block, topk=None, tau_f=0.5)
assert_type(weights, RowWeights)
assert_type(weights.forget, np.ndarray)
assert_type(weights.summary.retain.effective_sample_size, float)
assert_type(uw.weights.from_index(index, rows, rows, method="signed", signed_precision=0.8), RowWeights)
assert_type(uw.weights.from_influence(ff=block, fr=block, rf=block, rr=block, method="random", seed=1), RowWeights)
assert_type(uw.weights.loreun([0.1, 2.0], tau=0.5), np.ndarray)
uw.weights.rapidun(ff=block, fr=block, rf=block, rr=block, top_k=3)  # pyright: ignore[reportCallIssue]
uw.weights.from_index(index, rows, rows, method="best")  # pyright: ignore[reportArgumentType]

report = uw.evaluate(model, forget=rows[:2], like=rows[2:4], retain=rows[4:], before=model, reference=model)
assert_type(report, Evaluation)
assert_type(report.verdict, Verdict)
assert_type(report.verdict.conclusion, str)
assert_type(report.figures["after"]["forget"]["loss"].value, float)
assert_type(report.save_html("audit.html"), Path)

result = uw.unlearn(model, rows[:2], rows[2:], method=uw.methods.NPO(beta=0.1), epochs=2)
assert_type(result, uw.Unlearned)
assert_type(result.model, uw.Model)
assert_type(result.save("unlearned"), Path)
assert_type(result.push_to_hub("owner/name"), str)

table = uw.value(model, rows, tasks={"sums": rows})
assert_type(table, ValueTable)
assert_type(table["sums"], list[float])
student = uw.ValueStudent.fit(table, rows)
assert_type(student, uw.ValueStudent)
assert_type(student.predict(rows), ValueTable)
assert_type(student.push_to_hub("owner/name"), str)

assert_type(uw.SnapshotCallback(at=(0.05, 0.1)), uw.SnapshotCallback)

ledger = uw.Ledger("ledger", model="tuned", rows=rows)
request = ledger.request(ids=["ann-1"], reason="withdrawn").run(method="rapidun")
assert_type(request, LedgerRequest)
assert_type(request.certificate, Certificate)
assert_type(request.certificate.verify(), Verification)
assert_type(request.certificate.verify().ok, bool)
assert_type(request.certificate.push_to_hub("owner/name"), str)
assert_type(report.push_to_hub("owner/name"), str)
assert_type(index.card(), str)

found = uw.find_rest(index, seeds=rows[:2])
assert_type(found, uw.Found)
assert_type(found[0].row, Row)
assert_type(found[0].level, float)
assert_type(found.missed.count, float | None)
harm = uw.predict_collateral(index, rows[:2])
assert_type(harm, uw.Collateral)
assert_type(harm[0].change, float)
