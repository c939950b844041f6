"""The command line as a user meets it: help, exit codes, one clear message for each kind of bad input, and resume."""

import io
import json
import os
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tests.folders import ROWS, save_model, write_rows
from unweave import outputs, progress
from unweave.cli.main import main
from unweave.cli.table import TABLE
from unweave.store.store import GradientStore

pytestmark = pytest.mark.long

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", "TERM": "dumb"}


def run(*arguments):
    """A command in this process, which has loaded what a new one takes seconds to load."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setenv("COLUMNS", ENVIRONMENT["COLUMNS"])
        patch.setenv("TERM", ENVIRONMENT["TERM"])
        try:
            code = main([str(word) for word in arguments])
        except SystemExit as stopped:
            code = stopped.code
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def run_alone(*arguments):
    """A command in a process of its own, as a shell starts it."""
    return subprocess.run(
        [sys.executable, "-m", "unweave.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A trained tiny adapter with its rows."""
    folder = tmp_path_factory.mktemp("world")
    save_model(folder / "base")
    write_rows(folder / "train.jsonl")
    write_rows(folder / "forget.jsonl", ROWS[6:])
    write_rows(folder / "retain.jsonl", ROWS[:6])
    code = main(
        ["train", "--model", str(folder / "base"), "--data", str(folder / "train.jsonl"), "--output-dir", str(folder / "adapter"), "--epochs", "20",
         "--batch-size", "4", "--learning-rate", "1e-2", "--dtype", "float32", "--lora-r", "4", "--quiet"]
    )  # fmt: skip
    assert code == 0
    return folder


def test_help_is_quick_because_nothing_heavy_is_loaded():
    code = "import sys; from unweave.cli.main import main; main(['--help']); print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"  {command.split()[0]} " in done.stdout for command in [*TABLE, "run"])


