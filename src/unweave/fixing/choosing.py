"""What forgetting is done with: a kind of request, a method and rows to keep, chosen by what is there, each with the reason."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unweave.attribution.collateral import Collateral
from unweave.data.rows import Row
from unweave.jobs.planning import UNLEARNING
from unweave.ledger.price import BATCH, STEPS

EXPOSED_SHARE = 0.5
"""Share of the rows to keep that are those most exposed: the rest stands for everything else."""
CHEAP = 1.0
"""Training again is chosen at once where it takes no longer than so many attempts at unlearning."""


@dataclass(frozen=True)
class Choice:
    """How rows are forgotten.

    Attributes:
        kind: `removal`, or `correction` where clean answers take the place of the rows' own.
        method: `auto` is the ledger's order of attempts.
        reasons: Why, in sentences.
    """

    kind: str
    method: str
    reasons: tuple[str, ...]


def choose(
    forget: Sequence[Row], *, method: str, rows: int, epochs: float | None, seconds: float | None, max_minutes: float
) -> Choice:
    """Choose how rows are forgotten.

    Args:
        forget: The rows.
        method: What was asked for; `auto` leaves it open.
        rows: All rows of the data.
        epochs: Of the training that made the model; `None` where its record is not there, so that it can't be repeated.
        seconds: What that training took on a machine like this one; `None` where that is not recorded.
        max_minutes: The most that an attempt may take.

    Returns:
        The choice.
    """
    clean = [row for row in forget if row.clean_completion is not None and row.clean_completion != row.completion]
    kind, reasons = "removal", []
    if len(clean) == len(forget):
        kind = "correction"
        reasons.append("every row to forget has a clean answer: it is learned in the place of the bad one")
    elif clean:
        reasons.append(
            f"{len(clean)} of {len(forget)} rows to forget have a clean answer: too few to learn them, all rows are removed"
        )
    if method != "auto":
        return Choice(kind, method, (*reasons, f"the method '{method}' was asked for"))
    if epochs is None:
        reasons.append("how the model was trained is not recorded: it can't be trained again, unlearning is tried")
    elif seconds is None:
        reasons.append(
            "what training took on a machine like this one is not recorded: unlearning is tried first, training again is the last resort"
        )
    else:
        row = seconds / max(1.0, rows * epochs)
        again, attempt = row * (rows - len(forget)) * epochs / 60, UNLEARNING * row * STEPS * BATCH / 60
        figures = f"by estimate training again takes {again:.1f} min, an attempt at unlearning {attempt:.1f} min"
        if again <= min(max_minutes, CHEAP * attempt) and kind == "removal":
            return Choice(kind, "retrain", (*reasons, f"{figures}: training again is exact, and no dearer"))
        reasons.append(
            f"{figures}: unlearning is tried first, and training again where attempts have taken half of that"
        )
    return Choice(kind, "auto", tuple(reasons))


def rows_to_keep(
    harm: Collateral, rows: Mapping[str, Row], *, forget: Sequence[str], count: int, seed: int
) -> list[Row]:
    """Rows whose behaviour must stay: the most exposed ones, and random others.

    Args:
        harm: What is predicted of the rows that stay.
        rows: Row id to the row.
        forget: Ids of the rows to forget.
        count: How many to keep, at most.
        seed: Of the sample.

    Returns:
        The rows. Half of what stays at most, so that rows are left to test on.
    """
    going = set(forget)
    left = [row_id for row_id in rows if row_id not in going]
    count = min(count, max(1, len(left) // 2))
    exposed = [one.row.id for one in harm[: max(1, round(EXPOSED_SHARE * count))] if one.row.id in rows]
    others = sorted(set(left).difference(exposed))
    chosen = [*exposed, *random.Random(seed).sample(others, min(len(others), count - len(exposed)))]
    return [rows[row_id] for row_id in chosen]
