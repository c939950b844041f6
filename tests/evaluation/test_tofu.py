"""TOFU's files, logs and scores: against numbers computed here step by step as the paper says, and on a tiny model from file to score."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hmean, ks_2samp

from tests.folders import save_model
from tests.reference import loop_gradients
from unweave.cli.main import main
from unweave.data.encoding import EncodingConfig, encode_prompt, encode_rows
from unweave.errors import DataError
from unweave.evaluation.tofu import evaluate
from unweave.evaluation.tofu.config import TofuConfig
from unweave.evaluation.tofu.evaluate import evaluate_tofu
from unweave.evaluation.tofu.files import read_test
from unweave.evaluation.tofu.logs import TESTS, read_log
from unweave.evaluation.tofu.scores import forget_quality, nine_numbers, score_logs
from unweave.models import generation
from unweave.models.loading import ModelConfig, load


def made_log(seed, *, shift=0.0, samples=40):
    rng = np.random.default_rng(seed)
    log = {}
    for file in TESTS.values():
        own = rng.exponential(1.0, samples)
        paraphrased = rng.exponential(1.0, samples) + (shift if "forget" in file else 0)
        perturbed = rng.exponential(2.0, (samples, 5))
        columns = {
            "avg_gt_loss": own.tolist(),
            "avg_paraphrased_loss": paraphrased.tolist(),
            "average_perturb_loss": perturbed.tolist(),
            "rougeL_recall": rng.random(samples).tolist(),
        }
        # Samples in no order: scores must go by their index.
        order = rng.permutation(samples)
        log[file] = {name: {str(i): values[i] for i in order} for name, values in columns.items()}
    return log


def by_the_paper(log, *, averaging="geometric"):
    """Truth ratios of the forget rows and the nine numbers, from the definitions in TOFU's sections 2.2.1 to 2.2.3."""
    numbers, forget = [], None
    for file, test in log.items():
        keys = sorted(test["avg_gt_loss"], key=int)
        own, para, wrong, rouge = (
            np.array([test[name][key] for key in keys])
            for name in ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss", "rougeL_recall")
        )
        many = np.exp(-wrong.mean(axis=1)) if averaging == "geometric" else np.exp(-wrong).mean(axis=1)
        ratio = many / np.exp(-para)
        if "forget" in file:
            forget = ratio
            continue
        chance = np.exp(-own)
        if "real" in file:
            chance = chance / (chance + np.exp(-wrong).sum(axis=1))
        numbers += [chance.mean(), rouge.mean(), np.maximum(0, 1 - ratio).mean()]
    return forget, numbers


def test_scores_agree_with_the_definitions(tmp_path, capsys):
    own, reference = made_log(0, shift=0.7), made_log(1)
    (tmp_path / "own.json").write_text(json.dumps(own))
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "eval_log_aggregated.json").write_text(json.dumps(reference))
    assert main(["audit", "tofu-log", str(tmp_path / "own.json"), "--reference", str(folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    ratios, numbers = by_the_paper(own)
    other_ratios, other_numbers = by_the_paper(reference)
    expected = ks_2samp(ratios, other_ratios).pvalue
    assert printed["forget_quality"] == pytest.approx(expected, rel=1e-9)
    assert printed["log10_forget_quality"] == pytest.approx(math.log10(expected))
    assert printed["model_utility"] == pytest.approx(hmean(numbers))
    assert printed["reference_model_utility"] == pytest.approx(hmean(other_numbers))
    # TOFU's own utils.py takes the arithmetic mean for the utility, and the geometric one for the forget quality.
    arithmetic = [hmean(by_the_paper(log, averaging="arithmetic")[1]) for log in (own, reference)]
    assert printed["model_utility_arithmetic"] == pytest.approx(arithmetic[0])
    assert printed["reference_model_utility_arithmetic"] == pytest.approx(arithmetic[1])
    assert abs(printed["model_utility_arithmetic"] - printed["model_utility"]) > 0.01
    assert set(printed["formulas"]) == {"model_utility", "model_utility_arithmetic"}
    assert 0 < printed["forget_quality"] < 0.05


def test_logs_may_be_folders_of_single_files_and_lack_what_is_not_needed(tmp_path):
    log = made_log(2)
    for file in ("eval_log_forget.json", "eval_log.json"):
        (tmp_path / file).write_text(json.dumps(log[file]))
    found = score_logs(tmp_path, tmp_path)
    assert (found.forget_quality, found.model_utility) == (1.0, None)
    del log["eval_log_forget.json"]["rougeL_recall"]
    (tmp_path / "eval_log_forget.json").write_text(json.dumps(log["eval_log_forget.json"]))
    assert "rouge" not in score_logs(tmp_path, tmp_path).forget
    (tmp_path / "eval_log_forget.json").unlink()
    with pytest.raises(DataError, match="eval_log_forget"):
        score_logs(tmp_path, tmp_path)


def test_a_useless_model_has_no_utility_and_a_diverged_one_no_quality(tmp_path):
    log = made_log(3)
    keys = list(log["eval_log.json"]["rougeL_recall"])
    log["eval_log.json"]["rougeL_recall"] = dict.fromkeys(keys, 0.0)
    log["eval_log_forget.json"]["avg_paraphrased_loss"][keys[0]] = float("nan")
    (tmp_path / "log.json").write_text(json.dumps(log))
    found = score_logs(tmp_path / "log.json", tmp_path / "log.json")
    assert found.model_utility == 0.0
    assert math.isnan(found.forget_quality)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda test: test.pop("avg_paraphrased_loss"), "avg_paraphrased_loss"),
        (lambda test: test["avg_gt_loss"].pop("3"), "such as 3"),
        (lambda test: test["average_perturb_loss"].update({"3": []}), "no perturbed answer"),
        (lambda test: test["avg_gt_loss"].update({"3": "much"}), "no number"),
    ],
)
def test_broken_logs_are_named(tmp_path, change, message):
    log = made_log(4)
    change(log["eval_log_forget.json"])
    (tmp_path / "log.json").write_text(json.dumps(log))
    with pytest.raises(DataError, match=message) as raised:
        read_log(tmp_path / "log.json")
    assert "eval_log_forget.json" in str(raised.value)


