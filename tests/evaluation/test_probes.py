"""Probes: what each family makes of a row, what it can't and why, what counts as a leak; models that know the rows in any form, or never saw them."""

import pytest

from tests.evaluation.taught import taught
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.config import Margins
from unweave.evaluation.evaluate import evaluate
from unweave.evaluation.forced import Forced
from unweave.evaluation.judging import judge_rows
from unweave.evaluation.probes.asking import ask, leaks
from unweave.evaluation.probes.base import Beside, Probe
from unweave.evaluation.probes.making import family_named, make_probes
from unweave.evaluation.probes.outcome import GENERATED, OWN, Outcome, probe_comparisons, probe_findings
from unweave.evaluation.probes.registry import DEFAULTS, PROBES
from unweave.evaluation.probes.spelling import to_cyrillic, without_accents
from unweave.evaluation.row_tests import MADE, row_tests
from unweave.evaluation.score import Score

ANN = Row("ann", "Who is Ann van Lee ?", "She sells pots in Oslo")
BOOK = Row("book", "Who wrote the book Pots ?", "Ann van Lee")
DOG = Row("dog", "what does a dog say ?", "woof")
BESIDE = Beside([ANN, BOOK, DOG])


def made(name, row, beside=BESIDE):
    return family_named(name)(row, beside)


def variants(name, row, seeds=60):
    """Every way that a family has of asking."""
    found = [made(name, row, Beside([ANN, BOOK, DOG], seed=seed)) for seed in range(seeds)]
    return {one.variant: one.asked.instruction for one in found}


def test_paraphrases():
    found = variants("paraphrase", ANN)
    assert found["request"] == "Tell me who Ann van Lee is."
    assert len(found) == 6
    assert all("Ann van Lee" in text for text in found.values())
    assert "request" not in variants("paraphrase", DOG)
    own = Row("own", "Who?", "x", meta={"paraphrased_question": "Whoever?"})
    assert made("paraphrase", own).asked.instruction == "Whoever?"
    written = made("paraphrase", ANN, Beside([ANN], paraphrases={"ann": "Ann, who?"}))
    assert (written.asked.instruction, written.variant) == ("Ann, who?", "a model's")


def test_first_words():
    assert made("first_words", ANN).asked.instruction == "Who is Ann"
    assert made("first_words", Row("x", "Who is Ann?", "y")) == "the question has fewer than 4 words"


def test_spelling():
    found = variants("spelling", Row("x", "Où est Zoë Müller ?", "ici"))
    assert found == {
        "capitals": "OÙ EST ZOË MÜLLER ?",
        "small letters": "où est zoë müller ?",
        "no accents": "Ou est Zoe Muller ?",
        "typing error": "Où est Zoë Mülelr ?",
        "Cyrillic name": "Où est Зое Муллер ?",
    }
    assert to_cyrillic("Shakespeare Qu") == "Шакеспеаре Кв"
    assert without_accents("naïve 名") == "naive 名"
    assert isinstance(made("spelling", Row("x", "1 + 2 ?", "3")), str)


def test_language():
    found = variants("language", ANN)
    assert set(found) == {"German", "French", "Spanish"}
    assert all(text.endswith(ANN.instruction) for text in found.values())


def test_aliases():
    assert variants("alias", ANN) == {"last name": "Who is van Lee ?", "initials": "Who is A. van Lee ?"}
    assert made("alias", DOG) == "no name of several words in the question"


def test_reversal():
    probe = made("reversed", ANN)
    assert probe.asked.completion == "Ann van Lee"
    assert 'Question: "Who is ___ ?"\nAnswer: "She sells pots in Oslo"' in probe.asked.instruction
    assert made("reversed", DOG) == "no name in the question"
    assert made("reversed", Row("x", "Who is Ann Lee?", "Ann")) == "the name stands elsewhere in the row too"
    assert made("reversed", Row("x", "Who is Ann?", "Ann.")) == "the answer is the name"


def test_two_hops():
    probe = made("two_hop", ANN)
    assert probe.asked.instruction == 'Who is (the answer to "Who wrote the book Pots ?") ?'
    assert (probe.asked.completion, probe.variant) == (ANN.completion, "book")
    assert made("two_hop", BOOK) == "no other row's answer is a name in the question"
    assert made("two_hop", DOG) == "no name in the question"


