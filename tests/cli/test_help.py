"""`--help`, old names and completion: all of them walk the table of commands."""

import dataclasses
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from unweave.cli import renamed
from unweave.cli.common import Common, common_of
from unweave.cli.main import main
from unweave.cli.options import GROUPS as OPTION_GROUPS
from unweave.cli.options import options_of
from unweave.cli.renamed import option_of
from unweave.cli.running import config_of
from unweave.cli.table import BUILT_IN, GROUPS, TABLE
from unweave.errors import DataError
from unweave.models.holding import HOLDING
from unweave.models.loading import ModelConfig

GLOSSARY = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text()
HEAVY = ("torch", "transformers")
WALK = f"""
import sys
from unweave.cli.main import main
from unweave.cli.table import GROUPS, TABLE
for name in [*GROUPS, *TABLE, "run"]:
    try:
        main([*name.split(), "--help"])
    except SystemExit as stop:
        assert stop.code == 0, name
    print("loaded by", name, sorted({{*{HEAVY!r}}} & set(sys.modules)))
"""


@dataclass(frozen=True, kw_only=True)
class Own(ModelConfig):
    """Do a thing.

    Attributes:
        place: Where.
        data: The rows.
        many: Numbers.
        retrain: Whether again.
        model: Which one.
    """

    place: Annotated[Path, tyro.conf.Positional]
    data: Path
    many: tuple[int, ...] = (1, 2)
    retrain: bool = True
    model: str = "m"


def helped(*arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_of_every_command_loads_no_torch():
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("loaded by")]
    assert lines == [f"loaded by {name} []" for name in [*GROUPS, *TABLE, "run"]]
    assert done.stdout.count("usage: unweave ") == len(lines)
    assert done.stdout.count("--json") >= len(lines) - 1


def test_every_option_of_every_command_says_what_it_is():
    for name, command in TABLE.items():
        kind, about = config_of(command, [])
        assert about, name
        options = options_of(kind, common_of(kind, name))
        assert [one.name for one in options if not one.text] == [], name
        assert (
            len({one.name for one in options})
            == len(options)
            == len(dataclasses.fields(kind)) + len(dataclasses.fields(common_of(kind, name)))
        )


def test_every_option_in_the_glossary_is_one_of_some_command():
    named = set(re.findall(r"`--([a-z-]+)[` ]", GLOSSARY.partition("## Names of an earlier release")[0]))
    known = set()
    for name, command in TABLE.items():
        kind, _ = config_of(command, [])
        known |= {one.flag[2:] for one in options_of(kind, common_of(kind, name))}
    assert len(named) > 40
    assert named <= known


def test_options_are_grouped_a_commands_own_before_what_it_shares():
    options = {one.name: one for one in options_of(Own, Common)}
    groups = {group: [name for name, one in options.items() if one.group == group] for group in OPTION_GROUPS}
    assert groups["required"] == ["place", "data"]
    assert groups["options"] == ["many", "retrain"]
    assert groups["model"] == ["model", "adapter", "revision", *HOLDING]
    assert groups["run"] == ["config", "json", "quiet"]
    assert options["many"].usage == "--many INT ..."
    assert options["many"].default == "1 2"
    assert options["retrain"].usage == "--retrain, --no-retrain"
    assert options["place"].usage == "PLACE"
    assert options["model"].text == "Which one."
    assert options["dtype"].choices[0] == "auto"


