"""Adding a request to a ledger, and making the ledger with the first: what is asked for, and what is refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave.arguments import quoted
from unweave.config import part_of, to_plain
from unweave.data.config import ReadingConfig, read_configured
from unweave.data.copies import find_copies
from unweave.data.remembered import read_beside, remembered_columns, with_remembered
from unweave.data.rows import Row
from unweave.digests import matching, named_digests
from unweave.errors import ConfigError, DataError
from unweave.files import read_json
from unweave.ledger.config import AddConfig
from unweave.ledger.journal import Event
from unweave.ledger.keys import Key, hidden, key_path, make_key
from unweave.ledger.ledger import FILE, Ledger
from unweave.ledger.request import Origin, Request
from unweave.ledger.selection import require_meant, select_rows
from unweave.ledger.states import ADD
from unweave.names import alike, require_name
from unweave.run.folder import rows_fingerprint

NEAR_COPY = 0.8


def add_request(config: AddConfig) -> dict[str, Any]:
    """Add a request. The same request again is recognised, and nothing is added.

    Args:
        config: Rows, kind, reason.

    Returns:
        Its id, its rows, whether it is new, and the copies of its rows that are not in it.

    Raises:
        ConfigError: When a new ledger is given no data or model, or a ledger's are to be changed.
        DataError: When a row is unknown, is in another request already, or a replacement does not fit.
    """
    given = None
    if config.request_id is not None:
        given = require_name(config.request_id, what="The request's id", where="`request_id`")
    there = (config.ledger / FILE).is_file() and bool(Ledger(config.ledger).journal.events())
    if there:
        present = Ledger(config.ledger)
        _require_same(config, present.origin())
        reading, data = present.reading(), present.origin().data
    elif config.data is None or config.model is None:
        raise ConfigError("A new ledger needs data and a model.", where="`data`, `model`", remedy="give both")
    else:
        key_path(config.ledger, config.key)
        reading, data = _reading(config), config.data
    rows = read_configured(data, reading).rows
    chosen = select_rows(rows, config, reading=reading)
    copies = find_copies(chosen, rows, similarity=NEAR_COPY)
    if config.with_copies and copies:
        wanted = {row.id for row in chosen} | {copy.row_id for copy in copies}
        chosen, copies = [row for row in rows if row.id in wanted], []
    require_meant(chosen, rows, config)
    new = _replacement(config, chosen, reading)
    key = None if there else make_key(key_path(config.ledger, config.key))
    ledger = Ledger(config.ledger, create=True, key=config.key)
    if key is not None:
        origin = _origin(config, rows, reading, key)
        ledger.journal.append_if(lambda events: not events, "created", **origin.__dict__)
    content = {
        "kind": config.kind,
        "rows": {row.id: ledger.row_hash(row) for row in ledger.named(chosen)},
        "replacement": str(config.replacement.resolve()) if config.replacement else None,
        "reason": config.reason,
    }
    replacement = {row.id: ledger.row_hash(row) for row in ledger.named(new)} if config.replacement else None
    if config.replacement is not None:
        content["reading"] = to_plain(part_of(ReadingConfig, config))
    # The reason is not part of what is asked for: the same rows again are the same request.
    identity = [content["kind"], content["rows"], replacement]
    name = given or hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()

    def is_new(events: list[Event]) -> bool:
        requests = ledger.fold(events)
        _refuse_overlap(requests, name, content, where=str(ledger.folder))
        return name not in requests

    # Looked at together with adding it: two processes that ask for the same rows can't both come through.
    added = ledger.journal.append_if(is_new, ADD, name, asked=content, replacement_rows=replacement)
    return {
        "id": name,
        "added": added is not None,
        "kind": config.kind,
        "rows": sorted(row.id for row in chosen),
        "copies": [copy.__dict__ for copy in copies],
    }


def model_files(model: str) -> dict[str, str]:
    """Digests of a model folder's weights and configs.

    Args:
        model: A folder, or a name.

    Returns:
        File name to digest; empty for a name that is no folder.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {}
    return named_digests(folder, matching(folder, ("*.safetensors", "*config.json")))


