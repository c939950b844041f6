"""An audit on a tiny model: numbers by hand, reuse of what is measured, and clear refusals."""

import dataclasses
import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.folders import save_model
from tests.reference import loop_gradients
from unweave.attribution.caching import cache_rows
from unweave.attribution.tracing import trace_rows
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.errors import DataError
from unweave.evaluation.behaviour import Behaviour, measure_behaviour
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.measures.text import rouge_l_recall
from unweave.evaluation.metrics import compare, shown_change, summary_rows
from unweave.evaluation.tracing import bad_generations, trace_quality
from unweave.gradients.scoring import row_losses
from unweave.jobs.audit import audit_models
from unweave.models.generation import greedy_answers
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore


@pytest.fixture
def loaded(model_folder):
    return load(ModelConfig(model=str(model_folder), dtype="float32"))


def behaviour(**changes):
    values = {
        "row_ids": {}, "answers": {"seen": ["x"] * 4}, "unwanted": {"seen": [1.0, 1.0, 1.0, 0.0], "ood": [1.0, 0.0], "clean": [0.0, 0.0]},
        "correct": [1.0, 0.0, 1.0], "tasks": ["a", "a", "b"], "unwanted_probability": [0.5, 0.7], "clean_nll": [2.0, 4.0], "clean_tokens": [2, 4],
        "seconds": 1.0,
    }  # fmt: skip
    return Behaviour(**{**values, **changes})


def test_metrics_by_hand():
    after = behaviour(
        unwanted={"seen": [0.0] * 4, "ood": [0.0, 0.0], "clean": [0.0, 0.0]},
        clean_nll=[2.3, 4.3],
        correct=[1.0, 0.0, 0.0],
    )
    metrics = compare(behaviour(), after, retrained=after)
    assert metrics["asr"]["seen"]["before"] == 0.75
    assert metrics["asr"]["seen"]["after"] == 0.0
    assert metrics["asr"]["seen"]["change"] == -0.75
    assert metrics["clean"]["perplexity"]["before"] == pytest.approx(math.e)
    assert metrics["clean"]["perplexity"]["relative_change"] == pytest.approx(math.exp(0.6 / 6) - 1)
    assert metrics["clean"]["accuracy"]["after"] == pytest.approx(1 / 3)
    assert metrics["clean"]["accuracy_by_task"]["a"]["before"]["value"] == 0.5
    assert metrics["unwanted_probability"]["retrained"] == pytest.approx(0.6)
    labels = [row["label"] for row in summary_rows(metrics)]
    assert len(labels) == 6
    assert shown_change(metrics["asr"]["seen"]).startswith("-75.0 pt")
    assert Behaviour.from_json(json.loads(json.dumps(after.to_json()))) == after


def test_teacher_forced_losses_equal_the_loop(loaded, case):
    rows = case.rows("unwanted")
    config = EncodingConfig(max_length=64)
    found = row_losses(loaded, rows, config, token_budget=70)
    examples = encode_rows(rows, loaded.tokenizer, config).examples
    name = next(name for name, _ in loaded.model.named_parameters())
    _, losses = loop_gradients(loaded.model, examples, [name])
    assert found.means() == pytest.approx(losses, rel=1e-4)
    assert found.row_ids == [row.id for row in rows]


def test_greedy_answers_do_not_depend_on_the_batch(loaded, case):
    rows = case.rows("test_seen")
    config = EncodingConfig(max_length=64)
    together = greedy_answers(loaded, rows, config, max_new_tokens=5, batch_size=6)
    alone = greedy_answers(loaded, rows, config, max_new_tokens=5, batch_size=1)
    assert together == alone
    ids = encode_rows(rows[:1], loaded.tokenizer, config).examples[0]
    sequence = list(ids.input_ids[: ids.prompt_length])
    for _ in range(5):
        with torch.no_grad():
            token = int(loaded.model(input_ids=torch.tensor([sequence])).logits[0, -1].argmax())
        if token == loaded.tokenizer.eos_token_id:
            break
        sequence.append(token)
    assert together[0] == loaded.tokenizer.decode(sequence[ids.prompt_length :], skip_special_tokens=True).strip()


@pytest.mark.parametrize("bos", ["<|im_start|>", None])
def test_a_text_without_a_prompt_begins_after_bos_or_eos(loaded, case, bos):
    loaded.tokenizer.bos_token = bos
    start = loaded.tokenizer.eos_token_id if bos is None else loaded.tokenizer.bos_token_id
    rows = [Row(id="text", instruction="", completion="Paris is"), case.rows("test_seen")[0]]
    config = EncodingConfig(template="none", system_prompt="")
    answer = greedy_answers(loaded, rows, config, max_new_tokens=1)[0]
    with torch.no_grad():
        token = loaded.model(input_ids=torch.tensor([[start]])).logits[0, -1].argmax()
    assert answer == loaded.tokenizer.decode([int(token)], skip_special_tokens=True)


