"""Forget and retain rows: weighed and encoded, with clean answers where there are any."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unweave import progress
from unweave.data.encoding import Example, encode_rows
from unweave.data.reading import Problem, Rows
from unweave.data.rows import Row
from unweave.data.sides import require_apart
from unweave.errors import DataError
from unweave.models.loading import Loaded
from unweave.models.vocabulary import require_tokens
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.methods import Method
from unweave.unlearning.rows import ForgetRow


@dataclass(frozen=True)
class RowSet:
    """The rows to forget, or those to keep.

    Attributes:
        rows: The rows.
        weights: One a row, in their order; `None` where all weigh 1.
        where: Their file or argument, for errors.
        weights_where: That of the weights.
    """

    rows: Rows
    weights: Sequence[float] | None
    where: str
    weights_where: str

    def weight_of(self) -> dict[str, float]:
        """Row id to weight."""
        weights = self.weights if self.weights is not None else [1.0] * len(self.rows)
        return dict(zip((row.id for row in self.rows), weights, strict=True))


def encode_sets(
    forget: RowSet, retain: RowSet | None, options: UnlearnOptions, loaded: Loaded, method: Method
) -> tuple[list[ForgetRow], list[Problem]]:
    """Weigh and encode the rows of a run.

    Args:
        forget: The rows to forget.
        retain: The rows to keep.
        options: How they become tokens, and the seed.
        loaded: The model, for its tokenizer.
        method: The method, which may bring clean answers of its own.

    Returns:
        Forget and retain rows with their tokens and weights, and what was cut or dropped.

    Raises:
        DataError: When a row is in both sets, or no row to keep is left.
    """
    out: list[ForgetRow] = []
    problems: list[Problem] = []
    for own, is_forget in ((forget, True), (retain, False)):
        if own is None:
            continue
        found, lost = _encoded(own, options, loaded, method, is_forget=is_forget)
        out += found
        problems += lost
        left = [row.weight for row in found if row.is_forget == is_forget and not row.among_retain]
        if left and not any(left):
            raise DataError(
                "All rows to " + ("forget" if is_forget else "keep") + " that are left have a weight of zero.",
                where=own.weights_where if own.weights is not None else own.where,
                remedy="weigh the rows anew, or leave the weights out",
            )
        total = sum(own.weights or ())
        if not is_forget and total < 0:
            progress.say(f"the retain weights sum to {total:.3g}: more is unlearned of these rows than is kept")
    if retain is None:
        return out, problems
    sides = [[row.id for row in own.rows] for own in (forget, retain)]
    require_apart(*sides, where=f"{forget.where}, {retain.where}")
    if method.samples_retain and all(row.is_forget for row in out):
        raise DataError(
            "No row to keep is left: all retain rows have negative weights.",
            where=retain.weights_where if retain.weights is not None else retain.where,
            remedy="give retain rows that are not like the forget rows",
        )
    return out, problems


def _encoded(
    own: RowSet, options: UnlearnOptions, loaded: Loaded, method: Method, *, is_forget: bool
) -> tuple[list[ForgetRow], list[Problem]]:
    """One of the two sets."""
    encoded = encode_rows(own.rows, loaded.tokenizer, options)
    require_tokens(loaded.model, encoded.examples, tokenizer=loaded.tokenizer)
    weight_of = own.weight_of()
    leaving = {row_id for row_id, weight in weight_of.items() if is_forget or weight < 0}
    clean, lost = _clean_examples([row for row in own.rows if row.id in leaving], options, loaded, method)
    if not is_forget and leaving:
        progress.say(f"{len(leaving)} of {len(own.rows)} retain rows have negative weights: they are unlearned too")
    found = [
        ForgetRow(
            example,
            clean.get(example.row_id),
            abs(weight_of[example.row_id]),
            example.row_id in leaving,
            among_retain=example.row_id in leaving and not is_forget,
        )
        for example in encoded.examples
    ]
    return found, [*own.rows.problems, *encoded.problems, *lost]


def _clean_examples(
    rows: Sequence[Row], options: UnlearnOptions, loaded: Loaded, method: Method
) -> tuple[dict[str, Example], list[Problem]]:
    """The forget rows' questions with their clean answers, or those that the method brings, by row id, and which of them were cut or dropped."""
    own = method.clean_answers(rows, seed=options.seed)
    answered = [row.with_completion(text) for row in rows if (text := own[row.id])]
    if not answered:
        return {}, []
    encoded = encode_rows(answered, loaded.tokenizer, options)
    lost = [replace(problem, reason=f"its clean answer: {problem.reason}") for problem in encoded.problems]
    return {example.row_id: example for example in encoded.examples}, lost
