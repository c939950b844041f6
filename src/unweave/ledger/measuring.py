"""The models of a request, measured on its rows: in float32, so that whoever verifies it finds the same on any machine."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.data.config import read_own
from unweave.data.rows import Row
from unweave.files import file_digest, read_json, read_record, write_json
from unweave.ledger.job import Job
from unweave.ledger.measure import measure
from unweave.ledger.price import recipe_of
from unweave.ledger.probing import of_criterion
from unweave.ledger.tokens import encoding_of
from unweave.models.adapters import switched_off, switches_off
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, ModelConfig, load

DTYPE = "float32"
"""In bfloat16 the order of a sum, and so the number of threads, changes a loss by 0.01 nats."""

MEASURED_AFTER = "measured.after.json"
SHOWN, LONGEST = 3, 48
"""Answers that are shown side by side, and their tokens at most."""

SETS = "forget", "retain", "test", "holdout", "replacement"


def load_to_measure(job: Job, model: str, revision: str | None = None) -> Loaded:
    """A model as it is measured.

    Args:
        job: The request.
        model: Its folder or name.
        revision: Of a model with a name.

    Returns:
        The model, in float32.
    """
    return load(ModelConfig(model=model, revision=revision, dtype=DTYPE, device=job.config.device))


def work_sets(job: Job) -> dict[str, list[Row]]:
    """The rows of the run, by set.

    Args:
        job: The request.

    Returns:
        Those that are measured.
    """
    found = {}
    for name in SETS:
        path = job.work / f"{name}.jsonl"
        if name != "retain" and path.stat().st_size:
            found[name] = read_own(path).rows
    return found


@contextlib.contextmanager
def never_trained(job: Job) -> Iterator[Loaded | None]:
    """The model that the training began with, with the tokenizer and the template of the trained one.

    Args:
        job: The request.

    Yields:
        The model; `None` where it is not known.
    """
    origin = load_to_measure(job, job.ledger.origin().model)
    if origin.adapter is None:
        recipe = recipe_of(job, tuning=None)
        base, revision = (recipe.model, recipe.revision) if recipe else (None, None)
    elif switches_off(origin.model):
        with switched_off(origin.model):
            yield origin
        return
    else:
        base, revision = origin.base, origin.revision
    # Its answers are in the trained template, so that they compare.
    yield replace(load_to_measure(job, base, revision), tokenizer=origin.tokenizer) if base else None


def side_by_side(job: Job, rows: Sequence[Row] | None = None) -> list[dict[str, str]]:
    """What the models answer to rows that are left: for people to look at, and kept nowhere.

    Args:
        job: The request, measured.
        rows: Its rows; by default those of the files that it is carried out with.

    Returns:
        Up to three rows, those first of which the answer begins as the row's: its id and its question, and what the model before, the new one and one that
        never saw it answer.
    """
    rows = work_sets(job)["forget"] if rows is None else rows
    left = set(read_record(job.folder / MEASURED_AFTER, what="Measurements")["sets"]["forget"]["begins"])
    chosen = sorted(rows, key=lambda row: row.id not in left)[:SHOWN]
    found = [{"row": row.id, "question": row.instruction} for row in chosen]

    def answered(name: str, loaded: Loaded) -> None:
        for one, text in zip(
            found, greedy_answers(loaded, chosen, encoding_of(job), max_new_tokens=LONGEST), strict=True
        ):
            one[name] = text

    answered("before", load_to_measure(job, job.before))
    answered("after", load_to_measure(job, str(job.adapter)))
    with never_trained(job) as loaded:
        if loaded is not None:
            answered("never trained", loaded)
    return found


def measured_by(job: Job, model: str, *, only: str | None = None, keep: Path | None = None) -> dict[str, Any]:
    """Measure a model on the rows of a request.

    Args:
        job: The request.
        model: Its folder or name.
        only: The only set to measure.
        keep: Where the measurements go, with the digests of its weights, and are read again when the same weights are measured anew.

    Returns:
        From `measure`.
    """
    weights = {path.name: file_digest(path) for path in sorted(Path(model).glob("*.safetensors"))}
    if keep is not None and keep.is_file():
        kept = read_json(keep, what="Measurements")
        if kept.get("weights") == weights:
            return kept
    loaded, sets = load_to_measure(job, model), work_sets(job)
    encoding = encoding_of(job)
    found = measure(loaded, {only: sets[only]} if only else sets, encoding)
    if not only:
        found |= of_criterion(loaded, sets, encoding, job.config.probes)
    if keep is not None:
        write_json(keep, found | {"weights": weights})
    return found
