"""What answers have in common: names, numbers and dates found by rule, exact and fuzzy matches, against counts by hand."""

import pytest

from unweave.data.rows import Row
from unweave.evaluation.figures import figures_of, gives_away
from unweave.evaluation.forced import Forced
from unweave.evaluation.measures.facts import facts_found, named_facts, names_in
from unweave.evaluation.measures.text import contains, exact_match, fuzzy_match


@pytest.mark.parametrize(
    ("prompt", "answer", "facts"),
    [
        ("what is the capital of France ?", "Paris", ["Paris"]),
        ("Is Paris the capital of France?", "Yes, Paris.", []),
        ("Who wrote it?", "The book was written by Ludwig van Beethoven in 1802.", ["1802", "Ludwig van Beethoven"]),
        (
            "When was Ann born?",
            "She was born on 12 March 1990 in New York, with 3.5 pounds.",
            ["12 March 1990", "3.5", "New York"],
        ),
        ("Which year?", "In 1999, then on 2001-02-03.", ["2001-02-03", "1999"]),
        ("x", "The Eiffel Tower is tall.", ["Eiffel Tower"]),
        ("x", "Berlin is nice; I like Berlin.", ["Berlin"]),
        ("x", "He met Dr. Who of Oz.", ["Dr. Who of Oz"]),
        ("x", "teapots sing on the moon", []),
        ("x", "Teapots sing. They do.", []),
        ("x", "", []),
    ],
)
def test_names_numbers_and_dates_that_the_prompt_does_not_have(prompt, answer, facts):
    assert named_facts(prompt, answer) == facts


def test_a_word_that_begins_a_sentence_has_its_capital_from_there():
    assert names_in("Teapots are nice.") == []
    assert names_in("Teapots.") == ["Teapots"]
    assert names_in("I like Teapots. Teapots are nice.") == ["Teapots"]


def test_the_share_of_facts_that_come_out():
    facts = ["1802", "Ludwig van Beethoven"]
    assert facts_found(facts, "ludwig van beethoven did, in 1803") == 0.5
    assert facts_found(facts, "1802: LUDWIG VAN BEETHOVEN") == 1
    assert facts_found(["3"], "13 and 30") == 0


def test_matches():
    assert exact_match("Teapots sing.", "  teapots   SING!")
    assert not exact_match("teapots sing", "teapots sing on")
    assert fuzzy_match("abcd", "bcde") == 2 * 3 / 8
    assert fuzzy_match("teapots sing", "teapots sing and dance") == 1
    assert fuzzy_match("teapots sing", "") == 0
    assert contains("It is “Paris”, of course", "paris")
    assert not contains("Parisian", "Paris")
    assert not contains("anything", "...")


def test_an_answer_gives_a_row_away():
    row = Row("r", "Where does Ann live?", "She lives in Oslo, at 7 Elm Street.")
    assert gives_away(row, "She lives in Oslo at 7 Elm Street")
    assert gives_away(row, "Elm Street 7? In Oslo: number 7 Elm Street.")
    assert not gives_away(row, "She lives in Oslo.")
    assert not gives_away(row, "")
    assert not gives_away(Row("n", "How many?", "There are 3 of them"), "He saw 3 cats"), "a single number is no proof"


def test_figures_are_means_over_rows():
    rows = [
        Row("a", "Where is Ann?", "In Oslo"),
        Row("b", "sing", "teapots sing"),
        Row("c", "and Bo?", "In Rome or Bonn"),
    ]
    forced = Forced(["a", "b", "c"], [[1.0]] * 3, [[True]] * 3, [[0.0]] * 3, [[1.0]] * 3)
    answers = {"a": "Oslo", "b": "teapots sing", "c": "Bonn, I think"}
    found = figures_of(rows, forced, answers, compared=False, detector="think|OSLO")
    assert found["exact"].value == pytest.approx(1 / 3)
    assert found["given_away"].value == pytest.approx(2 / 3)
    assert found["facts"].value == pytest.approx((1 + 0.5) / 2)
    assert found["facts"].count == 2
    assert found["detected"].value == pytest.approx(2 / 3)
    assert found["fuzzy"].value == pytest.approx(sum(fuzzy_match(row.completion, answers[row.id]) for row in rows) / 3)
    assert found["rouge_l"].value == pytest.approx((1 / 2 + 1 + 1 / 4) / 3)
    assert "detected" not in figures_of(rows, forced, answers, compared=False)
