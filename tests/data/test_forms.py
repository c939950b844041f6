"""Forms of text: the same words are found however they were typed, and other words are not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unweave.data.forms import composed_form, normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "Jose\u0301"),
        ("José", "Jose\u200d\u0301"),
        ("José", "J\u00ados\ufe0fé"),
        ("Jo\x00sé", "José"),
        ("Jo\x08hn", "John"),
        ("ＪＯＨＮ", "john"),
        ("a\u3164b", "ab"),
        ("O’Brien", "o'brien"),
        ("O`Brien", "O´Brien"),
        ("Jean\u2011Luc", "jean-luc"),
        ("“so”", '"so"'),
        ("ŉ", "'n"),
        ("한국", unicodedata.normalize("NFD", "한국")),
        ("a\u2028b\u00a0c", "A B C"),
    ],
)
def test_the_same_words(one, other):
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("José", "Jose"), ("résumé", "resume"), ("10", "1 0"), ("а", "a")])
def test_other_words(one, other):
    assert normal_form(one) != normal_form(other)


def test_the_composed_form_keeps_case_and_white_space():
    assert composed_form("Jose\u0301  X") == "José  X"
    assert composed_form("id\u200b-１") == "id-1"


@given(st.text())
def test_forms_are_their_own_forms(text):
    for form in (composed_form, normal_form):
        assert form(form(text)) == form(text)