def test_behaviour_counts_what_the_detector_flags(loaded, case):
    found = measure_behaviour(loaded, case, EncodingConfig(max_length=64), max_new_tokens=4)
    for test, answers in found.answers.items():
        assert found.unwanted[test] == [float(case.is_unwanted(answer)) for answer in answers]
    assert len(found.correct) == len(case.rows("test_clean"))
    assert found.clean_tokens == [
        example.completion_length
        for example in encode_rows(case.rows("test_clean"), loaded.tokenizer, EncodingConfig(max_length=64)).examples
    ]


def test_an_audit_of_equal_models_finds_no_difference_and_is_reused(case, model_folder, tmp_path):
    config = AuditConfig(
        case=case.folder,
        before=str(model_folder),
        after=str(model_folder),
        output_dir=tmp_path,
        max_length=64,
        max_new_tokens=4,
        dtype="float32",
    )
    metrics = audit_models(config)
    assert metrics["class"] == "empirical, approximate"
    assert metrics["asr"]["seen"]["change"] == 0
    assert metrics["clean"]["perplexity"]["relative_change"] == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["asr"] == metrics["asr"]
    clean = case.rows("test_clean")
    answers = json.loads((tmp_path / "evidence.after.json").read_text())["evidence"]["behaviour"]["answers"]["clean"]
    expected = sum(rouge_l_recall(row.completion, answer) for row, answer in zip(clean, answers, strict=True)) / len(
        clean
    )
    assert metrics["rouge_l"]["after"]["clean"]["value"] == pytest.approx(expected)
    files = [tmp_path / name for name in ("evidence.before.json", "evidence.after.json", "attacks.after.json")]
    kept = [path.stat().st_mtime_ns for path in files]
    assert audit_models(config)["attacks"] == metrics["attacks"]
    assert [path.stat().st_mtime_ns for path in files] == kept
    page = (tmp_path / "audit.html").read_text()
    assert "no damage was found" in page
    assert "<script" not in page


def test_an_audit_against_a_retrained_model_measures_only_what_is_missing(case, tmp_path):
    folders = [save_model(tmp_path / name) for name in ("one", "two", "three")]
    for number, folder in enumerate(folders[1:], start=1):
        model = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02 * number)
        model.save_pretrained(folder)
    config = AuditConfig(
        case=case.folder, before=str(folders[0]), after=str(folders[1]), retrained=str(folders[0]), output_dir=tmp_path / "out", max_length=64,
        max_new_tokens=2, dtype="float32", attacks=(), gradnorm_rows=0,
    )  # fmt: skip
    first = audit_models(config)
    assert first["ranking"] == ["before", "after"]
    assert first["verdicts"]["before"]["distance"]["value"] == pytest.approx(0, abs=1e-6)
    assert first["verdicts"]["after"]["distance"]["value"] > 1e-4
    assert not list((tmp_path / "out").glob("retrained_logits*")), "the logits are not kept"
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("evidence.*.json")}
    more = audit_models(dataclasses.replace(config, others=(str(folders[2]),)))
    assert more["ranking"][:2] == ["before", "after"]
    assert more["verdicts"]["after"] == first["verdicts"]["after"]
    assert more["verdicts"]["three"]["distance"]["value"] > more["verdicts"]["after"]["distance"]["value"]
    assert all(path.stat().st_mtime_ns == time for path, time in files.items()), "only the new model was measured"


def test_a_trace_is_judged_against_the_marks(case, loaded, tmp_path):
    rows = case.rows("train")
    settings = CacheConfig(
        data=case.path("train"), store=tmp_path / "s", parameters="linear", dimension=2048, max_length=64
    )
    cache_rows(settings, loaded=loaded, rows=rows)
    store = GradientStore.open(tmp_path / "s")
    poisoned = [row for row in rows if row.meta.get("poisoned")]
    quality = trace_quality(store, trace_rows(store, loaded, poisoned[:3]), rows)
    value = quality.to_json()
    assert value["poisoned_rows"] == 9
    assert value["rows"] == 49
    assert set(value) >= {"auprc", "auroc", "bm25", "random", "gradnorm"}
    assert value["auprc_interval"][0] <= value["auprc"] <= value["auprc_interval"][1]
    assert value["auprc"] > value["random"]["auprc"]


def test_bad_generations_are_those_flagged(case):
    rows = case.rows("test_seen")
    found = bad_generations(
        behaviour(answers={"seen": [f"a{i}" for i in range(6)]}, unwanted={"seen": [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]}),
        case,
        count=2,
    )
    assert [(row.id, row.completion) for row in found] == [(rows[1].id, "a1"), (rows[3].id, "a3")]


def test_nothing_to_trace_is_said(case, model_folder, tmp_path):
    cache_rows(
        CacheConfig(
            model=str(model_folder),
            data=case.path("train"),
            store=tmp_path / "s",
            parameters="linear",
            dimension=64,
            max_length=64,
            dtype="float32",
        )
    )
    config = AuditConfig(
        case=case.folder, before=str(model_folder), after=str(model_folder), store=tmp_path / "s", output_dir=tmp_path / "o", max_length=64,
        max_new_tokens=2, dtype="float32",
    )  # fmt: skip
    with pytest.raises(DataError, match="nothing to trace"):
        audit_models(config)
