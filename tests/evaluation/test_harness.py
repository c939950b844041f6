"""Tasks of lm-evaluation-harness in an audit: a task in a folder, and log-likelihoods computed here as the reference."""

import json

import pytest
import torch

from tests.folders import write_rows
from tests.jobs.test_audit_rows import world  # noqa: F401
from unweave.cli.main import main
from unweave.errors import ConfigError, MissingExtraError
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.harness import harness_scores
from unweave.jobs.audit import audit_models
from unweave.models.loading import ModelConfig, load

DOCUMENTS = [
    {"question": "what is the capital of France ?", "choices": ["Paris", "Tokyo"], "answer": 0},
    {"question": "what is the capital of Japan ?", "choices": ["Paris", "Tokyo", "Lima"], "answer": 1},
    {"question": "hello", "choices": ["world", "moon"], "answer": 0},
]
TASK = """\
task: capitals
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: " "
metric_list: [{{metric: acc}}]
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "tasks"
    folder.mkdir()
    file = write_rows(tmp_path / "documents.jsonl", DOCUMENTS)
    (folder / "capitals.yaml").write_text(TASK.format(file=file))
    return folder


def likeliest(model, document):
    """The choice whose tokens have the largest summed log-probability after the question."""
    sums = []
    ahead = model.tokenizer(document["question"], add_special_tokens=False).input_ids
    for choice in document["choices"]:
        ids = model.tokenizer(f"{document['question']} {choice}", add_special_tokens=False).input_ids
        with torch.inference_mode():
            values = model.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        sums.append(sum(values[place - 1, ids[place]].item() for place in range(len(ahead), len(ids))))
    return max(range(len(sums)), key=sums.__getitem__)


@pytest.mark.filterwarnings("default")
def test_the_tasks_of_a_folder_are_scored_for_each_model(world, tasks, tmp_path, capsys):  # noqa: F811
    line = [
        "audit",
        "--forget",
        str(world / "forget.jsonl"),
        "--before",
        str(world / "one"),
        "--after",
        str(world / "two"),
    ]
    line += [
        "--lm-eval",
        "capitals",
        "--lm-eval-include",
        str(tasks),
        "--output-dir",
        str(tmp_path / "out"),
        "--attacks",
        "--probes",
    ]
    assert main([*line, "--max-new-tokens", "1", "--gradnorm-rows", "0", "--dtype", "float32"]) == 0
    found = json.loads((tmp_path / "out/metrics.json").read_text())["lm_eval"]["capitals"]["acc"]
    assert found["count"] == 3
    right = {}
    for label, name in (("before", "one"), ("after", "two")):
        model = load(ModelConfig(model=str(world / name), dtype="float32"))
        right[label] = [float(likeliest(model, one) == one["answer"]) for one in DOCUMENTS]
        assert found[label]["value"] == pytest.approx(sum(right[label]) / 3)
        kept = json.loads((tmp_path / f"out/lm_eval.{label}.json").read_text())
        assert kept["scores"]["capitals"]["acc"] == right[label]
    assert found["change"]["value"] == pytest.approx((sum(right["after"]) - sum(right["before"])) / 3)
    assert "tasks of the harness" in capsys.readouterr().out
    assert "Tasks of the harness" in (tmp_path / "out/audit.html").read_text()


def test_tasks_without_the_harness_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lm_eval.models.huggingface", None)
    base = {"before": "x", "after": "y", "forget": tmp_path / "forget.jsonl", "output_dir": tmp_path / "out"}
    with pytest.raises(MissingExtraError, match=r"unweave\[lm-eval\]"):
        harness_scores(None, ("capitals",), include=None, limit=None)
    with pytest.raises(ConfigError, match="`lm_eval_limit`"):
        audit_models(AuditConfig(**base, lm_eval_limit=3))
