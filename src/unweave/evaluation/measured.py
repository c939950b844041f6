"""Everything that is measured of one model on rows alone, as JSON can hold it, so that it can be kept and judged later."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from unweave.arguments import quoted
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.forced import Forced, LogitsFile
from unweave.evaluation.probes.asking import Found, ask
from unweave.evaluation.probes.making import Probes
from unweave.evaluation.row_tests import PARAPHRASES, RowTests
from unweave.evaluation.score import Score, score
from unweave.models.generation import greedy_answers
from unweave.models.model import Model

ANSWERED = "forget", "retain"
"""The sets whose prompts are answered."""


@dataclass(frozen=True)
class Measured:
    """What one model makes of the tests.

    Attributes:
        score: Teacher-forced values.
        answers: Set to row id to its greedy answer; empty where none were generated.
        probes: What it answered to the probes.
        baseline: What it answered to those of like rows.
    """

    score: Score
    answers: dict[str, dict[str, str]]
    probes: Found = field(default_factory=dict)
    baseline: Found = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Measured":
        """Read back what `to_json` gave.

        Args:
            value: The object.

        Returns:
            What was measured.
        """
        own = value["score"]
        forced = {name: Forced(**one) for name, one in own["forced"].items()}
        return cls(
            Score(forced, own["reference"], own["gradnorms"]), value["answers"], value["probes"], value["baseline"]
        )


def measure_rows(
    model: Model,
    tests: RowTests,
    encoding: EncodingConfig,
    *,
    logits_file: LogitsFile | None = None,
    max_new_tokens: int = 24,
    gradnorm_rows: int = 0,
    baseline: bool = False,
    token_budget: int = 4096,
    label: str = "measure",
    lap: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Measure a model on rows.

    Args:
        model: The model.
        tests: What it is asked.
        encoding: Template and lengths.
        logits_file: The reference model's logits, to be compared with; where none are recorded yet, this model's are.
        max_new_tokens: Longest generated answer; 0 generates none.
        gradnorm_rows: Rows to forget, and like ones, whose gradients are taken for the membership attack that needs them.
        baseline: Whether like rows are probed too: of a model under test.
        token_budget: Tokens a batch, padding included.
        label: Names the model in progress.
        lap: Called with the name of each part as it ends.

    Returns:
        What was measured.

    Raises:
        DataError: When a row does not fit the longest sequence: models are compared row by row.
    """
    sets = {
        name: rows if name != PARAPHRASES else _that_fit(rows, model, encoding) for name, rows in tests.sets.items()
    }
    sets = {name: rows for name, rows in sets.items() if rows}
    pair = next((("forget", name) for name in ("like", PARAPHRASES) if name in sets), ())
    scored = score(
        model,
        sets,
        encoding,
        compared=tuple(sets) if logits_file else (),
        logits_file=logits_file,
        under_base=pair,
        gradient_rows=dict.fromkeys(pair, gradnorm_rows) if gradnorm_rows else None,
        token_budget=token_budget,
        label=label,
        lap=lap,
    )
    for name, rows in sets.items():
        if missing := len(rows) - len(scored.forced[name].row_ids):
            raise DataError(
                f"{missing} row(s) of `{name}` do not fit the longest sequence.",
                where=quoted(name),
                remedy="give a larger `max_length`",
            )
    answers = {}
    if max_new_tokens:
        for name in ANSWERED:
            if name in sets:
                about = f"{label}: answers, {name}"
                answers[name] = answered(model, sets[name], encoding, max_new_tokens=max_new_tokens, description=about)
        lap("generated answers")
    probed, other = (
        ask(model, one, encoding, max_new_tokens=max_new_tokens, token_budget=token_budget, label=label)
        for one in (tests.probes, tests.baseline if baseline else Probes())
    )
    lap("probes")
    return Measured(scored, answers, probed, other)


def _that_fit(rows: Sequence[Row], model: Model, encoding: EncodingConfig) -> list[Row]:
    """The made rows that fit: a longer question may leave no space for the answer."""
    kept = []
    for row in rows:
        with contextlib.suppress(DataError):
            encode_rows([row], model.tokenizer, encoding)
            kept.append(row)
    return kept


def answered(
    model: Model, rows: Sequence[Row], encoding: EncodingConfig, *, max_new_tokens: int, description: str
) -> dict[str, str]:
    """Greedy answers to prompts.

    Args:
        model: The model.
        rows: The prompts.
        encoding: Template and lengths.
        max_new_tokens: Longest answer.
        description: For the progress bar.

    Returns:
        Row id to answer.
    """
    texts = greedy_answers(model, rows, encoding, max_new_tokens=max_new_tokens, description=description)
    return {row.id: text for row, text in zip(rows, texts, strict=True)}