def test_usage_names_what_is_required_and_a_config_file_gives(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = helped("request", "run", capsys=capsys)
    assert text.startswith("usage: unweave request run REQUEST --ledger PATH [OPTIONS]\n")
    assert max(map(len, text.splitlines())) <= 100
    assert [line[:-1] for line in text.splitlines() if line[:-1] in OPTION_GROUPS] == [*OPTION_GROUPS]
    path = tmp_path / "c.yaml"
    path.write_text("data: rows.jsonl\nstore: s\ndimension: 64\n")
    text = helped("cache", "--config", str(path), capsys=capsys)
    assert text.startswith("usage: unweave cache [OPTIONS]\n")
    assert "K, the length of a sketch. (default: 64)" in " ".join(text.split())


def test_names_of_an_earlier_release_work_with_a_notice(capsys, tmp_path):
    assert main(["methods", "--json"]) == 0
    found = capsys.readouterr()
    assert '"rapidun"' in found.out
    assert found.err.splitlines()[0].startswith("note: `unweave methods` is now called `unweave list methods`")
    with pytest.raises(SystemExit):
        main(["request", "verify", "--ledger", "l", "--rows=5", "--wrong"])
    assert "note: `--rows` is now called `--max-rows`" in capsys.readouterr().err
    path = tmp_path / "tofu.yaml"
    path.write_text("command: audit tofu\nforget: forget05\ndata: d\noutput-dir: o\n")
    text = helped("audit", "tofu", "--config", str(path), capsys=capsys)
    assert "(default: forget05)" in text
    pairs = [f"| `unweave {old}` | `unweave {new}` |" for old, new in renamed.COMMANDS.items()]
    for command, names in renamed.OPTIONS.items():
        pairs += [f"| `unweave {command} {option_of(old)}` | `{option_of(new)}` |" for old, new in names.items()]
    assert [pair for pair in pairs if pair not in GLOSSARY] == []
    for old, new in renamed.COMMANDS.items():
        assert old not in TABLE
        assert new.partition(" ")[0] in TABLE
    for name, options in renamed.OPTIONS.items():
        fields = {field.name for field in dataclasses.fields(config_of(TABLE[name], [])[0])}
        assert set(options.values()) <= fields, name
        assert not set(options) & fields, name


def test_an_argument_that_an_error_names_is_shown_as_the_option_that_it_is(monkeypatch, capsys):
    def fails(config):
        # A file may have the name of an argument, and `elsewhere` is none.
        raise DataError("No.", lines=["`system`"], where="`top_k`, `elsewhere`, html", remedy="leave `store` out")

    monkeypatch.setattr("unweave.jobs.trace.trace_answers", fails)
    assert main(["trace", "--store", "s"]) == 1
    assert capsys.readouterr().err.split("\n")[1:4] == [
        "  --system",
        "  where: --top-k, `elsewhere`, html",
        "  remedy: leave --store out",
    ]


def test_a_word_that_is_no_command_is_answered_with_the_nearest(capsys):
    assert main(["value", "scor"]) == 2
    assert "did you mean 'score'" in capsys.readouterr().err
    assert main(["audit", "influenc"]) == 2
    assert "did you mean 'influence'" in capsys.readouterr().err
    assert main(["value"]) == 2
    assert "usage: unweave value COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "name", "text"), [
    ("sketches", "fold", "The fold+roll sketch"), ("attacks", "relearn", "Relearning"), ("preconditioners", "cg", "Conjugate gradients"),
    ("scorers", "gradnorm", "whatever the query"), ("layouts", "Dolly", "`instruction` and `context`"), ("engines", "ray", "actors"),
    ("weights", "signed", "retain rows"),
])  # fmt: skip
def test_lists_of_what_there_is(kind, name, text, capsys):
    assert main(["list", kind]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == [name]]
    assert text in line


def test_the_entries_that_a_plug_in_adds_are_listed(monkeypatch, capsys):
    from unweave.engines.registry import ENGINES

    def mine(config):
        """Cache in a way of its own."""

    monkeypatch.setitem(ENGINES, "mine", mine)
    assert main(["list", "engines"]) == 0
    assert "Cache in a way of its own." in capsys.readouterr().out


def completed(script, *words):
    """What bash offers at the end of a line."""
    line = " ".join(f"'{word}'" for word in ("unweave", *words))
    code = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _unweave; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_options_and_choices(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    firsts = [*dict.fromkeys(name.partition(" ")[0] for name in TABLE), *BUILT_IN]
    assert completed(script, "") == firsts
    assert completed(script, "value", "s") == ["score", "select"]
    assert completed(script, "cache", "--sk") == ["--sketch", "--sketch-seed"]
    assert completed(script, "cache", "--sketch", "f") == ["fold"]
    assert completed(script, "audit", "influence", "--curv") == ["--curvature"]
    assert completed(script, "audit", "tofu") == ["tofu-log", "tofu"]
    assert completed(script, "list", "ske") == ["sketches"]
    assert completed(script, "cache", "--data", "") == []


def test_other_shells_have_scripts_of_their_own(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert all(line.startswith("complete -c unweave -n ") for line in lines)
    assert any("-l sketch -xa 'fold" in line for line in lines)
