"""`unweave rows`: what was recognised, and what the model sees and learns of each row; no weights are needed."""

import io
import json

import pytest

from tests.cli.test_cli import run
from tests.data.bytelevel import GEMMA, byte_tokenizer
from tests.folders import ROWS, save_model, write_rows


@pytest.fixture
def folder(tmp_path):
    byte_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path


TALK = {
    "id": "talk",
    "label": 3,
    "messages": [
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "Ann\u001b[31m"},
        {"role": "user", "content": "B?"},
        {"role": "assistant", "content": "second"},
    ],
}


def test_json_holds_each_row_as_the_model_sees_it(folder):
    data = write_rows(folder / "rows.jsonl", [TALK, {"prompt": "q", "completion": "a"}, {"prompt": "x"}])
    done = run("rows", data, "--model", folder / "base", "--on-bad-row", "skip", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["layout"] == "messages"
    assert found["layouts"] == {"messages": 1, "prompt/completion": 1}
    assert found["unused"] == ["label"]
    assert [problem["place"] for problem in found["problems"]] == [f"{data}:3"]
    talk, pair = found["rows"]
    assert talk["id"] == "talk"
    assert talk["learned"] == ["Ann\u001b[31m<|im_end|>", "second<|im_end|>"]
    assert talk["text"].startswith("<|im_start|>user\nA?<|im_end|>\n<|im_start|>assistant\nAnn")
    assert talk["unused"] == ["label"]
    assert (pair["learned"], pair["unused"]) == (["a<|im_end|>"], [])


def test_people_see_brackets_and_no_control_characters(folder):
    data = write_rows(folder / "rows.jsonl", [TALK] * 1 + [{**TALK, "id": str(number)} for number in range(4)])
    done = run("rows", "--data", data, "--model", folder / "base", "--limit", "1", "--loss", "last-turn", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "messages (5 rows)" in done.stdout
    assert "not used: label" in done.stdout
    assert "⟦second<|im_end|>⟧" in done.stdout
    assert done.stdout.count("⟦") == 1
    assert "\u001b[31m" not in done.stdout
    assert "Ann⟨U+001B⟩[31m" in done.stdout


def test_rows_that_the_template_refuses_end_with_file_and_line(folder):
    byte_tokenizer(GEMMA, bos="<bos>").save_pretrained(folder / "gemma")
    records = [{"prompt": "q", "completion": "a"}, {"system": "s", "prompt": "q", "completion": "a"}]
    data = write_rows(folder / "rows.jsonl", records)
    done = run("rows", data, "--model", folder / "gemma", "--quiet")
    assert done.returncode == 1
    assert f"{data}:2: the chat template refuses it: System role not supported" in done.stderr
    done = run("rows", data, "--model", folder / "gemma", "--quiet", "--system-prompt", "Be brief.")
    assert done.returncode == 2
    assert "--system-prompt" in done.stderr


def test_every_command_tells_once_which_columns_are_not_used(tmp_path, monkeypatch):
    save_model(tmp_path / "model")
    data = write_rows(tmp_path / "rows.jsonl", [{**row, "topic": "x"} for row in ROWS])
    told = f"{data}: not used: topic, poisoned"
    small = ("--dtype", "float32", "--device", "cpu")
    wide = ("--parameters", "linear", "--dimension", "256", *small)
    for command in (
        ("train", "--model", tmp_path / "model", "--data", data, "--output-dir", tmp_path / "tuned", *small),
        ("cache", "--model", tmp_path / "model", "--data", data, "--store", tmp_path / "store", *wide),
        ("trace", "--model", tmp_path / "model", "--queries", data, "--store", tmp_path / "store", *small),
        ("plan", "--model", tmp_path / "model", "--data", data, "--store", tmp_path / "planned", *wide),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines().count(told) == 1, (command[0], done.stderr)
    for record in ("tuned/run.json", "store/run.json"):
        assert json.loads((tmp_path / record).read_text())["rows"]["unused"] == ["topic", "poisoned"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "hello", "topic": "x"}')))
    done = run(
        "trace", "--model", tmp_path / "model", "--queries", "-", "--store", tmp_path / "store", *small, "--json"
    )
    assert (done.returncode, done.stderr.count("-: not used: topic")) == (0, 1), done.stderr
    assert json.loads(done.stdout)[0]["prompt"] == "hello"
    shown = run("rows", data, "--model", tmp_path / "model")
    assert (shown.stdout.count("not used: topic, poisoned"), shown.stderr.count("not used")) == (1, 0)
