"""The pages of the site: their Python runs, their commands have the options that they show, their addresses are well formed, and all are listed."""

import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import unweave as uw
from tests.folders import ROWS, write_rows
from tests.notebook import in_memory, write_files
from unweave.cli.common import common_of
from unweave.cli.main import split
from unweave.cli.options import options_of
from unweave.cli.renamed import current_command, current_plan
from unweave.cli.running import config_of
from unweave.cli.table import BUILT_IN, GROUPS, TABLE
from unweave.errors import ConfigError
from unweave.files import write_json

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "own_trainer.md": "tests/test_readme.py",
    "auditing.md": "tests/evaluation/test_docs.py",
}
"""Pages whose examples another test runs, as they need more than the names below."""
ENVELOPE = {"payload": "e30=", "payloadType": "a", "signatures": [{"sig": "AAEC"}]}
WITH_CODE = [name for name, text in TEXTS.items() if "```python" in text and name not in ELSEWHERE]


def fences(text):
    """Language and content of each block of code, and the rest of the page without them."""
    found, prose, inside = [], [], None
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            inside = None if inside is not None else found.append((line.strip("`\n"), [])) or found[-1][1]
        else:
            (prose if inside is None else inside).append(line)
    return [(language, "".join(lines)) for language, lines in found], "".join(prose)


def blocks(text, language):
    return [code for own, code in fences(text)[0] if own == language]


# 2026-11: TRL 1.16 sets what transformers 5 calls by another name
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", WITH_CODE)
def test_the_python_of_a_page_runs(name, tmp_path, monkeypatch):
    """From top to bottom, with a tiny model and rows in memory and in files."""
    monkeypatch.chdir(write_files(tmp_path))
    names = {"uw": uw, **in_memory(tmp_path)}
    if name == "fixing.md":
        write_rows(tmp_path / "rows.jsonl", [{**row, "id": f"ann-{n}"} for n, row in enumerate(ROWS * 4)])
    if name == "reading_scores.md":
        names["index"] = uw.GradientIndex.build(names["model"], names["rows"], dimension=4096)
    if name == "quickstart.md":
        names["hf_model"].config.use_cache = False
    if name == "certificates.md":
        write_json(tmp_path / "certificate.intoto.jsonl", ENVELOPE)
    for number, code in enumerate(blocks(TEXTS[name], "python"), start=1):
        exec(compile(code, f"{name}, block {number}", "exec"), names)
    if name == "certificates.md":
        # What DSSE has signed (its "pre-authentication encoding"): lengths and contents of type and payload.
        assert (tmp_path / "signed").read_bytes() == b"DSSEv1 1 a 2 {}"
        assert (tmp_path / "sig").read_bytes() == b"\0\1\2"


def test_an_example_that_is_wrong_fails():
    with pytest.raises(NameError):
        exec(compile(blocks("```python\nno_such_name\n```", "python")[0], "a page", "exec"), {})


def lines_of(text):
    """The command lines of a page: in blocks that are no Python, and between backticks."""
    found, prose = fences(text.partition("## Names of an earlier release")[0])
    for language, block in found:
        if language in ("", "bash", "console", "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from (one.strip() for one in line.partition(" #")[0].split("&&"))
    yield from (" ".join(one.split()) for one in re.findall(r"`(unweave [^`]+)`", prose))


def commands_of(text):
    """The words behind `unweave`, of each command line."""
    for line in lines_of(text):
        found = re.search(r"(?:^|\s)(?:unweave|-m unweave\.cli\.main) +(\S.*)$", line.removeprefix("$ "))
        if found and not line.startswith(("source", "pip ", "git ", "cd ")):
            yield line, re.split(r"  +(?=[a-z])", found[1])[0]


COMMANDS = [(page, line, words) for page, text in TEXTS.items() for line, words in commands_of(text)]


def options_by_flag(name):
    kind, _ = config_of(TABLE[name], [])
    return {one.flag: one for one in options_of(kind, common_of(kind, name))}


def fault_of(words):
    """What is wrong with a command line; nothing where it would be read."""
    words = shlex.split(words.replace("'", '"') if words.count("'") % 2 else words)
    if words[0] in {*BUILT_IN, "--help", "--version", "COMMAND", "..."} - {"plan"}:
        return None
    if words[0] == "plan":
        words = current_plan(words[1:] or ["cache"])
        if words[0] == "COMMAND":
            return None
    if words[0] in GROUPS and (len(words) == 1 or words[1].startswith("-")):
        return None
    try:
        name, rest = split(current_command(words))
    except ConfigError as error:
        return error.what
    if name not in TABLE:
        return None
    options = options_by_flag(name)
    for place, word in enumerate(rest):
        if not re.match(r"--[a-z]", word) or word in ("--help",):
            continue
        flag, _, value = word.partition("=")
        own = options.get(flag) or options.get(flag.replace("--no-", "--", 1))
        if own is None and name == "forget":
            own = _of_a_method(flag, rest)
        if own is None:
            return f"{name} has no option {flag}"
        value = value or (rest[place + 1] if place + 1 < len(rest) else "")
        if own.choices and re.fullmatch(r"[a-z][a-z0-9_-]*", value) and value not in own.choices:
            return f"{flag} does not take {value}"
    return None


def _of_a_method(flag, rest):
    """An option that one unlearning method has."""
    kind, _ = config_of(TABLE["forget"], rest)
    return {one.flag: one for one in options_of(kind, common_of(kind, "forget"))}.get(flag)


@pytest.mark.parametrize("page", sorted({page for page, _, _ in COMMANDS}))
def test_commands_of_a_page_exist_with_their_options(page):
    faults = {line: fault for name, line, words in COMMANDS if name == page and (fault := fault_of(words))}
    assert faults == {}


def test_faults_are_found():
    assert len(COMMANDS) > 100
    assert fault_of("trace --stor s") == "trace has no option --stor"
    assert fault_of("trace --store s --scorer bm26") == "--scorer does not take bm26"
    assert "Unknown command" in fault_of("tracee --store s")
    assert fault_of("plan cache --data d --store s") is None


def test_addresses_are_well_formed():
    """There is no network to ask whether somebody answers."""
    for name, text in TEXTS.items():
        for address in re.findall(r"\bhttps?:[^\s)>\]`\"']*", text):
            parts = urlsplit(address)
            if parts.hostname == "localhost":
                continue
            assert parts.scheme == "https", (name, address)
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), (name, address)


def test_every_page_is_listed():
    listed = set(re.findall(r"^([a-z_]+)$", TEXTS["index.md"], flags=re.MULTILINE))
    assert {name.removesuffix(".md") for name in PAGES} - {"README", "index"} <= listed


def test_twenty_questions():
    asked = re.findall(r"^### (\d+)\. ", TEXTS["troubleshooting.md"], flags=re.MULTILINE)
    assert asked == [str(number) for number in range(1, 21)]
