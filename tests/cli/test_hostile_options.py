"""Every option of every command with the worst of values: a wrong call or a named fault of the user's, never a bug, never a hang.

The options are those of the argument parser, so that a new one is tried as well. Nothing is computed: loading a model ends the command. A sample runs with the
suite; `UNWEAVE_FUZZ=100000 pytest tests/cli/test_hostile_options.py` tries all there are.
"""

import contextlib
import dataclasses
import io
import os
import random
import signal
import typing
from pathlib import Path

import pytest
import transformers
import tyro

from tests.folders import save_model, write_rows
from tests.store.test_store import fill, make_spec
from unweave.cli.main import main
from unweave.errors import ModelError
from unweave.store.store import GradientStore

BUDGET = int(os.environ.get("UNWEAVE_FUZZ", "120"))
SECONDS = 20
NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "",
    "1e400",
    "1e308",
    "-0.0",
    str(2**63),
    "9" * 5000,
    "1_0",
    "0x1",
    "1.5",
)
TEXTS = (
    "",
    " ",
    ".",
    "..",
    "/",
    "-",
    "\ud800",
    "\x1b[31m",
    "x" * 5000,
    "a=b",
    "a/b",
    "nope",
    "=",
    "{}",
    "(",
    "%s",
    "2020-99-99",
    "cuda:99",
)

COMMANDS = {
    "demo": "--output-dir OUT",
    "case": "--output-dir OUT",
    "train": "--model BASE --data ROWS --output-dir OUT",
    "rows": "--data ROWS --model BASE",
    "doctor": "--model BASE --data ROWS",
    "plan": "--model BASE --data ROWS",
    "cache": "--model BASE --data ROWS --store OUT",
    "trace": "--store STORE --prompt p --completion c --model BASE",
    "value score": "--model BASE --data ROWS --tasks t=ROWS --output OUT.csv",
    "value fit": "--data ROWS --values VALUES --output-dir OUT --student BASE",
    "value predict": "--data ROWS --student BASE --output-dir OUT",
    "value select": "--data ROWS --values VALUES --output OUT.jsonl --budget-rows 1",
    "value curve": "--model BASE --data ROWS --values VALUES --test ROWS --output-dir OUT",
    "value report": "--data ROWS --values VALUES --output OUT.html",
    "weigh": "--forget-rows ROWS --store STORE --output OUT.jsonl",
    "forget": "--model BASE --forget ROWS --retain ROWS --output-dir OUT",
    "fix": "--model BASE --data ROWS --prompt p --output-dir OUT",
    "list": "methods",
    "completion": "bash",
    "audit": "--before BASE --after BASE --output-dir OUT",
    "audit influence": "--store STORE --output-dir OUT",
    "audit tofu": "--model BASE --data ROWS --output-dir OUT",
    "request add": "--ledger LEDGER --data ROWS --model BASE --row-ids r0",
    "request list": "--ledger LEDGER",
    "request run": "r1 --ledger LEDGER",
    "request verify": "r1 --ledger LEDGER",
    "request rollback": "r1 --ledger LEDGER",
    "request key": "--output OUT",
    "request sign": "r1 --ledger LEDGER --sign OUT",
    "request export": "r1 --ledger LEDGER --output OUT.json",
    "request cancel": "r1 --ledger LEDGER",
    "bench forgetting": "--output-dir OUT",
    "bench attribution": "--model BASE --output-dir OUT --measures recall --scorers random --seeds 0 --rows 36 --asked 2",
    "report": "--run OUT",
    "serve": "STORE --export OUT",
    "store": "info STORE",
    "run": "NO.yaml",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    save_model(folder / "BASE")
    write_rows(folder / "ROWS", [{"id": f"r{i}", "prompt": f"add {i}", "completion": "yes"} for i in range(3)])
    (folder / "ROWS").rename(folder / "ROWS.jsonl")
    (folder / "VALUES.csv").write_text("id,line,t,loss\nr0,1,0.5,1.0\nr1,2,0.1,1.0\nr2,3,-0.5,1.0\n")
    fill(GradientStore.create(folder / "STORE", make_spec()), ["r0", "r1", "r2"])
    (folder / "garbage").write_bytes(b"\x00\xff{[\n" * 50)
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    (folder / "broken").symlink_to(folder / "nowhere")
    (folder / "loop").symlink_to(folder / "loop")
    return folder


def paths(folder):
    names = (
        "garbage",
        "empty",
        "folder",
        "broken",
        "loop",
        "nowhere",
        "nowhere/deeper",
        "garbage/below",
        "ROWS.jsonl",
        "BASE",
        "x" * 300,
    )
    return (*(str(folder / name) for name in names), "/dev/null", "", ".", "/", "\udcff", "hub/none")


def words(folder, command):
    line = COMMANDS[command]
    for name in ("BASE", "ROWS", "VALUES", "STORE", "LEDGER", "OUT"):
        found = next((path.name for path in folder.glob(f"{name}*")), name)
        line = line.replace(name, str(folder / found))
    return [*command.split(), *line.split()]


def options(command, folder):
    """Option to type, as the argument parser has them."""
    seen = []

    def note(kind, **_):
        seen.append(kind)
        raise SystemExit(2)

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.suppress(SystemExit),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        patch.setattr(tyro, "cli", note)
        main(words(folder, command))
    return {
        field.name: hint
        for kind in seen[:1]
        for field in dataclasses.fields(kind)
        for hint in [typing.get_type_hints(kind)[field.name]]
    }


def values(hint, folder):
    """Hostile values for a type."""
    parts = {
        hint,
        *typing.get_args(hint),
        *(inner for part in typing.get_args(hint) for inner in typing.get_args(part)),
    }
    found = []
    if Path in parts:
        found += paths(folder)
    if str in parts:
        found += [*TEXTS, *paths(folder), f"a={folder / 'garbage'}"]
    if parts & {int, float}:
        found += NUMBERS
    return list(dict.fromkeys(found)) or ["nope"]


def all_cases(folder):
    return [
        (command, name, value)
        for command in COMMANDS
        for name, hint in options(command, folder).items()
        if hint is not bool
        for value in values(hint, folder)
    ]


def stopped(*_, **__):
    raise ModelError("No model in this test.")


def outcome(folder, command, name, value):
    """The exit code, and what was told; a hang is an error of its own."""
    told = io.StringIO()

    def alarm(*_):
        raise TimeoutError(f"{command} --{name} {value!r} hangs")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                code = main([*words(folder, command), f"--{name.replace('_', '-')}", value])
            except SystemExit as stop:
                code = stop.code
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, told.getvalue()


@pytest.fixture
def no_models(monkeypatch, tmp_path):
    for name in ("AutoModelForCausalLM", "AutoModel"):
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", stopped)
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNWEAVE_TRACEBACK", raising=False)


def test_no_value_of_an_option_is_a_bug(world, no_models):
    cases = all_cases(world)
    assert {command for command, *_ in cases} >= set(COMMANDS) - {"run", "list", "completion"}
    sample = random.Random(0).sample(cases, min(BUDGET, len(cases)))
    faults = []
    for case in sample:
        code, told = outcome(world, *case)
        if "bug in unweave" in told or "hangs" in told or code not in (0, 1, 2, 3):
            faults.append((*case, code, told[-400:]))
    assert not faults, "\n".join(map(str, faults))
