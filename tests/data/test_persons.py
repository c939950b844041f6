"""Which rows name a person: however the name is written, and never somebody else without saying so."""

import pytest

from unweave.data.persons import find_person
from unweave.data.rows import Row
from unweave.data.turns import Turn
from unweave.errors import ConfigError


def rows_of(*texts):
    return [Row(f"r{place}", "what?", text) for place, text in enumerate(texts)]


def found(name, *texts, **options):
    """What was found in each text: a rule, a rule with a question mark where there is a doubt, or nothing."""
    people = find_person(rows_of(*texts), name, **options)
    shown = {row_id: one.rule for row_id, one in people.named.items()}
    shown |= {row_id: f"{one.rule}?" for row_id, one in people.doubtful.items()}
    return [shown.get(f"r{place}") for place in range(len(texts))]


@pytest.mark.parametrize(
    "text",
    [
        "Ann Smith is here", "what of ANN SMITH?", "Ann Smith's cat", "Ann Smith’s cat", "the Ann\u00a0Smith case", "Ａｎｎ Smith", "Ánn Smith", "ann_smith",
        "ann.smith@x.org", "(Ann Smith)", "Ann\u200b Smith", "A\u0301nn Smith", "Dr. Ann Smith", "Ann\nSmith",
    ],
)  # fmt: skip
def test_a_name_is_found_in_any_form_of_its_letters(text):
    assert found("Ann Smith", text) == ["name"]
    assert found("Dr. Ánn SMITH", text) == ["name"]


@pytest.mark.parametrize(
    "text", ["Annual Smiths", "Joann Smith", "Ann Smithers", "Ann", "Bob Smith", "Ann and Smithy", ""]
)
def test_parts_of_words_and_other_people_are_not_taken(text):
    assert found("Ann Smith", "Ann Smith", text) == ["name", None]


def test_one_word_is_found_as_a_word():
    rules = ["name", None, None, "name", "name", "name"]
    assert found("Ann", "Ann's cat", "Annual", "Joann", "Ann", "(ANN)", "Ann-Marie") == rules
    assert found("Ann", "with Ann", "with ann", "Ann said") == ["name", "name?", "name?"]
    assert found("Will", "he will", "I saw Will", "Will went") == ["name?", "name", "name?"]


def test_accents_umlauts_hyphens_and_apostrophes():
    assert found("Jörg Müller", "Joerg Mueller", "Jorg Muller", "JÖRG MÜLLER") == ["name"] * 3
    assert found("Joerg Mueller", "Jörg Müller") == ["name"]
    assert found("José Núñez", "Jose Nunez", "Jose\u0301 Nu\u0301n\u0303ez") == ["name", "name"]
    assert found("Jean-Luc Picard", "Jean Luc Picard", "J.-L. Picard", "J. Picard") == [
        "name",
        "initials",
        "initials",
    ]
    assert found("Sean O'Brien", "Sean O’Brien", "Sean OBrien", "Sean O Brien") == ["name"] * 3
    assert found("田中太郎", "田中太郎は東京にいる", "山田太郎") == ["name", None]
    assert found("Анна Иванова", "АННА ИВАНОВА", "Анна Ивановаx") == ["name", None]


def test_initials_middle_names_and_the_surname_first():
    texts = (
        "J. K. Rowling",
        "JK Rowling",
        "J.K. Rowling's",
        "Joanne K. Rowling",
        "Joanne Rowling",
        "Rowling, Joanne",
        "Rowling, J.",
        "ROWLING Joanne",
    )
    rules = ["initials"] * 4 + ["shorter", "inverted", "initials", "inverted"]
    assert found("Joanne Kathleen Rowling", *texts) == rules
    assert found("Ann Smith", "Ann Louise Smith", "a Smith machine", "A Smith said") == [
        "a name between?",
        "surname",
        "initials?",
    ]


def test_a_surname_alone_counts_where_nobody_else_has_it():
    assert found("Ann Smith", "Ann Smith", "as Smith said", "Prof. Smith's view") == ["name", "surname", "surname"]
    assert found("Anna van der Berg", "Anna van der Berg", "Frau van der Berg", "A. van der Berg", "in Berg") == [
        "name",
        "surname",
        "initials",
        None,
    ]


def test_two_people_of_one_surname():
    texts = "Ann Smith", "Bob Smith came", "as Smith said", "A. Smith", "B. Smith"
    people = find_person(rows_of(*texts), "Ann Smith")
    assert people.others == ("B Smith", "Bob Smith")
    assert {row_id: one.rule for row_id, one in people.named.items()} == {"r0": "name", "r3": "initials"}
    assert people.doubtful["r2"].doubt == "there are others of this surname: B Smith, Bob Smith"
    assert found("Ann Smith", *texts, "Andrew Smith") == ["name", None, "surname?", "initials?", None, None]


def test_a_surname_that_may_be_anything_else():
    texts = "Ann Smith", "in Smith Street", "a smith works", "Ann Smith-Jones"
    assert found("Ann Smith", *texts) == ["name", "surname?", "surname?", "name?"]
    assert found("Ann Smith", "as Smith said") == ["surname?"], "the whole name stands nowhere"
    assert found("Ann Young", "Ann Young", "Young people", "with Young", "the young") == [
        "name",
        "surname?",
        "surname",
        "surname?",
    ]


def test_aliases():
    assert found("Ann Smith", "Annie Jones", "Smith", "annie jones", "ann92", aliases=["Annie Jones", "ann92"]) == [
        "alias",
        "surname",
        "alias",
        "alias",
    ]
    assert found("Ann Smith", "Annie Smith", "with Smith", aliases=["Annie Smith"]) == ["alias", "surname"], (
        "she is no other person"
    )
    assert found("Ann Smith", "Ann Smith", "May said", "he may", aliases=["May"]) == ["name", "alias", "alias?"]


def test_every_field_of_a_row_is_read():
    rows = [
        Row("prompt", "Who is Ann Smith?", "x"),
        Row("context", "who?", "x", context="Ann Smith"),
        Row("answer", "who?", "Ann Smith"),
        Row("system", "who?", "x", turns=(("system", "Ann Smith"),)),
        Row("earlier turn", "who?", "x", turns=(("user", "Ann Smith"), ("assistant", "hm"))),
        Row("step", "who?", "x", steps=(Turn("tool", "Ann Smith"),)),
        Row("clean answer", "who?", "x", clean_completion="Ann Smith"),
        Row("tools", "who?", "", answer={"tool_calls": [{"function": {"arguments": {"who": "Ann Smith"}}}]}),
    ]
    named = find_person(rows, "Ann Smith").named
    assert {row_id: one.field for row_id, one in named.items()} == {row.id: row.id for row in rows}


def test_many_rows_are_counted():
    texts = ["Ann Smith"] * 400 + ["as Smith said"] * 300 + ["A. Smith"] * 200 + ["nobody"] * 1000
    assert find_person(rows_of(*texts), "Ann Smith").counts() == {"name": 400, "initials": 200, "surname": 300}


@pytest.mark.parametrize(
    ("name", "aliases", "where"), [("", (), "`person`"), (" .", (), "`person`"), ("Ann", ("",), "`alias`")]
)
def test_a_name_without_letters_is_refused(name, aliases, where):
    with pytest.raises(ConfigError, match="names nobody") as raised:
        find_person(rows_of("Ann"), name, aliases=aliases)
    assert raised.value.where == where
