"""How the rows of a request become tokens, and which of them do not fit: a row that is neither unlearned nor measured must not be certified."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from unweave.config import load_yaml, part_of, read_value
from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.files import read_json
from unweave.ledger.job import Job
from unweave.models.loading import Loaded
from unweave.train.recipe import read_recipe
from unweave.unlearning.config import config_of

MEASURED = "measured.before.json"
UNBOUNDED = 1 << 24
REQUESTED = ("forget", "replacement")


def choose_encoding(job: Job, loaded: Loaded, sets: Mapping[str, Sequence[Row]]) -> tuple[EncodingConfig, str]:
    """Template and lengths of a request: those of the training, but for what the unlearning config or `--max-length` says itself.

    Args:
        job: The request.
        loaded: The model before it.
        sets: All rows of the run.

    Returns:
        The encoding, and where it comes from, in words.
    """
    encoding, source, recorded = EncodingConfig(), "the defaults, since there is no record of the training", False
    try:
        encoding = part_of(EncodingConfig, read_recipe(job.ledger.origin().model))
        source, recorded = f"the training of {job.ledger.origin().model}", True
    except ConfigError:
        pass
    path = job.config.forget_config
    if path is not None:
        given = load_yaml(config_of(job.config.method), path, command="forget")
        named = [field.name for field in fields(EncodingConfig) if read_value(path, field.name) is not None]
        encoding = replace(encoding, **{name: getattr(given, name) for name in named})
        source += "".join(f"; {name} from {path}" for name in named)
        recorded = recorded or "max_length" in named
    # Whoever verifies or replays the request, on whatever day, must see the same texts.
    encoding = dated(encoding, loaded.tokenizer, loaded.adapter, loaded.base)
    if job.config.max_length is not None:
        return replace(encoding, max_length=job.config.max_length), f"{source}; max_length from the request"
    if recorded:
        return encoding, source
    whole = replace(encoding, max_length=UNBOUNDED)
    rows = [row for own in sets.values() for row in own]
    longest = max(len(example) for example in encode_rows(rows, loaded.tokenizer, whole).examples)
    most = getattr(loaded.model.config, "max_position_embeddings", None) or longest
    length = max(encoding.max_length, min(longest, most))
    return replace(encoding, max_length=length), f"{source}; max_length as the longest row needs, within the model's"


def encoding_of(job: Job) -> EncodingConfig:
    """The encoding that a request was measured with.

    Args:
        job: The request, whose model was measured before.

    Returns:
        Template and lengths.
    """
    for folder in (job.folder, job.ledger.request_folder(job.request.id)):
        if (folder / MEASURED).is_file():
            kept = read_json(folder / MEASURED, what="Measurements").get("encoding")
            return EncodingConfig(**kept["options"]) if kept else _of_before(job)
    return _of_before(job)


def _of_before(job: Job) -> EncodingConfig:
    """What requests were measured with before the encoding was recorded: the unlearning config's, or the training's, or the defaults of then."""
    then: dict[str, Any] = {"loss": "last-turn"} if "loss" in EncodingConfig.__dataclass_fields__ else {}
    if job.config.forget_config is not None:
        kind = config_of(job.config.method)
        found = part_of(EncodingConfig, load_yaml(kind, job.config.forget_config, command="forget"))
    else:
        try:
            found = part_of(EncodingConfig, read_recipe(job.ledger.origin().model))
        except ConfigError:
            found = EncodingConfig()
    return replace(found, **then)


def lost_rows(
    sets: Mapping[str, Sequence[Row]], loaded: Loaded, encoding: EncodingConfig, *, places: Mapping[str, str]
) -> list[dict[str, str]]:
    """The rows that are dropped or cut, whatever for.

    Args:
        sets: All rows of the run.
        loaded: The model.
        encoding: Template and lengths.
        places: Row id to file and line in the data.

    Returns:
        Set, row, place, reason and action of each.

    Raises:
        DataError: When no row of a set can be used.
    """
    found = []
    for name, rows in sets.items():
        ids = {row.place: row.id for row in rows}
        try:
            encoded = encode_rows(rows, loaded.tokenizer, encoding)
        except DataError as error:
            first = places.get(rows[0].id, rows[0].place)
            raise DataError(
                f"None of the {len(rows)} row(s) of the set '{name}' can be used: {error.sentence}",
                where=first if len(rows) == 1 else f"{first} and others",
                remedy=f"raise `max_length` above {encoding.max_length}, or leave the rows out",
            ) from error
        for problem in encoded.problems:
            row_id = ids.get(problem.place, problem.place)
            found.append(
                {
                    "set": name,
                    "row": row_id,
                    "place": places.get(row_id, problem.place),
                    "reason": problem.reason,
                    "action": problem.action,
                }
            )
        named = {one["row"] for one in found if one["set"] == name}
        there = {example.row_id for example in encoded.examples}
        found += [
            {"set": name, "row": row.id, "place": places.get(row.id, row.place), "reason": "it could not be made into tokens", "action": "dropped"}
            for row in rows
            if row.id not in there and row.id not in named
        ]  # fmt: skip
    return found


def require_all(lost: Sequence[Mapping[str, str]], encoding: EncodingConfig) -> None:
    """Refuse a request of which a row would be neither unlearned nor measured.

    Args:
        lost: From `lost_rows`.
        encoding: Template and lengths.

    Raises:
        DataError: Naming such rows, with place and reason.
    """
    gone = [one for one in lost if one["set"] in REQUESTED and one["action"] == "dropped"]
    if gone:
        more = [f"and {len(gone) - 10} more"] if len(gone) > 10 else []
        raise DataError(
            f"{len(gone)} row(s) of the request would be neither unlearned nor measured:",
            lines=[*(f"{one['place']}: row '{one['row']}': {one['reason']}" for one in gone[:10]), *more],
            remedy=f"raise `max_length` above {encoding.max_length}, or ask for the other rows without these",
        )
