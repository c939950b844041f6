"""The figures of an evaluation: what the values of one set of rows under one model come to, with their intervals."""

import math
from collections.abc import Mapping, Sequence

from unweave.data.case import detects
from unweave.data.rows import Row
from unweave.evaluation.forced import Forced
from unweave.evaluation.measures.facts import NUMBER, facts_found, named_facts
from unweave.evaluation.measures.likelihood import exact_memorisation, extraction_strength
from unweave.evaluation.measures.text import NEARLY, contains, exact_match, fuzzy_match, rouge_l_recall
from unweave.stats.intervals import Estimate, mean

SETS = {
    "forget": "rows to forget",
    "like": "rows like them, never trained on",
    "paraphrases": "paraphrases of the rows to forget, made by templates",
    "retain": "rows to keep",
}
"""Set to its title."""

FIGURES = {
    "loss": "loss, nats a token",
    "probability": "probability a token",
    "exact_memorization": "exact memorization",
    "extraction_strength": "extraction strength",
    "begins": "answers that begin as the row's",
    "verbatim": "answers word for word",
    "given_away": "generated answers that give the row's away",
    "exact": "exact match of generated answers",
    "fuzzy": "fuzzy match of generated answers",
    "rouge_l": "ROUGE-L recall of generated answers",
    "facts": "named facts that come out",
    "detected": "generated answers that the detector finds",
    "kl_from_reference": "KL from the reference, nats a token",
}
"""Figure to its title, in the order in which they are shown."""


def figures_of(
    rows: Sequence[Row],
    forced: Forced,
    answers: Mapping[str, str] | None,
    *,
    compared: bool,
    detector: str | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The figures of a set of rows.

    Args:
        rows: The rows.
        forced: Values of their answers.
        answers: Row id to generated answer, where there are any.
        compared: Whether the divergence from a reference model is one of them.
        detector: A regular expression of the unwanted behaviour, where there is one.
        seed: Of the bootstrap.

    Returns:
        Figure to estimate.
    """
    found = {
        "loss": mean(forced.mean_losses(), seed=seed).within(0, math.inf),
        "probability": _share(forced.probabilities(), seed),
        "exact_memorization": _share([exact_memorisation(hits) for hits in forced.hits], seed),
        "extraction_strength": _share([extraction_strength(hits) for hits in forced.hits], seed),
        "verbatim": mean([float(hit) for hit in forced.verbatim()], seed=seed),
        "begins": mean([float(hit) for hit in forced.begins()], seed=seed),
    }
    if answers:
        found |= answer_figures(rows, answers, detector, seed)
    if compared and forced.divergence:
        found["kl_from_reference"] = mean(forced.row_divergence(), seed=seed).within(0, math.inf)
    return found


def answer_figures(
    rows: Sequence[Row], answers: Mapping[str, str], detector: str | None, seed: int
) -> dict[str, Estimate]:
    """How much of the rows' answers the generated ones give away.

    Args:
        rows: The rows.
        answers: Row id to generated answer.
        detector: A regular expression of the unwanted behaviour, where there is one.
        seed: Of the bootstrap.

    Returns:
        Figure to estimate.
    """
    pairs = [(row, answers[row.id]) for row in rows]
    found = {
        "exact": mean([float(exact_match(row.completion, own)) for row, own in pairs], seed=seed),
        "fuzzy": _share([fuzzy_match(row.completion, own) for row, own in pairs], seed),
        "rouge_l": _share([rouge_l_recall(row.completion, own) for row, own in pairs], seed),
        "given_away": mean([float(gives_away(row, own)) for row, own in pairs], seed=seed),
    }
    facts = {row.id: named_facts(row.prompt, row.completion) for row in rows}
    if any(facts.values()):
        found["facts"] = _share([facts_found(facts[row.id], own) for row, own in pairs if facts[row.id]], seed)
    if detector is not None:
        found["detected"] = mean([float(detects(detector, own)) for _, own in pairs], seed=seed)
    return found


def gives_away(row: Row, answer: str) -> bool:
    """Whether a generated answer gives a row's answer away.

    It does when it holds the answer as whole words, is nearly the same, or says all of its named facts; a single number among these is said by chance.

    Args:
        row: The row.
        answer: The generated answer.

    Returns:
        True or False.
    """
    if contains(answer, row.completion) or fuzzy_match(row.completion, answer) >= NEARLY:
        return True
    facts = named_facts(row.prompt, row.completion)
    if not facts or (len(facts) == 1 and NUMBER.fullmatch(facts[0])):
        return False
    return facts_found(facts, answer) == 1


def _share(values: Sequence[float], seed: int) -> Estimate:
    return mean(values, seed=seed).within(0, 1)
