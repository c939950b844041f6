"""Names in Markdown are names: no markup, no link, no row of a table, no key of the front matter."""

import ast
import html
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from unweave.markdown import code, front_matter, literal, plain
from unweave.visible import one_line

HOSTILE = [
    "a | b",
    "`x` ``y`` `",
    "<script>alert(1)</script>",
    "[go](http://x.example)",
    "![i](http://x.example/i.png)",
    "*b* __c__ ~~d~~ _e_ f_g",
    "---",
    "# h",
    "1. one",
    "- item",
    "+ item",
    "=====",
    "> quote",
    "&amp; &lt;",
    "\\",
    "http://x.example www.x.example a@b.example",
    "$x$",
    "line\n---\nkey: v\n\n| a |",
    "\x1b[31m\u202e",
    "x: y # z",
]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20), st.text("`|*_[]()<>#~\\&$!-+.=1: \na", max_size=12))
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


def shown(markdown):
    page = MARKDOWN.render(markdown)
    assert not re.search(r"<(?!/?(p|h1|table|thead|tbody|tr|th|td|code)\b)", page), page
    return page


def inner(page, tag):
    return html.unescape(re.search(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)[1])


@given(TEXTS.filter(lambda text: text.strip()))
def test_a_text_is_shown_as_it_is(text):
    expected = " ".join(one_line(text).split())
    assert " ".join(inner(shown(f"# {plain(text)}\n"), "h1").split()) == expected
    assert " ".join(inner(shown(f"{plain(text).strip()}\n"), "p").split()) == expected


@given(TEXTS, TEXTS)
def test_a_cell_stays_a_cell(left, right):
    page = shown(f"| a | b |\n|---|---|\n| x{plain(left)} | {code('x' + right, cell=True)} |\n")
    cells = re.findall(r"<td>(.*?)</td>", page, flags=re.DOTALL)
    assert [" ".join(html.unescape(re.sub("</?code>", "", cell)).split()) for cell in cells] == [
        " ".join(one_line("x" + side).split()) for side in (left, right)
    ]


@pytest.mark.parametrize("text", ["http://x.example", "see www.x.example", "a@b.example"])
def test_addresses_are_no_links(text):
    assert plain(text) != text


@given(TEXTS)
def test_the_front_matter_is_one_document_with_the_names_in_it(text):
    values = {"base_model": text, "tags": ["unweave", text]}
    written = front_matter(values)
    assert written.startswith("---\n")
    assert written.endswith("---\n")
    assert yaml.safe_load(written[4:-4]) == values
    assert all(one == "\n" or one_line(one) == one for one in written)
    assert "\n---" not in written[:-4]


def test_a_plain_name_is_written_plainly():
    assert (
        front_matter({"base_model": "/models/a b_c", "tags": ["x"]})
        == "---\nbase_model: /models/a b_c\ntags:\n- x\n---\n"
    )
    assert literal("/models/a") == '"/models/a"'
    assert plain("fine_tuned-v1.5 (lora)") == "fine_tuned-v1.5 (lora)"
    assert code("a_b") == "`a_b`"


@given(TEXTS)
def test_an_example_holds_the_name_as_a_string(text):
    assert "\n" not in literal(text)
    if one_line(text) == text:
        assert ast.literal_eval(literal(text)) == text
