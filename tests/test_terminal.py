"""What reaches the terminal: no control character of a row, a name, an error or a library; JSON stays exact."""

import ast
import io
import json
import logging
import sys
from pathlib import Path

import pytest

from unweave import progress, terminal
from unweave.cli.main import main
from unweave.errors import DataError, UnweaveError

HOSTILE = "r1\x1b]0;OWNED\x07\x1b[2J\u202e\x9b1m\u2028\x7f\r\nok\ud800"
SHOWN = "r1⟨U+001B⟩]0;OWNED⟨U+0007⟩⟨U+001B⟩[2J⟨U+202E⟩⟨U+009B⟩1m⟨U+2028⟩⟨U+007F⟩⟨U+000D⟩⟨U+000A⟩ok⟨U+D800⟩"
SOURCES = Path(terminal.__file__).parent


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def printed(capsys):
    out, err = capsys.readouterr()
    for text in (out, err):
        assert not {
            one for one in text if (ord(one) < 32 and one != "\n") or 0x7F <= ord(one) < 0xA0 or one in "\u202e\u2028"
        }
    return out, err


def test_every_way_to_print_shows_what_hides(capsys):
    with terminal.screens():
        terminal.line(HOSTILE)
        terminal.labelled("prompt", "a\nanswer: forged\x1b")
        terminal.print_table(HOSTILE, [HOSTILE, "[red]n[/]"], [[HOSTILE, "[/b]"]])
        terminal.warn(HOSTILE)
        terminal.print_error(str(UnweaveError(HOSTILE, where=HOSTILE, remedy=HOSTILE, lines=[HOSTILE])))
        progress.say(HOSTILE)
    out, err = printed(capsys)
    assert out.startswith(SHOWN + "\nprompt: a\n        answer: forged⟨U+001B⟩\n")
    assert "[red]n[/]" in out
    assert "[/b]" in out
    assert err.splitlines()[:5] == [SHOWN, f"error: {SHOWN}", f"  {SHOWN}", f"  where: {SHOWN}", f"  remedy: {SHOWN}"]


def test_libraries_go_through_it(capsys):
    with terminal.screens():
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": HOSTILE}))
        print(HOSTILE, file=sys.stderr)  # noqa: T201
    _, err = printed(capsys)
    assert err.count("⟨U+001B⟩]0;OWNED") == 2


def test_bars_of_libraries_are_drawn_in_their_place():
    stream = io.StringIO()
    screen = terminal.Screen(stream)
    screen.write("\r 10 %|#  \x1b[31m")
    screen.write("\n\x1b[A")
    assert stream.getvalue() == "\r 10 %|#  ⟨U+001B⟩[31m\n\x1b[A"


def test_streams_are_given_back(capsys):
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), terminal.screens():
        assert isinstance(sys.stdout, terminal.Screen)
        with terminal.screens():
            assert not isinstance(sys.stdout.stream, terminal.Screen)
        1 / 0  # noqa: B018
    assert (sys.stdout, sys.stderr) == before


def test_json_is_exact_and_harmless(capsys):
    value = {"id": HOSTILE, "text": "naïve 日本 😀"}
    with terminal.screens():
        terminal.print_json(value)
    out, _ = printed(capsys)
    assert json.loads(out) == value
    assert "日本" in out


def test_json_for_a_terminal_of_few_letters_is_exact_too(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    terminal.print_json({"a": "é\x1b"})
    sys.stdout.flush()
    assert json.loads(written.getvalue()) == {"a": "é\x1b"}


def test_a_terminal_gets_colors_and_no_sequences_of_rows(monkeypatch):
    stream = Tty()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with terminal.screens():
        terminal.print_table("title", ["row"], [["\x1b]8;;http://x.example\x1b\\here \x1b[8mhidden"]])
    text = stream.getvalue()
    assert "\x1b[1m" in text
    assert "\x1b]8" not in text
    assert "\x1b[8m" not in text
    assert "⟨U+001B⟩]8;;http://x.example" in text.replace("\n", "").replace(" ", "")


def test_a_bar_on_a_terminal_shows_names_as_they_are(monkeypatch):
    stream = Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    progress.begin(quiet=False)
    with terminal.screens(), progress.task("cache [/b] \x1b[8m", 3) as advance:
        advance(1)
        progress.say("said \x1b]8;;http://x.example\x1b\\")
        sys.stderr.write("\x1b[8mby a library\n")
        advance(2)
    text = stream.getvalue()
    assert "cache [/b] ⟨U+001B⟩[8m" in text
    assert "said ⟨U+001B⟩]8" in text
    assert "\x1b[8m" not in text
    assert "\x1b]8" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["no\x1b[31m"],
        ["trace", "--no\x1b[31m"],
        ["report", "--run", "x", "--json", "--quiet", "--no\x1b[31m"],
        ["run", "\x1b[31m.yaml"],
    ],
)
def test_wrong_calls_are_told_without_their_sequences(arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    _, err = printed(capsys)
    assert code == 2
    assert "⟨U+001B⟩[31m" in err


def test_help_has_its_colors_only_where_nobody_else_speaks(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for arguments, has_colors in ((["list", "--help"], True), (["list", "--help", "\x1b[8m"], False)):
        stream = Tty()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit):
            main(arguments)
        assert ("\x1b[" in stream.getvalue()) == has_colors


def test_a_bug_is_told_on_two_lines_and_its_traceback_is_shown(monkeypatch, capsys):
    def broken(_):
        raise KeyError(HOSTILE)

    monkeypatch.setattr("unweave.jobs.listing.list_names", broken)
    monkeypatch.delenv("UNWEAVE_TRACEBACK", raising=False)
    assert main(["list", "methods"]) == 1
    _, err = printed(capsys)
    assert len(err.splitlines()) == 2
    monkeypatch.setenv("UNWEAVE_TRACEBACK", "1")
    assert main(["list", "methods"]) == 1
    _, err = printed(capsys)
    assert "Traceback" in err


def test_no_name_in_an_error_begins_a_line_of_its_own():
    error = DataError("Row 'a\n  remedy: run this' is bad.", where="x\n  remedy: y", remedy="mend it")
    assert len(str(error).splitlines()) == 3


def test_nothing_prints_but_the_terminal():
    """A new command can't forget it: no module but this one writes to a stream."""
    for path in SOURCES.rglob("*.py"):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("print", "sys.stdout.write", "sys.stderr.write", "traceback.print_exception"), (
                path,
                node.lineno,
            )
            assert not name.endswith("Console"), (path, node.lineno)
