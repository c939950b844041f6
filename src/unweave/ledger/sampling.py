"""Which rows stand beside those of a request: the rows to keep and to test on, copies that stay, rows that were held out."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from unweave import progress
from unweave.data.copies import Copy, find_copies
from unweave.data.remembered import read_beside
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.ledger.job import Job
from unweave.train.recipe import read_recipe


def sampled_rows(
    job: Job, ids: Sequence[str], *, copies: Collection[str], report: bool = False
) -> tuple[list[str], list[str]]:
    """The rows to keep and to test on: sampled by a hash of the request's id, so that nobody picks them.

    Args:
        job: The request.
        ids: All rows of the data.
        copies: Copies of the rows that are to be forgotten: to keep them would keep these.
        report: Whether to say that there are fewer than asked for.

    Returns:
        The ids to keep, and those to test on.
    """
    # Rows of any request can not stand for the others: they are to change, or have.
    requests = job.ledger.requests(until=job.begin).values()
    requested = {row_id for other in requests if other.holds_rows for row_id in other.rows}.union(copies)
    others = [row_id for row_id in ids if row_id not in requested]
    order = in_sampled_order(others, key=job.request.id)
    keep, test = _sizes(job, len(others), report=report)
    return order[:keep], order[keep : keep + test]


def in_sampled_order(ids: Iterable[str], *, key: str) -> list[str]:
    """Rows in a pseudo-random order that nobody picks, the same whenever it is asked for.

    Args:
        ids: The rows.
        key: What the order depends on.

    Returns:
        The rows.
    """
    return sorted(ids, key=lambda row_id: hashlib.blake2b(f"{key}:{row_id}".encode()).digest())


def staying_copies(job: Job) -> list[Copy]:
    """Copies of a request's rows in what the model was trained on and stays.

    Args:
        job: The request.

    Returns:
        Copies among the rows that no request carried out so far has taken out, and among the new rows of this and earlier requests.
    """
    rows = {row.id: row for row in job.rows}
    carried_out = [other for other in job.ledger.carried_out(until=job.begin) if other.id != job.request.id]
    gone = {row_id for other in carried_out for row_id in other.rows}
    without = _left_out(job)
    wanted = [rows[row_id] for row_id in job.request.rows if row_id in rows]
    staying = [row for row in rows.values() if row.id not in gone and row.id not in without]
    new = [
        replace(row, id=f"{row.id}+new")
        for other in [*carried_out, job.request]
        if other.replacement and Path(other.replacement).is_file()
        for row in job.ledger.new_rows(other)
    ]
    return find_copies(wanted, [*staying, *new], similarity=job.config.near_copies)


def _left_out(job: Job) -> set[str]:
    """Rows of the data that the training left out."""
    try:
        recipe = read_recipe(job.ledger.origin().model)
    except ConfigError:
        return set()
    if not recipe.without or not recipe.without.is_file():
        return set()
    return {job.ledger.name_of(row.id) for row in read_beside(recipe.without, recipe)}


def held_out_rows(job: Job) -> list[Row]:
    """The rows that were never trained on.

    Args:
        job: The request.

    Returns:
        The rows; none where no file of them was given.
    """
    if job.config.holdout is None:
        return []
    return job.ledger.named(read_beside(job.config.holdout, job.config, job.ledger.reading()).rows)


def retained_rows(job: Job, ids: Collection[str], *, apart: Collection[str]) -> list[str]:
    """The rows to keep that a file names.

    Args:
        job: The request.
        ids: All rows of the data.
        apart: Rows that may not be among them: those to test on, and copies of the rows to forget.

    Returns:
        Their ids; without those of any request.

    Raises:
        DataError: When the file names a row that is not in the data.
    """
    assert job.config.retain is not None, "there is such a file"
    named = [row.id for row in job.ledger.named(read_beside(job.config.retain, job.config, job.ledger.reading()).rows)]
    if odd := next((row_id for row_id in named if row_id not in ids), None):
        raise DataError(
            f"The row '{odd}' to keep is not in the data.", where=str(job.config.retain), remedy="give rows of the data"
        )
    requests = job.ledger.requests(until=job.begin).values()
    requested = {row_id for other in requests if other.holds_rows for row_id in other.rows}
    return [row_id for row_id in dict.fromkeys(named) if row_id not in requested.union(apart)]


def _sizes(job: Job, others: int, *, report: bool) -> tuple[int, int]:
    """How many rows to keep and to test on: as asked for, or their shares of fewer."""
    keep, test = job.config.retain_rows, job.config.test_rows
    if others >= keep + test or min(keep, test, others - 1) < 1:
        return keep, test
    fewer = min(others - 1, max(1, round(others * keep / (keep + test))))
    if report:
        progress.say(f"the data leaves {others} rows: {fewer} to keep and {others - fewer} to test on")
    return fewer, others - fewer
