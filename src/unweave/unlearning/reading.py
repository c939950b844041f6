"""Forget and retain rows: read, weighed and encoded, with clean answers where there are any."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unweave import progress
from unweave.data.encoding import Example, encode_rows
from unweave.data.reading import Problem
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import DataError
from unweave.models.loading import Loaded
from unweave.models.vocabulary import require_tokens
from unweave.unlearning.config import ForgetConfig
from unweave.unlearning.methods import Method
from unweave.unlearning.steps import ForgetRow
from unweave.weights.files import read_weights


def read_forget_rows(
    config: ForgetConfig, loaded: Loaded, method: Method
) -> tuple[list[ForgetRow], list[Any], list[Row]]:
    """Read the rows of a run.

    Args:
        config: Files and weights.
        loaded: The model, for its tokenizer.
        method: The method, which may bring clean answers of its own.

    Returns:
        Forget and retain rows with their tokens and weights, what was cut or dropped, and the rows as read.

    Raises:
        DataError: When a row is in both sets, or no row to keep is left.
    """
    out: list[ForgetRow] = []
    problems: list[Any] = []
    read: list[Row] = []
    sets = ((config.forget, config.forget_weights, True), (config.retain, config.retain_weights, False))
    for path, weight_file, is_forget in sets:
        if path is None:
            continue
        rows = read_training_rows(path, config)
        weights = read_weights(weight_file, count=len(rows), signed=not is_forget) if weight_file else [1.0] * len(rows)
        encoded = encode_rows(rows, loaded.tokenizer, config)
        require_tokens(loaded.model, encoded.examples, tokenizer=loaded.tokenizer)
        problems += [*rows.problems, *encoded.problems]
        read += rows.rows
        weight_of = dict(zip((row.id for row in rows), weights, strict=True))
        leaving = {row_id for row_id, weight in weight_of.items() if is_forget or weight < 0}
        clean, lost = _clean_examples([row for row in rows if row.id in leaving], config, loaded, method)
        problems += lost
        out += [
            ForgetRow(
                example,
                clean.get(example.row_id),
                abs(weight_of[example.row_id]),
                example.row_id in leaving,
                among_retain=example.row_id in leaving and not is_forget,
            )
            for example in encoded.examples
        ]
        if not is_forget and leaving:
            progress.say(f"{len(leaving)} of {len(rows)} retain rows have negative weights: they are unlearned too")
        left = [row.weight for row in out if row.is_forget == is_forget and not row.among_retain]
        if left and not any(left):
            raise DataError(
                "All rows to " + ("forget" if is_forget else "keep") + " that are left have a weight of zero.",
                where=str(weight_file or path),
                remedy="weigh the rows anew, or leave the weights out",
            )
        if not is_forget and sum(weights) < 0:
            progress.say(f"the retain weights sum to {sum(weights):.3g}: more is unlearned of these rows than is kept")
    given = [row.id for row in read]
    if shared := {row_id for row_id, times in Counter(given).items() if times > 1}:
        raise DataError(
            f"The row '{min(shared)}' is to be forgotten and retained.",
            where=f"{config.forget}, {config.retain}",
            remedy="keep the two sets apart",
        )
    if method.draws_retain and all(row.is_forget for row in out):
        raise DataError(
            "No row to keep is left: all retain rows have negative weights.",
            where=str(config.retain_weights or config.retain),
            remedy="give retain rows that are not like the forget rows",
        )
    return out, problems, read


def _clean_examples(
    rows: Sequence[Row], config: ForgetConfig, loaded: Loaded, method: Method
) -> tuple[dict[str, Example], list[Problem]]:
    """The forget rows' questions with their clean answers, or those that the method brings, by row id, and which of them were cut or dropped."""
    own = method.clean_answers(rows, seed=config.seed)
    answered = [row.with_completion(text) for row in rows if (text := own[row.id])]
    if not answered:
        return {}, []
    encoded = encode_rows(answered, loaded.tokenizer, config)
    lost = [replace(problem, reason=f"its clean answer: {problem.reason}") for problem in encoded.problems]
    return {example.row_id: example for example in encoded.examples}, lost
