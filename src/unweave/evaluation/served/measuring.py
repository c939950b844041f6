"""What is measured of a model behind a server: answers to prompts and probes, and where the server gives them, the values of the rows' own answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from unweave.arguments import quoted
from unweave.data.encoding import Example, encode_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.forced import Forced
from unweave.evaluation.measured import Measured
from unweave.evaluation.probes.asking import Found
from unweave.evaluation.probes.making import Probes
from unweave.evaluation.row_tests import PARAPHRASES, RowTests
from unweave.evaluation.score import Score
from unweave.evaluation.served.asking import Served

ANSWERED = "forget", "like", "retain"


def measure_served(model: Served, tests: RowTests, *, max_new_tokens: int, baseline: bool) -> Measured:
    """Measure a model behind a server.

    Args:
        model: The model.
        tests: What it is asked.
        max_new_tokens: Longest answer.
        baseline: Whether like rows are probed too.

    Returns:
        What was measured; without log-probabilities no set has teacher-forced values.
    """
    forced = _forced(model, tests.sets)
    answers = {}
    for name in ANSWERED:
        if rows := tests.sets.get(name):
            texts = model.answers(rows, max_new_tokens=max_new_tokens, what=f"answers, {name}")
            answers[name] = {row.id: text for row, text in zip(rows, texts, strict=True)}
    probed, other = (
        _ask(model, one, max_new_tokens=max_new_tokens)
        for one in (tests.probes, tests.baseline if baseline else Probes())
    )
    return Measured(Score(forced), answers, probed, other)


def _forced(model: Served, sets: Mapping[str, Sequence[Row]]) -> dict[str, Forced]:
    """Set to the values of its answers; empty where the server gives none, or there is no tokenizer to ask for them."""
    if model.tokenizer is None:
        return {}
    found = {}
    for name, rows in sets.items():
        encoded = encode_rows(rows, model.tokenizer, model.encoding)
        if (missing := len(rows) - len(encoded.examples)) and name != PARAPHRASES:
            raise DataError(
                f"{missing} row(s) of `{name}` do not fit the longest sequence.",
                where=quoted(name),
                remedy="give a larger `max_length`",
            )
        values = _values(model, encoded.examples, name)
        if values is None:
            return {}
        ids = [example.row_id for example in encoded.examples]
        found[name] = Forced(ids, *values, means=[], deviations=[], problems=encoded.problems)
    return found


def _values(model: Served, examples: Sequence[Example], what: str) -> tuple[list[list[float]], list[list[bool]]] | None:
    found = model.values(examples, what=f"given answers, {what}")
    return None if found is None else ([own["losses"] for own in found], [own["hits"] for own in found])


def _ask(model: Served, probes: Probes, *, max_new_tokens: int) -> Found:
    found: Found = {}
    asked = [(name, one) for name, own in probes.generated.items() for one in own]
    texts = model.answers([one.asked for _, one in asked], max_new_tokens=max_new_tokens, what="probes")
    for (name, one), text in zip(asked, texts, strict=True):
        found.setdefault(name, {})[one.source.id] = text
    if model.tokenizer is None or not probes.chosen:
        return found
    chosen = [
        (name, one, text)
        for name, own in probes.chosen.items()
        for one in own
        for text in (one.asked.completion, *one.options)
    ]
    rows = [replace(one.asked.with_completion(text), id=f"{place}") for place, (_, one, text) in enumerate(chosen)]
    values = _values(
        model, encode_rows(rows, model.tokenizer, replace(model.encoding, on_long_row="cut")).examples, "choices"
    )
    for (name, one, _), losses in zip(chosen, values[0] if values else (), strict=bool(values)):
        found.setdefault(name, {}).setdefault(one.source.id, []).append(sum(losses) / len(losses))
    return found
