"""Chat templates run in a process of their own: with the same texts as transformers gives, and with limits that hold."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.folders import save_model, write_rows
from tests.tiny import TinyTokenizer
from unweave.cli.main import main
from unweave.data import rendering
from unweave.data.chat import ChatFormat
from unweave.data.rendering import Limits, RefusedError
from unweave.errors import ModelError

MESSAGES = [
    {"role": "system", "content": "a\n b"},
    {"role": "user", "content": "é \ud800 <b> \"q\" 'x'"},
    {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5, None, True]}}}]},
    {"role": "tool", "content": "3", "name": None},
]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
TEMPLATES = [
    "{%- for m in messages %}\n  {{- m.role + ': ' + m.content | trim }}\n{% endfor %}{% if add_generation_prompt %}> {% endif %}",
    "{{ bos_token }}{% for m in messages %}{{ m | tojson }}{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ tools | tojson(indent=2) }}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{{ messages[2].thinking }}",
    "{% macro one(m) %}[{{ m.content }}]{% endmacro %}{% for m in messages %}{{ one(m) }}{% generation %}x{% endgeneration %}{% endfor %}{{ eos_token }}",
    "{{ messages[3].name is defined }}{{ documents }}{{ range(3) | list }}{{ '%05d' % 3 }}",
]  # fmt: skip

BOMBS = {
    "seconds": [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 9) }}",
    ],
    "much memory": ["{{ 'a' * 10 ** 11 }}", "{{ '%0999999999999d' % 5 }}", "{{ ('a' * 10 ** 8).replace('a', 'b' * 10 ** 6) }}"],
    "without an end": ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
    "too much text": ["{{ 'a' * 20000000 }}", "{% for a in range(999) %}{{ 'a' * 99999 }}{% endfor %}"],
}  # fmt: skip


@pytest.fixture
def tokenizer():
    return TinyTokenizer.make()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(rendering, "LIMITS", Limits(seconds=1, bytes=2**28))


def write(tokenizer, messages=MESSAGES, **options):
    template = tokenizer.get_chat_template(tools=options.get("tools"))
    more = {"tools": (), "opening": False, **options}
    return rendering.render(template, messages, **more, tokens=tokenizer.special_tokens_map, name="m")


@pytest.mark.parametrize("template", TEMPLATES)
def test_texts_are_those_of_transformers(tokenizer, template):
    tokenizer.chat_template = template
    for tools in (None, TOOLS):
        for opening in (False, True):
            expected = tokenizer.apply_chat_template(
                MESSAGES, tools=tools, tokenize=False, add_generation_prompt=opening
            )
            assert write(tokenizer, tools=tools or (), opening=opening) == expected


@pytest.mark.parametrize(("what", "template"), [(what, one) for what, own in BOMBS.items() for one in own])
def test_a_template_that_takes_too_much_ends_in_an_error_that_names_the_model(tokenizer, what, template):
    tokenizer.name_or_path, tokenizer.chat_template = "the/model", template
    with pytest.raises(ModelError, match=what) as raised:
        ChatFormat(tokenizer)
    assert raised.value.where == "the/model"
    # The next one is served as if nothing had been.
    tokenizer.chat_template = TEMPLATES[4]
    assert write(tokenizer).startswith("False")


def test_what_a_template_refuses_is_told_in_its_words(tokenizer):
    for template, what in (
        ("{{ raise_exception('no  system\nturn') }}", "no system turn"),
        ("{{ messages[0].content + 3 }}", "TypeError"),
        ("{{ broken", "unexpected|expected"),
        ("{{ messages.append(3) }}", "unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ [][3] + 'a' }}", "no element|undefined|has no"),
    ):
        tokenizer.chat_template = template
        with pytest.raises(RefusedError, match=what):
            write(tokenizer)


def test_a_bomb_that_waits_for_its_row_stops_the_command(tmp_path, capsys):
    base, rows = save_model(tmp_path / "base"), write_rows(tmp_path / "rows.jsonl")
    bomb = "{% for m in messages %}{% if 'Peru' in m.content %}" + BOMBS["seconds"][0] + "{% endif %}{% endfor %}"
    template = (base / "chat_template.jinja").read_text()
    (base / "chat_template.jinja").write_text(bomb + template)
    call = ["train", "--model", str(base), "--data", str(rows), "--output-dir", str(tmp_path / "o"), "--on-bad-row", "skip"]  # fmt: skip
    assert main(call) == 1
    errors = capsys.readouterr().err
    assert "more than 1 seconds" in errors
    assert str(base) in errors
    assert not (tmp_path / "o" / "adapter_model.safetensors").exists()


def test_threads_get_their_own_texts(tokenizer):
    found = {}

    def work(number):
        own = [{"role": "user", "content": f"{number} " * 2000}]
        found[number] = {write(tokenizer, own) for _ in range(20)}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(found[number]) == 1 and f"user {number} {number}" in found[number].pop() for number in range(4))


def _in_a_fork(tokenizer, queue):
    queue.put(write(tokenizer))


def test_a_fork_has_a_process_of_its_own(tokenizer):
    expected = write(tokenizer)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_fork, args=(tokenizer, queue))
    child.start()
    assert queue.get(timeout=120) == expected == write(tokenizer)
    child.join()


def test_the_process_is_started_again_where_it_was_killed(tokenizer):
    expected = write(tokenizer)
    os.kill(rendering._renderer._process.pid, signal.SIGKILL)
    rendering._renderer._process.wait()
    assert write(tokenizer) == expected


def test_the_process_reads_nothing_from_where_the_command_was_typed(tokenizer, tmp_path, monkeypatch):
    for name in ("transformers", "jinja2", "json"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    rendering._renderer.close()
    assert write(tokenizer)
    assert not (tmp_path / "ran").exists()


FUNCTION = """
import importlib, sys
from unweave.data import renderer
kept = importlib.import_module
def failing(name):
    importlib.import_module = kept
    raise ImportError
importlib.import_module = failing if {fails} else kept
render = renderer._renderer_of_transformers()
found = render(conversations=[[{{"role": "user", "content": "hello"}}]], chat_template="{{{{ messages[0].role }}}} {{{{ messages[0].content }}}}")
print(found[0][0], "transformers.utils.hub" in sys.modules)
"""


@pytest.mark.parametrize("fails", [False, True])
def test_of_transformers_the_file_that_renders_is_imported_alone_where_that_will_do(fails):
    """The rest takes a second, which every command would wait for; a release may need it."""
    program = FUNCTION.format(fails=fails)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"user hello {fails}\n"