def _reading(config: AddConfig) -> ReadingConfig:
    """The options that a new ledger's data is read with; the columns may be those that the store remembers."""
    remembered = remembered_columns(config.store) if config.store else []
    return with_remembered(config.data, part_of(ReadingConfig, config), remembered)


def _origin(config: AddConfig, rows: Sequence[Row], reading: ReadingConfig, key: Key) -> Origin:
    model = str(Path(config.model or "").resolve()) if Path(config.model or "").is_dir() else str(config.model)
    config_file = Path(model) / "adapter_config.json"
    base = (
        read_json(config_file, what="The adapter's config")["base_model_name_or_path"]
        if config_file.is_file()
        else model
    )
    return Origin(
        # The id of a data set on the hub is no path.
        data=str(config.data.resolve() if config.data and config.data.exists() else config.data),
        data_fingerprint=hidden(rows_fingerprint(rows), key, purpose="rows"),
        rows=len(rows),
        model=model,
        model_files=model_files(model),
        base=base,
        base_files=model_files(base),
        store=str(config.store.resolve()) if config.store else None,
        max_perplexity_change=config.max_perplexity_change,
        max_removed_share=config.max_removed_share,
        reading=to_plain(reading),
        key=key.id,
    )


def _require_same(config: AddConfig, origin: Origin) -> None:
    """A ledger is about one data set and one model."""
    given = {"data": config.data, "model": config.model, "store": config.store}
    for name, value in given.items():
        own = getattr(origin, name)
        if value is None or str(value) == own or (own is not None and str(Path(value).resolve()) == own):
            continue
        raise ConfigError(
            f"The ledger is about {name} '{own}', not '{value}'.",
            where=quoted(name),
            remedy="leave it out, or use another ledger",
        )


def _replacement(config: AddConfig, chosen: Sequence[Row], reading: ReadingConfig) -> list[Row]:
    """The new rows."""
    if (config.replacement is None) != (config.kind == "removal"):
        raise ConfigError(
            f"A {config.kind} {'takes no' if config.kind == 'removal' else 'needs'} new rows.",
            where="`replacement`",
            remedy="leave it out" if config.kind == "removal" else "give a file of rows with the same ids",
        )
    if config.replacement is None:
        return []
    new = {row.id: row for row in read_beside(config.replacement, config, reading)}
    if set(new) != {row.id for row in chosen}:
        odd = min(set(new) ^ {row.id for row in chosen})
        raise DataError(
            f"The new rows are not those of the request: '{odd}' is in one of the two only.",
            where=str(config.replacement),
            remedy="give a new row for each row of the request, with the same id",
        )
    for row in chosen:
        if config.kind == "correction" and new[row.id].conversation[:-1] != row.conversation[:-1]:
            raise DataError(
                f"A correction changes the answer, not the prompt, of '{row.id}'.",
                where=new[row.id].place,
                remedy="use `kind` modification",
            )
        if new[row.id].content == row.content:
            raise DataError(f"The new row '{row.id}' is the old one.", where=new[row.id].place, remedy="change it")
    return list(new.values())


def _refuse_overlap(requests: Mapping[str, Request], name: str, content: dict[str, Any], *, where: str) -> None:
    if name not in requests and (other := alike(name, requests)):
        raise DataError(
            f"The id '{name}' can't be distinguished from the request '{other}' everywhere: they differ in case or width only.",
            where="`request_id`",
            remedy="choose another name",
        )
    for other in requests.values():
        if other.id == name:
            if not other.holds_rows:
                raise DataError(
                    f"There was a request '{name}' already; it is {other.state}.",
                    where="`request_id`",
                    remedy="choose another name",
                )
            if other.rows != content["rows"] or other.kind != content["kind"]:
                raise DataError(
                    f"There is another request '{name}' already.", where="`request_id`", remedy="choose another name"
                )
            continue
        if other.holds_rows and (shared := sorted(set(other.rows) & set(content["rows"]))):
            raise DataError(
                f"The row '{shared[0]}' is in the request '{other.id}' already.",
                where=where,
                remedy="leave it out, or roll that request back"
                if other.is_done
                else "leave it out, or cancel that request",
            )