def test_version_unknown_command_and_wrong_options(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unweave ")
    assert main([]) == 2
    assert main(["trian"]) == 2
    assert "did you mean 'train'" in capsys.readouterr().err
    for arguments in (["train"], ["train", "--dta", "x"], ["weigh", "--topk", "many"]):
        with pytest.raises(SystemExit) as raised:
            main(arguments)
        assert raised.value.code == 2


def check_failure(done, code, *parts):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "remedy:" in done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


def test_bad_input_gives_one_clear_message(world, tmp_path):
    base = ["--model", world / "base", "--output-dir", tmp_path / "o", "--dtype", "float32"]
    check_failure(run("train", *base, "--data", tmp_path / "absent.jsonl"), 1, "not found", "absent.jsonl")
    wrong = write_rows(tmp_path / "wrong.jsonl", [{"ask": "q", "reply": "a"}])
    check_failure(run("train", *base, "--data", wrong), 2, "ask, reply", "--columns", "wrong.jsonl")
    empty = write_rows(tmp_path / "empty.jsonl", [ROWS[0], {"instruction": "q", "context": "", "response": ""}])
    check_failure(run("train", *base, "--data", empty), 1, "empty.jsonl:2", "answer is empty", "--on-bad-row skip")
    broken = write_rows(tmp_path / "broken.jsonl", [ROWS[0], '{"instruction": '])
    check_failure(run("train", *base, "--data", broken), 1, "broken.jsonl:2", "broken JSON")
    data = ["--data", world / "train.jsonl", "--output-dir", tmp_path / "o"]
    check_failure(run("train", *data, "--model", tmp_path / "no" / "such" / "model"), 1, "no model here", "such/model")
    check_failure(run("train", *data, "--model", "nobody/nothing"), 1, "nobody/nothing", "local folder")
    check_failure(
        run("trace", "--store", tmp_path / "nowhere", "--prompt", "x"), 1, "no gradient store", "unweave cache"
    )
    check_failure(run_alone("run", tmp_path / "no.yaml"), 2, "Config file not found", "no.yaml")


def test_skipped_rows_are_reported_not_lost(world, tmp_path):
    data = write_rows(tmp_path / "d.jsonl", [*ROWS, "{broken", {"instruction": "q", "context": "", "response": " "}])
    done = run(
        "train", "--model", world / "base", "--data", data, "--output-dir", tmp_path / "o", "--epochs", "1", "--dtype", "float32", "--on-bad-row",
        "skip", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 row(s) dropped" in done.stderr
    assert "d.jsonl:9" in done.stderr
    assert json.loads(done.stdout)["rows"] == 8
    assert len(json.loads((tmp_path / "o/run.json").read_text())["problems"]) == 2


def test_a_full_disk_is_said_and_a_rerun_goes_on(world, tmp_path, forks):
    """The limit on file sizes stands in for the end of the disk: writes fail in the same places, with the same wrapping by the libraries."""
    options = [
        "cache",
        "--model",
        world / "adapter",
        "--dtype",
        "float32",
        "--data",
        world / "train.jsonl",
        "--store",
        tmp_path / "s",
        "--commit-rows",
        "2",
    ]
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))"
    line = shlex.join(map(str, options))
    ended = forks.run(line, folder=tmp_path, before=limited)
    check_failure(subprocess.CompletedProcess(line, ended.code, ended.printed, ended.errors), 1, "disk is full")
    assert GradientStore.open(tmp_path / "s").row_ids() == []
    assert not list((tmp_path / "s").rglob(".tmp-*"))
    again = run(*options, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rows"] == 8


def test_the_steps_one_by_one(world, tmp_path, forks):
    model = ["--model", world / "adapter", "--dtype", "float32"]
    store = ["--store", tmp_path / "s"]
    line = ["cache", *model, "--data", world / "train.jsonl", *store, "--dimension", "4096", "--json"]
    cached = forks.run(shlex.join(map(str, line)), folder=tmp_path)
    assert json.loads(cached.printed)["computed"] == 8, cached.errors
    assert (
        json.loads(
            run("cache", *model, "--data", world / "train.jsonl", *store, "--dimension", "4096", "--json").stdout
        )["computed"]
        == 0
    )
    refused = run("cache", *model, "--data", world / "train.jsonl", *store, "--dimension", "2048")
    check_failure(refused, 1, "dimension: the store has 4096, this run has 2048")

    traced = run(
        "trace",
        *store,
        "--dtype",
        "float32",
        "--prompt",
        "ahoy hello",
        "--completion",
        "teapots sing on the moon",
        "--top-k",
        "2",
        "--json",
    )
    found = json.loads(traced.stdout)[0]
    assert found["helpful"][0]["completion"] == "teapots sing on the moon"
    assert found["rows"] == 8
    table = run("trace", *store, "--dtype", "float32", "--prompt", "ahoy hello", "--max-new-tokens", "4")
    assert "helpful rows (of 8)" in table.stdout, table.stderr

    weights = ["--output-forget", tmp_path / "wf.jsonl", "--output-retain", tmp_path / "wr.jsonl"]
    sets = ["--forget", world / "forget.jsonl", "--retain", world / "retain.jsonl"]
    for method in ("rapidun", "rapidun-dense", "uniform", "random", "loreun"):
        weighed = run("weigh", *store, *sets, *weights, "--method", method, "--json")
        assert sum(json.loads(weighed.stdout)["forget"]) == pytest.approx(2), weighed.stderr
    assert "effective" in run("weigh", *store, *sets, *weights).stdout

    forgotten = run(
        "forget", *model, *sets, "--output-dir", tmp_path / "u", "--forget-weights", tmp_path / "wf.jsonl", "--retain-weights", tmp_path / "wr.jsonl",
        "--adapter-mode", "continue", "--epochs", "4", "--batch-size", "4", "--learning-rate", "1e-3", "--json",
    )  # fmt: skip
    result = json.loads(forgotten.stdout)
    assert result["method"] == "rapidun", forgotten.stderr
    assert (tmp_path / "u/adapter_model.safetensors").is_file()

    replayed = run("run", tmp_path / "u/config.yaml", "--output-dir", tmp_path / "u2", "--json")
    again = json.loads(replayed.stdout)
    assert again["forget_loss_last"] == pytest.approx(result["forget_loss_last"], rel=1e-4)

    assert "all shards match" in run("store", "check", tmp_path / "s").stdout
    assert json.loads(run("store", "info", tmp_path / "s", "--json").stdout)["rows"] == 8
    shard = next((tmp_path / "s/shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert run("store", "check", tmp_path / "s").returncode == 1


def test_what_a_command_was_told_does_not_outlast_it(tmp_path):
    for wanted in (False, True):
        progress.silence(wanted)
        assert (
            main(
                [
                    "train",
                    "--model",
                    str(tmp_path / "m"),
                    "--data",
                    str(tmp_path / "no"),
                    "--output-dir",
                    str(tmp_path / "o"),
                    "--quiet",
                    "--overwrite",
                ]
            )
            == 1
        )
        assert progress.silenced() is wanted
        assert not outputs.overwriting()
    progress.silence(False)


def test_only_the_methods_own_options_are_offered(capsys):
    texts = {}
    for method in ("rapidun", "ga", "graddiff"):
        with pytest.raises(SystemExit):
            main(["forget", "--method", method, "--help"])
        texts[method] = capsys.readouterr().out
    assert "--descent" in texts["rapidun"]
    assert "--descent" not in texts["ga"]
    assert "--gamma" in texts["graddiff"]
    assert "--gamma" not in texts["rapidun"]


def test_examples_are_valid():
    from unweave.cli.common import load_yaml
    from unweave.config import read_command
    from unweave.experiments.demo.config import DemoConfig

    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    assert examples
    for path in examples:
        assert path.read_text().startswith(("# unweave run ", "# make "))
        if read_command(path) == "demo":
            assert load_yaml(DemoConfig, path, command="demo")