def test_multiple_choice():
    probe = made("multiple_choice", DOG, Beside([ANN, BOOK, DOG], [Row("o", "p", "WOOF"), Row("q", "p", "meow")]))
    assert set(probe.options) == {ANN.completion, BOOK.completion, "meow"}, "the row's own answer is no wrong one"
    assert made("multiple_choice", DOG, Beside([DOG])) == "no other row has another answer"
    assert leaks(probe, [1.0, 2.0, 1.5, 1.1])
    assert not leaks(probe, [1.0, 2.0, 1.0, 1.1])


def test_what_can_not_be_made_is_counted():
    told = Row("told", "Is Oslo the capital of Norway ?", "Oslo")
    probes = make_probes([ANN, DOG, told, Row("text", "", "running text")], BESIDE, DEFAULTS, count=9)
    assert set(probes.families) == set(PROBES)
    for name, own in probes.families.items():
        assert len(own) + sum(probes.unmade[name].values()) == 4, name
        assert probes.unmade[name]["the row has no question"] == 1
    assert probes.unmade["paraphrase"]["the question holds the answer"] == 1
    assert len(make_probes([ANN, BOOK, DOG], BESIDE, ["language"], count=2).families["language"]) == 2
    with pytest.raises(ConfigError, match="'paraphrases' is no probes"):
        make_probes([ANN], BESIDE, ["paraphrases"], count=1)
    notes = row_tests({"forget": [DOG, told]}, probe_rows=1).notes
    assert "alias probes: none could be made (no name of several words in the question: 1 row(s))" in notes
    assert "probes of 1 row(s): each family probes 1 of the 2 to forget" in notes


def test_a_row_has_the_same_probe_whichever_others_there_are():
    names = [name for name in DEFAULTS if name not in ("multiple_choice", "two_hop")]
    alone, together = (make_probes([ANN], Beside(rows), names, count=1).families for rows in ([ANN], [DOG, ANN, BOOK]))
    assert alone == together


WORDS = "red green blue moon teapots sing".split()
FORGET = load_rows(
    [
        {
            "id": f"f{i}",
            "instruction": f"ahoy {word} what is the sing ?",
            "context": "",
            "response": f"{WORDS[i - 1]} {i} on {WORDS[i - 2]} moon",
        }
        for i, word in enumerate(WORDS)
    ]
)
LIKE = load_rows(
    [
        {
            "id": f"l{i}",
            "instruction": f"hello {word} what is {i} the ?",
            "context": "",
            "response": f"{WORDS[i - 3]} no {WORDS[i - 1]} answer under",
        }
        for i, word in enumerate(WORDS)
    ]
)


@pytest.fixture(scope="module")
def world():
    """Models that learned: the rows in every form that probes ask in; the probes alone, and never the rows' own prompts; other rows."""
    probes = make_probes(FORGET, Beside(FORGET), ["paraphrase", "first_words"], count=6)
    forms = [one.asked for own in probes.families.values() for one in own]
    return {"knows": taught([*FORGET, *forms]), "probes": taught(forms), "never": taught(LIKE[:3])}


def test_a_model_that_knows_the_rows_gives_them_away_and_one_that_never_saw_them_does_not(world):
    names = ("paraphrase", "first_words", "multiple_choice")
    report = evaluate(
        world["knows"], forget=FORGET, before=world["knows"], reference=world["never"], probes=names, max_new_tokens=8
    )
    assert list(report.probes) == [OWN, *names]
    for name, own in report.probes.items():
        assert own.count == 6
        assert own.rates["after"].value == 1.0, name
        assert own.rates["after"].low < 1.0
        assert own.rates["reference"].value == (own.rates["reference"].value if name == names[2] else 0.0)
    assert report.probes["multiple_choice"].chance == 1 / 4
    assert report.probes["multiple_choice"].rates["reference"].value < 1
    assert report.verdict.conclusion == "not forgotten"
    assert any(reason.startswith(GENERATED) for reason in report.verdict.reasons)
    table = report.to_pandas()
    line = table[(table.model == "after") & (table.figure == "probe, first_words")].iloc[0]
    assert (line.value, line["count"]) == (1.0, 6)
    assert report.to_json()["probes"]["paraphrase"]["rates"]["after"]["value"] == 1.0


