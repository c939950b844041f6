"""The public API as the docs promise it: one test a section, on a tiny model, with the names and the forms of the calls exactly as they stand there."""

import json
import warnings

import numpy as np
import pytest
import torch

import unweave as uw
from tests.folders import ROWS
from tests.notebook import LIKE, in_memory, numbered, write_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("api"))


@pytest.fixture
def own(folder, monkeypatch):
    """What a reader has in memory; the files stand in the working folder."""
    monkeypatch.chdir(folder)
    return in_memory(folder)


def test_models_and_rows(own):
    model = uw.load_model("tuned")
    assert model.adapter == "tuned"
    model = uw.Model(own["hf_model"], own["tokenizer"])
    rows = uw.load_rows("rows.jsonl")
    assert (rows[0].id, rows[0].prompt, rows[0].completion) == ("r0", "what is the capital of France ?", "Paris")
    assert rows.problems == []
    assert [row.id for row in uw.load_rows(numbered(ROWS))] == [row.id for row in rows]
    assert "⟦Paris" in model.render(rows[0])


def test_trace(own):
    model, rows, forget, retain = own["model"], own["rows"], own["forget"], own["retain"]
    index = uw.GradientIndex.build(model, rows, path="store", sketch="fold", dimension=4096)
    index = uw.GradientIndex.open("store", model)
    hits = index.attribute(prompt="what is the capital of France ?", top_k=3)
    assert len(hits) == 3
    hits = index.attribute(prompt="what is the capital of Peru ?", completion="Lima", span="Lima", rerank=200)
    assert hits[0].row.prompt == "what is the capital of Peru ?"
    assert hits[0].influence >= hits[1].influence
    assert hits[0].level == 7 / 8
    assert len(hits.to_pandas()) == len(hits)
    hits.save_html("trace.html")
    contrast = index.attribute(prompt="what is the capital of Peru ?", completion="Lima", against="Tokyo")
    assert len(contrast)
    block = index.influence_matrix(queries=forget, rows=retain)
    assert isinstance(block, np.ndarray)
    assert block.shape == (2, 6)


def test_weights(own):
    model, rows, forget, retain = own["model"], own["rows"], own["forget"], own["retain"]
    index = uw.GradientIndex.build(model, rows, dimension=4096)
    blocks = {
        name: index.influence_matrix(queries=queries, rows=of)
        for name, queries, of in (
            ("ff", forget, forget), ("fr", retain, forget), ("rf", forget, retain), ("rr", retain, retain)
        )
    }  # fmt: skip
    w = uw.weights.rapidun(ff=blocks["ff"], fr=blocks["fr"], rf=blocks["rf"], rr=blocks["rr"])
    assert (len(w.forget), len(w.retain)) == (2, 6)
    assert w.summary
    w = uw.weights.from_index(index, forget, retain, method="signed")
    assert (len(w.forget), len(w.retain)) == (2, 6)


@pytest.mark.skipif("unlearn" not in uw.__all__, reason="comes with unlearning of objects in memory")
def test_unlearn(own, tmp_path):
    model, rows, forget, retain = own["model"], own["rows"], own["forget"], own["retain"]
    index = uw.GradientIndex.build(model, rows, dimension=4096)
    w = uw.weights.from_index(index, forget, retain, method="rapidun")
    result = uw.unlearn(model, forget, retain, method=uw.methods.NPO(beta=0.1), weights=w, epochs=2, learning_rate=1e-4)
    assert isinstance(result.model, uw.Model)
    assert result.history
    assert result.details is not None
    result.save(tmp_path / "unlearned")
    assert uw.load_model(tmp_path / "unlearned").adapter == str(tmp_path / "unlearned")
    assert callable(result.push_to_hub)
    assert uw.methods.available()["npo"] is uw.methods.NPO


def test_unlearning_inside_a_trainer(own, tmp_path):
    from transformers import TrainingArguments

    forget, retain = own["forget"], own["retain"]
    arguments = TrainingArguments(str(tmp_path / "trainer"), max_steps=1, report_to="none", use_cpu=True, save_strategy="no")  # fmt: skip
    trainer = uw.UnlearnTrainer(
        model=own["hf_model"], processing_class=own["tokenizer"], forget_dataset=forget, retain_dataset=retain,
        method=uw.methods.NPO(), args=arguments,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert trainer.train().global_step == 1


def test_evaluate(own):
    model, forget, others = own["model"], own["forget"], own["retain"]
    report = uw.evaluate(model, forget=forget, like=LIKE, retain=others, before=model, reference=model)
    assert report.verdict.conclusion == "no difference from the retrained model found"
    assert {"model", "rows", "figure", "value"} <= set(report.to_pandas().columns)
    assert report.save_html("audit.html").is_file()
    json.dumps(report.to_json())


def test_value(own):
    from unweave.valuation import FitOptions

    model, candidates, validation = own["model"], own["many"], own["retain"][3:5]
    table = uw.value(model, candidates, tasks={"sums": validation})
    assert list(table.to_pandas()["sums"]) == table["sums"]
    quick = FitOptions(student="encoder", epochs=4, learning_rate=3e-3, student_length=32, device="cpu")
    student = uw.ValueStudent.fit(table, candidates, options=quick)
    assert len(student.predict(own["rows"])) == 8


def test_requests(own, tmp_path):
    rows = [{**record, "id": f"ann-{index}"} for index, record in enumerate(ROWS * 6)]
    ledger = uw.Ledger(tmp_path / "ledger", model="tuned", rows=rows)
    method = uw.methods.RapidUn() if "methods" in uw.__all__ else "rapidun"
    asked = ledger.request(ids=["ann-1"], reason="withdrawn")
    request = asked.run(method=method, retain_rows=8, test_rows=8, dtype="float32")
    assert request.certificate.verify().ok


def test_inside_someone_elses_training(own, tmp_path):
    from datasets import Dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import SFTConfig, SFTTrainer

        arguments = SFTConfig(str(tmp_path / "sft"), max_steps=20, report_to="none", use_cpu=True, save_strategy="no", bf16=False, max_length=32)  # fmt: skip
        data = Dataset.from_list([{"prompt": row.prompt, "completion": f" {row.completion}"} for row in own["rows"]])
        trainer = SFTTrainer(
            own["hf_model"], args=arguments, train_dataset=data, processing_class=own["tokenizer"],
            callbacks=[uw.SnapshotCallback(at=(0.05, 0.1))],
        )  # fmt: skip
        trainer.train()
    index = uw.GradientIndex.build(uw.load_model(tmp_path / "sft/snapshots/05"), own["rows"], dimension=4096)
    assert len(index.row_ids) == 8
    assert (tmp_path / "sft/snapshots/10/adapter_model.safetensors").is_file()


def test_pieces(own):
    from unweave.data.batches import collate
    from unweave.data.encoding import EncodingConfig, encode_rows
    from unweave.gradients import per_sample_gradients, select_parameters
    from unweave.sketch import Fold

    examples = encode_rows(own["rows"], own["tokenizer"], EncodingConfig()).examples
    sketch, out = Fold(4096), torch.zeros(8, 4096)
    parameters = select_parameters(own["hf_model"], "lora")
    per_sample_gradients(
        own["hf_model"], collate(examples, pad_token_id=0), parameters, lambda name, piece: sketch.add(out, name, piece.flatten(1), torch.ones(8))
    )  # fmt: skip
    assert (out.norm(dim=1) > 0).all()
