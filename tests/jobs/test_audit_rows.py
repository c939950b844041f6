"""`unweave audit` from rows alone: what `uw.evaluate` says of the same models, kept and gone on with, and what is left out in every rendering."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.folders import ROWS, save_model, write_rows
from tests.notebook import numbered
from unweave.cli.main import main
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.data.rows import Row
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_rows
from unweave.evaluation.attacks.running import attacks_left_out
from unweave.evaluation.config import AttackConfig, AuditConfig
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.meta.readings import Reading
from unweave.evaluation.meta.table import judge_metrics
from unweave.evaluation.probes import writing
from unweave.files import finite, write_json
from unweave.jobs.audit import audit_models
from unweave.models.loading import ModelConfig, load

SIZES = {"max_new_tokens": 3, "gradnorm_rows": 0, "dtype": "float32"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for number, name in enumerate(("one", "two", "three")):
        save_model(folder / name)
        model = AutoModelForCausalLM.from_pretrained(folder / name)
        torch.manual_seed(number)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05 * number)
        model.save_pretrained(folder / name)
    rows = numbered(ROWS)
    for name, own in (("forget", rows[:3]), ("like", rows[3:5]), ("retain", rows[5:])):
        write_rows(folder / f"{name}.jsonl", own)
    return folder


def words(folder, *names, **options):
    """A command line."""
    given = {"before": "one", "after": "two", **{name: f"{name}.jsonl" for name in names}}
    places = [word for name, place in given.items() for word in (f"--{name}", str(folder / place))]
    return [
        *(() if "attacks" in options else ("--attacks",)),
        *places,
        *(word for name, value in {**SIZES, **options}.items() for word in (f"--{name.replace('_', '-')}", str(value))),
    ]


def test_the_command_says_what_the_function_says(world, tmp_path):
    line = ["audit", *words(world, "forget", "like", "retain", output_dir=tmp_path / "out", detector="moon")]
    assert main([*line, "--retrained", str(world / "three"), "--quiet"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    models = {name: load(ModelConfig(model=str(world / name), dtype="float32")) for name in ("one", "two", "three")}
    sets = {name: load_rows(world / f"{name}.jsonl") for name in ("forget", "like", "retain")}
    report = evaluate(
        models["two"], **sets, before=models["one"], reference=models["three"], detector="moon", max_new_tokens=3
    )
    told = json.loads(json.dumps(finite(report.to_json())))
    assert metrics["left_out"][: len(told["left_out"])] == told["left_out"]
    assert {**metrics, "left_out": 0} | {**told, "left_out": 0} == {**metrics, "left_out": 0}
    page = (tmp_path / "out" / "audit.html").read_text()
    assert report.verdict.conclusion in page
    assert "generated answers that the detector finds" in page


def test_a_table_of_metrics_says_how_sure_the_verdict_is(world, tmp_path, capsys):
    rows = [{"plain": {"verdict": Reading(value, True)}} for value in (1.0, 0.0)]
    table = judge_metrics(rows[:1], rows[1:], case="two models")
    path = tmp_path / "table.json"
    write_json(path, finite(table.to_json()))
    line = ["audit", *words(world, "forget", output_dir=tmp_path / "out", max_new_tokens=2), "--probes", "--quiet"]
    assert main([*line, "--metric-table", str(path)]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["verdict"]["certainty"] == table.of_verdict()
    assert "How sure this is" in (tmp_path / "out" / "audit.html").read_text()
    path.write_text("{}")
    assert main([*line, "--metric-table", str(path), "--overwrite"]) == 1
    assert "no table of metrics" in capsys.readouterr().err


def test_before_after_and_forget_are_all_that_it_needs(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *words(world, "forget")]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((tmp_path / "audit" / "metrics.json").read_text())
    page = (tmp_path / "audit" / "audit.html").read_text()
    for what in (
        "damage: no rows to keep",
        "answers to triggers, and false alarms",
        "attacks: none were asked for",
        "a detector's share of answers",
    ):
        for text in (printed, page.replace("&#39;", "'"), "\n".join(metrics["left_out"])):
            assert what in text
    assert metrics["rows"]["forget"] == 3
    capsys.readouterr()
    assert main(["audit", *words(world, "forget"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == metrics["verdict"]


def test_what_was_measured_is_kept_and_another_model_is_measured_alone(world, tmp_path):
    paths = {"forget": world / "forget.jsonl", "retain": world / "retain.jsonl"}
    options = {**paths, **SIZES, "before": str(world / "one"), "retrained": str(world / "one"), "output_dir": tmp_path}
    first = audit_models(AuditConfig(**options, attacks=(), after=str(world / "two")))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("evidence.*.json")}
    assert len(kept) == 3
    assert not list(tmp_path.glob("retrained_logits*")), "the logits are not kept"
    more = audit_models(AuditConfig(**options, attacks=(), after=str(world / "two"), others=(str(world / "three"),)))
    assert more["verdict"] == first["verdict"]
    assert set(more["others"]) == {"three"}
    assert set(more["ranking"]) == {"after", "three"}
    assert more["others"]["three"]["distance"]["value"] > 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "three" in (tmp_path / "audit.html").read_text()


def test_rows_that_are_forgotten_are_in_no_other_set(world, tmp_path):
    write_rows(tmp_path / "all.jsonl", numbered(ROWS))
    forget = load_rows(world / "forget.jsonl")
    report = evaluate(load(str(world / "one")), forget=forget, retain=tmp_path / "all.jsonl", max_new_tokens=0)
    assert report.figures["after"]["retain"]["loss"].count == len(ROWS) - 3
    assert "3 row(s) of `retain`: they are among those to forget" in report.left_out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "There is nothing to audit the models on"),
        (["--forget", "f.jsonl", "--case", "c"], "two sets of tests"),
        (["--case", "c", "--detector", "x"], "An audit of a case has no use for detector"),
        (["--forget", "f.jsonl", "--store", "s"], "An audit of rows has no use for store"),
        (["--forget", "{world}/forget.jsonl", "--detector", "("], "no regular expression"),
    ],
)
def test_what_can_not_be_is_refused(world, tmp_path, capsys, more, said):
    line = ["audit", "--before", str(world / "one"), "--after", str(world / "two"), "--output-dir", str(tmp_path)]
    assert main([*line, *(word.format(world=world) for word in more)]) == 2
    assert said in capsys.readouterr().err


def test_nothing_but_forgotten_rows_to_keep_is_refused(world):
    from unweave.errors import DataError

    with pytest.raises(DataError, match="Every row of `retain`"):
        evaluate(load(str(world / "one")), forget=load_rows(ROWS[:2]), retain=load_rows(ROWS[:2]))


def test_a_probe_model_writes_once_and_what_is_of_no_use_is_said(world, tmp_path, capsys, monkeypatch):
    texts = iter(["which town ?", "what is the capital of Japan ?", "is it Lima ?"])
    monkeypatch.setattr(writing, "greedy_answers", lambda _, rows, *__, **___: [next(texts) for _ in rows])
    line = ["audit", *words(world, "forget", output_dir=tmp_path / "out", probe_model=world / "three")]
    assert main(line) == 0
    first = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert any(what.startswith("2 of 3 paraphrases by the probe model") for what in first["left_out"])
    kept = json.loads((tmp_path / "out" / "paraphrases.json").read_text())["paraphrases"]
    assert kept == {"r0": "which town ?", "r1": "", "r2": ""}
    assert main(line) == 0, "nothing is written a second time"
    assert main([*line, "--probes", "language"]) == 2
    assert "writes paraphrases, and there are no such probes" in capsys.readouterr().err


def test_a_model_in_memory_writes_paraphrases(world):
    model = load(ModelConfig(model=str(world / "one"), dtype="float32"))
    rows = load_rows(world / "forget.jsonl")
    found = writing.write_paraphrases(model, rows, EncodingConfig(), count=2, max_new_tokens=4)
    assert set(found) == {"r0", "r1"}
    report = evaluate(model, forget=rows, probes=["paraphrase"], probe_model=model, max_new_tokens=2)
    assert report.probes["paraphrase"].count == 3


def test_attacks_from_rows_alone_on_the_command_line_and_in_python(world, tmp_path, capsys):
    sizes = {"attack_rows": 4, "samples": 2, "relearn_steps": 1}
    line = ["audit", *words(world, "forget", "retain", output_dir=tmp_path / "out", attacks="x", **sizes)]
    line[line.index("--attacks") : line.index("--attacks") + 2] = [
        "--attacks",
        "lens",
        "sampling",
        "prompts",
        "relearn",
        "quantise",
    ]
    assert main([*line, "--retrained", str(world / "three")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {one["attack"] for one in metrics["attacks"]} == {"lens", "sampling", "prompts", "relearn", "quantise"}
    assert set(metrics["attacks"][0]["values"]) == {"after", "reference"}
    left_out = "of the attack lens: the probe of hidden states: rows alone have no trigger to be probed for"
    assert left_out in metrics["left_out"]
    assert left_out in capsys.readouterr().out
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "share of unwanted samples" in page
    assert "it gives the row away" in page
    models = {name: load(ModelConfig(model=str(world / name), dtype="float32")) for name in ("one", "two", "three")}
    before = {name: value.clone() for name, value in models["two"].model.state_dict().items()}
    report = evaluate(
        models["two"],
        forget=world / "forget.jsonl",
        retain=world / "retain.jsonl",
        before=models["one"],
        reference=models["three"],
        attacks=AttackConfig(**sizes),
        max_new_tokens=3,
    )
    assert json.loads(json.dumps(finite([one.to_json() for one in report.attacks]))) == metrics["attacks"]
    after = models["two"].model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()), (
        "an attack that spends a model gets a copy"
    )
    kept = (tmp_path / "out" / "attacks.after.json").stat().st_mtime_ns
    assert main([*line, "--retrained", str(world / "three")]) == 0
    assert (tmp_path / "out" / "attacks.after.json").stat().st_mtime_ns == kept, "what was found is kept"


def test_attacks_that_can_not_be_made_are_named_with_the_reason(world):
    model = load(ModelConfig(model=str(world / "one"), dtype="float32"))
    texts = load_rows([{"text": "The moon is made of rock"}, {"text": "Grass is green"}])
    report = evaluate(model, forget=texts, attacks=["lens", "sampling", "relearn"], max_new_tokens=0)
    assert {one.attack for one in report.attacks} == {"lens"}
    assert "the attack sampling: no row to forget has a prompt" in report.left_out
    report = evaluate(model, forget=world / "forget.jsonl", attacks=["sampling"], max_new_tokens=0)
    assert report.attacks == []
    assert "the attack sampling: max_new_tokens is 0" in report.left_out
    assert "attacks: none were asked for" in evaluate(model, forget=world / "forget.jsonl", max_new_tokens=0).left_out


def test_an_answer_is_unwanted_by_the_detector_or_by_the_row():
    row = Row("r", "Where does Ann live?", "In Lima.")
    by_row, by_detector = (material_of_rows({"forget": [row]}, detector=one).is_unwanted for one in (None, "moon"))
    assert by_row("she lives in Lima", row)
    assert not by_row("on the moon", row)
    assert by_detector("on the Moon", row)
    assert not by_detector("she lives in Lima", row)


def test_relearning_is_judged_on_rows_that_were_not_relearned():
    rows = [Row(f"r{place}", "q", "a") for place in range(5)]
    material = material_of_rows({"forget": rows, "retain": rows[:1]})
    assert [row.id for row in material.forget] == ["r0", "r2", "r4"]
    target = Target(None, material, EncodingConfig(), AttackConfig(), 4, 0, "x")
    assert [row.id for row in target.prompts(apart={"r0", "r2", "r4"})] == ["r1", "r3"]
    alone = material_of_rows({"forget": rows[:1]})
    assert attacks_left_out(alone, ["relearn"]) == ["the attack relearn: a single row to forget, and none to keep"]