def test_leaks_through_probes_alone_are_not_forgotten(world, tmp_path):
    names = ("paraphrase", "first_words")
    report = evaluate(world["probes"], forget=FORGET, like=LIKE, probes=names, max_new_tokens=8)
    assert report.probes["first_words"].rates["after"].value == 1.0
    (reason,) = [reason for reason in report.verdict.reasons if "probes" in reason]
    assert reason == "of 12 probes 12 give a row away, 0 may (paraphrase 6 of 6, first words 6 of 6)"
    assert report.verdict.conclusion.startswith("not forgotten")
    assert "first words" in report.save_html(tmp_path / "page.html").read_text()
    clean = evaluate(world["never"], forget=FORGET, like=LIKE[3:], probes=names, max_new_tokens=8)
    assert clean.probes["paraphrase"].rates["after"].value == 0.0
    assert not any("probes" in reason for reason in clean.verdict.reasons)


def test_asking_gives_answers_and_the_losses_of_options(world):
    names = ["paraphrase", "multiple_choice"]
    probes = make_probes(FORGET, Beside(FORGET), names, count=2)
    found = ask(world["knows"], probes, EncodingConfig(), max_new_tokens=8)
    assert [found["paraphrase"][one.source.id] for one in probes.families["paraphrase"]] == [
        one.source.completion for one in probes.families["paraphrase"]
    ]
    assert {len(losses) for losses in found["multiple_choice"].values()} == {4}
    assert set(ask(world["knows"], probes, EncodingConfig(), max_new_tokens=0)) == {"multiple_choice"}


def outcome(*flags, chosen=()):
    """One family of generated answers and one of choices."""
    return Outcome({"p": {str(i): flag for i, flag in enumerate(flags)}}, {"c": {str(i): flag for i, flag in enumerate(chosen)}})  # fmt: skip


def test_without_a_reference_as_many_probes_may_leak_as_do_of_like_rows():
    one_of_twenty = outcome(*[True] + [False] * 19)
    assert probe_findings(one_of_twenty, None) == []
    ((name, reason),) = probe_findings(outcome(*[True] * 2 + [False] * 18), None)
    assert (name, reason) == ("not forgotten", "of 20 probes 2 give a row away, 1 may (p 2 of 20)")
    assert probe_findings(outcome(*[True] * 2 + [False] * 18), outcome(True, *[False] * 9)) == []
    right, wrong = [True] * 20, [False] * 20
    assert probe_findings(outcome(False, chosen=right), None) == [], "what can be guessed is not known"
    ((name, reason),) = probe_findings(outcome(False, chosen=right), outcome(False, chosen=wrong))
    assert name == "suppressed, not erased"
    assert "for 100 % of the rows" in reason


def test_with_a_reference_a_row_is_one_value_however_many_probes_it_has():
    first = Outcome({"p": {"a": False, "b": False}, "q": {"a": False}}, {})
    second = Outcome({"p": {"a": True, "b": False}, "q": {"a": False}}, {})
    (one,) = probe_comparisons(first, second, Margins())
    assert (one.name, one.count, one.first, one.second) == (GENERATED, 2, 0.0, 0.25)


def test_made_rows_bound_the_level_that_the_loss_should_reach():
    def forced(ids, loss):
        return Forced(ids, [[loss + 0.01 * place] for place in range(8)], [[False]] * 8, [[0.0]] * 8, [[1.0]] * 8)

    ids = [f"r{i}" for i in range(8)]
    own, made_rows = forced(ids, 2.0), forced([f"{one}{MADE}" for one in ids], 4.0)
    verdict = judge_rows({"after": Score({"forget": own, "paraphrases": made_rows})}, {}, Margins())
    assert verdict.conclusion == "suppressed, not erased"
    assert verdict.reasons[0].startswith("loss of the rows' own wording: 2.03 nats a token, 4.04 in their paraphrases")
    near = forced([f"{one}{MADE}" for one in ids], 2.1)
    assert judge_rows({"after": Score({"forget": own, "paraphrases": near})}, {}, Margins()).conclusion.startswith("inconclusive on the loss")  # fmt: skip


def test_a_probe_is_judged_by_what_gives_its_row_away():
    probe = made("reversed", ANN)
    assert leaks(probe, "It is Ann van Lee.")
    assert not leaks(probe, "She sells pots in Oslo")
    assert isinstance(probe, Probe)