def test_no_log_is_said(tmp_path):
    (tmp_path / "log.json").write_text("{}")
    with pytest.raises(DataError, match="no TOFU evaluation log"):
        read_log(tmp_path / "log.json")
    with pytest.raises(DataError, match="not found"):
        read_log(tmp_path / "absent.json")


@pytest.fixture
def tofu_files(tmp_path):
    folder = tmp_path / "tofu"
    folder.mkdir()
    for stem in ("forget10_perturbed", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed"):
        items = [
            {"question": f"what is the capital of {place} ?", "answer": town, "perturbed_answer": ["red", "blue moon"]}
            for place, town in (("France", "Paris"), ("Japan", "Tokyo"), ("Peru", "Lima"))
        ]
        if "real" not in stem and "world" not in stem:
            items = [item | {"paraphrased_answer": f"the answer is {item['answer']}"} for item in items]
        (folder / f"{stem}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_a_model_is_evaluated_from_tofus_files(tofu_files, tmp_path):
    model = str(save_model(tmp_path / "model"))
    config = TofuConfig(model=model, dtype="float32", data=tofu_files, output_dir=tmp_path / "out", max_new_tokens=3)
    result = evaluate_tofu(config)
    log = read_log(tmp_path / "out")
    assert result["model_utility"] == pytest.approx(
        hmean(list(nine_numbers(log).values())) if min(nine_numbers(log).values()) else 0.0
    )
    # The losses are those of the plain loop over examples.
    loaded = load(ModelConfig(model=model, dtype="float32"))
    item = read_test(tofu_files, "forget", forget="forget10", rows=9)[1]
    rows = [item.row.with_completion(text) for text in (item.row.completion, item.paraphrased, *item.perturbed)]
    examples = encode_rows(rows, loaded.tokenizer, EncodingConfig()).examples
    name = next(name for name, _ in loaded.model.named_parameters())
    expected = loop_gradients(loaded.model, examples, [name])[1]
    test = log.test("forget")
    found = [test.answer_losses[1], test.paraphrased_losses[1], *test.perturbed_losses[1]]
    assert found == pytest.approx(expected, rel=1e-4)
    assert log.test("real_authors").paraphrased_losses == log.test("real_authors").answer_losses
    again = evaluate_tofu(
        TofuConfig(**{**config.__dict__, "reference": tmp_path / "out", "output_dir": tmp_path / "again"})
    )
    assert again["forget_quality"] == pytest.approx(forget_quality(test, test)[0])


def test_prompt_and_answer_have_tofus_length_by_default(tofu_files, tmp_path, monkeypatch):
    loaded = load(ModelConfig(model=str(save_model(tmp_path / "model")), dtype="float32"))
    # A model that never ends: every answer is as long as it may be.
    monkeypatch.setattr(generation._Stop, "of", classmethod(lambda cls, *_: cls(frozenset(), None)))
    monkeypatch.setattr(evaluate, "OFFICIAL_LENGTH", 24)
    seen = {}

    def watched(loaded, rows, encoding, **options):
        answers = generation.greedy_answers(loaded, rows, encoding, **options)
        for row, answer in zip(rows, answers, strict=True):
            seen[row.id] = len(encode_prompt(row, loaded.tokenizer, encoding)), answer
        return answers

    monkeypatch.setattr(evaluate, "greedy_answers", watched)
    tests = {"retain": read_test(tofu_files, "retain", forget="forget10", rows=3)}
    tests["retain"][0] = replace(tests["retain"][0], row=replace(tests["retain"][0].row, instruction="add a b c d"))
    evaluate.measure_tofu(loaded, tests, EncodingConfig(), max_new_tokens=None)
    lengths = {prompt for prompt, _ in seen.values()}
    assert len(lengths) > 1, "prompts of different lengths, in one batch"
    for prompt, answer in seen.values():
        assert len(loaded.tokenizer(answer, add_special_tokens=False).input_ids) <= 24 - prompt
    whole = generation.greedy_answers(
        loaded, [tests["retain"][0].row], EncodingConfig(), max_new_tokens=24 - seen["retain/1"][0]
    )
    assert whole == [seen["retain/1"][1]]


def test_broken_tofu_files_are_named_by_line(tofu_files):
    path = tofu_files / "retain_perturbed.jsonl"
    path.write_text(path.read_text() + '{"question": "q", "answer": "a"}\n')
    with pytest.raises(DataError, match="perturbed_answer") as raised:
        read_test(tofu_files, "retain", forget="forget10", rows=9)
    assert f"{path}:4" in str(raised.value)
    with pytest.raises(DataError, match="forget01_perturbed"):
        read_test(tofu_files, "forget", forget="forget01", rows=9)
