"""What hides in a text is shown, whatever it is; what belongs to a script stays."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unweave.visible import csv_cell, csv_text, json_text, one_line, visible

HIDDEN = (
    [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
    + [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xAD)]
    + [chr(code) for code in (0x200B, 0x2060, 0xFEFF, 0x2028, 0x2029, 0x180E, 0x034F, 0x3164, 0x115F, 0xFFA0, 0x2800)]
    + [chr(code) for code in (0xD800, 0xDFFF, 0xE000, 0xFFFE, 0xE0001, 0xE0041, 0xE007F, 0xE0100, 0xF0000, 0x10FFFF)]
)
# Of all that Unicode has, and of what hides far more often than chance has it.
TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from(HIDDEN), st.sampled_from("\u200c\u200d\ufe0f😀👩❤1#ا\n\t⟨U+'=")),
    max_size=30,
)


def hides(character):
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} and character not in (
        "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    )


@pytest.mark.parametrize("character", HIDDEN, ids=lambda one: f"U+{ord(one):04X}")
def test_each_hidden_character_is_written_as_its_code_point(character):
    assert visible(f"a{character}b") == one_line(f"a{character}b") == f"a⟨U+{ord(character):04X}⟩b"


@given(TEXTS)
def test_nothing_hides_in_what_is_shown(text):
    for shown, kept in ((visible(text), "\n\t"), (one_line(text), "")):
        left = [one for one in shown if hides(one)]
        assert set(left) <= {*kept, "\u200c", "\u200d"}
        assert "\n" in kept or "\n" not in shown


@given(TEXTS)
def test_what_is_shown_once_is_shown(text):
    assert visible(visible(text)) == visible(text)
    assert one_line(one_line(text)) == one_line(text)
    assert one_line(visible(text)) == one_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "plain words, 1.5 % – “quoted”…",
        "naïve ǅ é 日本語　한국어 हिन्दी ไทย",
        "שלום עולם",
        "مرحبا بالعالم",
        "می‌خواهم",
        "क्‍ष",
        "👩🏽‍🚀 👨‍👩‍👧‍👦 ❤️‍🔥 🏳️‍🌈 1️⃣ ©️ 🇩🇪 ☎︎",
        "no\xa0break, \u2009thin",
        "two\nlines\tand a tab",
    ],
)
def test_text_of_every_script_stays(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    "text",
    ["a\u200db", "\u200d", "😀\u200d", "😀\u200d\u200d😀", "😀\u200d\u202e", "a\ufe0f", "😀\ufe0f\ufe0f", "ا\u200c"],
)
def test_joiners_that_join_nothing_are_hidden(text):
    assert "⟨U+" in visible(text)


def test_a_line_of_ones_own_is_for_texts_only():
    assert one_line("r1\nok  all is well\t\r") == "r1⟨U+000A⟩ok  all is well⟨U+0009⟩⟨U+000D⟩"
    assert one_line(3) == "3"


@given(TEXTS, st.booleans())
def test_json_is_the_same_data(text, ascii_only):
    written = json_text({"a": [text], text: 1.5}, indent=2, ascii_only=ascii_only)
    # Two halves of a character that stand side by side are one character in JSON.
    if not any(unicodedata.category(one) == "Cs" for one in text):
        assert json.loads(written) == {"a": [text], text: 1.5}
    assert written.isascii() or not ascii_only
    assert visible(written) == written


@given(TEXTS)
def test_a_cell_gives_its_text_back(text):
    assert csv_text(csv_cell(text)) == text
    assert "\n" not in csv_cell(text)
    assert "\r" not in csv_cell(text)


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "--1", "-x"]
)
def test_no_cell_is_a_formula(text):
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize("text", ["-5", "+1.5", "-1e-05", "r1", "", "a=b", "1-2"])
def test_numbers_and_words_are_none(text):
    assert csv_cell(text) == text


def test_unicode_as_it_is_here_is_covered():
    shown = visible("".join(map(chr, range(sys.maxunicode + 1))))
    left = {one for one in shown if hides(one)} - {"\n", "\t"}
    assert left == set()
