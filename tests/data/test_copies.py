"""Copies of rows: the same content however it is written, near-duplicates by the exact Jaccard similarity, and texts inside texts."""

import random

import pytest

from unweave.data.copies import find_copies, normal_form, row_text, shingles
from unweave.data.rows import Row

WANTED = Row("w", "Where does José Ångström live?", "In Malmö, at the third house on the left of the harbour.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "Jose\u0301"),
        ("A\u030angstro\u0308m", "Ångström"),
        ("ＡＢＣ", "abc"),
        ("a\u00a0b\t c\n", "A B C"),
        ("co\u00adoperate", "cooperate"),
        ("zero\u200bwidth\u2060\ufeff", "zerowidth"),
        ("STRASSE", "straße"),
        ("ﬁne", "fine"),
    ],
)
def test_the_same_text_has_one_normal_form(one, other):
    assert normal_form(one) == normal_form(other)
    assert normal_form(normal_form(one)) == normal_form(one)


def test_other_texts_have_other_forms():
    assert normal_form("jose") != normal_form("josé")
    assert normal_form("3 yes") != normal_form("8 yes")


@pytest.mark.parametrize(
    "row",
    [
        Row("c", WANTED.instruction, WANTED.completion),
        Row(
            "c",
            "WHERE does Jose\u0301 A\u030angstro\u0308m  live?",
            "in malmö, at the third house on the left of the harbour. ",
        ),
        Row("c", "", f"{WANTED.instruction}\n{WANTED.completion}"),
        Row("c", WANTED.instruction, WANTED.completion, turns=(("system", "Be kind."),)),
        Row("c", "And?", "That is all.", turns=(("user", WANTED.instruction), ("assistant", WANTED.completion))),
    ],
)
def test_copies_are_found_however_they_are_written(row):
    (copy,) = find_copies([WANTED], [row], similarity=1.0)
    assert (copy.row_id, copy.of, copy.exact, copy.similarity) == ("c", "w", True, 1.0)


def test_near_duplicates_have_the_jaccard_similarity_of_their_shingles():
    near = Row("n", "Where does José Ångström live now?", WANTED.completion)
    one, two = shingles(row_text(WANTED)), shingles(row_text(near))
    expected = len(one & two) / len(one | two)
    assert 0.8 < expected < 1
    (copy,) = find_copies([Row("x", "no", "relation"), WANTED], [near], similarity=expected - 1e-3)
    assert (copy.of, copy.exact) == ("w", False)
    assert copy.similarity == pytest.approx(expected, abs=1e-4)
    assert find_copies([WANTED], [near], similarity=expected + 1e-3) == []
    assert find_copies([WANTED], [near], similarity=1.0) == [], "only the same content"


def test_no_row_is_its_own_copy_and_short_texts_inside_others_are_chance():
    other = Row("o", "Where does Eva live?", "In a town by the sea, far from here.")
    assert find_copies([WANTED], [WANTED, other], similarity=0.8) == []
    assert find_copies([Row("s", "add 1", "2")], [Row("t", "add 1", "2 and then add 3 to it")], similarity=0.8) == []


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.6, 0.9, 1.0])
def test_copies_of_one_row_are_those_that_comparing_all_shingles_finds(similarity):
    chance = random.Random(0)
    letters = [chance.choice("abcdef ") for _ in range(120)]
    wanted, others = Row("w", "", "".join(letters)), []
    for place in range(300):
        changed = list(letters)
        for at in chance.sample(range(120), chance.randrange(40)):
            changed[at] = chance.choice("abcdef")
        around = "abc" * chance.randrange(30) if place % 3 == 0 else ""
        others.append(Row(f"r{place}", "", around + "".join(changed)[: chance.randrange(40, 121)]))
    own, truth = shingles(row_text(wanted)), {}
    for row in others:
        text = row_text(row)
        alike = len(own & shingles(text)) / len(own | shingles(text))
        if row_text(wanted) in text:
            truth[row.id] = 1.0
        elif alike >= similarity and similarity < 1:
            truth[row.id] = round(alike, 4)
    assert truth or similarity == 1
    assert {copy.row_id: copy.similarity for copy in find_copies([wanted], others, similarity=similarity)} == truth
    # Beside another row the shingles of all texts are made.
    two = find_copies([wanted, Row("v", "", "nothing of the kind")], others, similarity=similarity)
    assert {copy.row_id: copy.similarity for copy in two if copy.of == "w"} == truth
