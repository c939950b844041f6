"""Adding a request to a ledger, and making the ledger with the first: what is asked for, and what is refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave.config import part_of, to_plain
from unweave.data.config import ReadingConfig
from unweave.data.forms import normal_form
from unweave.data.rows import Row
from unweave.digests import matching, named_digests
from unweave.errors import DataError
from unweave.files import read_json
from unweave.ledger.config import AddConfig
from unweave.ledger.journal import Event
from unweave.ledger.keys import Key, hidden, key_path, make_key
from unweave.ledger.ledger import Ledger
from unweave.ledger.preparing import Prepared, prepare_request
from unweave.ledger.request import Origin, Request
from unweave.ledger.states import ADD
from unweave.names import alike
from unweave.run.folder import rows_fingerprint


def add_request(config: AddConfig) -> dict[str, Any]:
    """Add a request, without a question. The same request again is recognised, and nothing is added.

    Args:
        config: Rows, kind, reason.

    Returns:
        Its id, its rows, whether it is new, the copies of its rows that are not in it, and how many rows each rule found.

    Raises:
        ConfigError: When a new ledger is given no data or model, or a ledger's are to be changed.
        DataError: When a row is unknown, is in another request already, or a replacement does not fit.
    """
    return write_request(prepare_request(config))


def write_request(prepared: Prepared) -> dict[str, Any]:
    """Add a request that was prepared, and make its ledger where it is the first.

    Args:
        prepared: The request.

    Returns:
        As `add_request`.

    Raises:
        DataError: When a row is in another request already.
    """
    config, chosen = prepared.config, prepared.selection.rows
    key = make_key(key_path(config.ledger, config.key)) if prepared.is_first else None
    ledger = Ledger(config.ledger, create=True, key=config.key)
    if key is not None:
        origin = _origin(config, prepared.rows, prepared.reading, key)
        ledger.journal.append_if(lambda events: not events, "created", **origin.__dict__)
    content = {
        "kind": config.kind,
        "rows": {row.id: ledger.row_hash(row) for row in ledger.named(chosen)},
        "replacement": str(config.replacement.resolve()) if config.replacement else None,
        "reason": config.reason,
        "selection": _recorded(ledger, prepared),
    }
    replacement = {row.id: ledger.row_hash(row) for row in ledger.named(prepared.new)} if config.replacement else None
    if config.replacement is not None:
        content["reading"] = to_plain(part_of(ReadingConfig, config))
    # Neither the reason nor how the rows were found is part of what is asked for: the same rows again are the same request.
    identity = [content["kind"], content["rows"], replacement]
    name = (
        prepared.request_id or hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()
    )

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
        "copies": [copy.__dict__ for copy in prepared.copies],
        "counts": prepared.selection.counts(),
        "doubtful": sorted(one.row.id for one in prepared.selection.doubtful),
    }


def _recorded(ledger: Ledger, prepared: Prepared) -> dict[str, Any]:
    """How the rows were found, without any text: what was typed as a hash that needs the ledger's key, and each row's rules."""
    selection = prepared.selection

    def hashed(text: str) -> str:
        return ledger.hidden(hashlib.blake2b(normal_form(text).encode(), digest_size=16).hexdigest(), purpose="words")

    named = ledger.named(selection.rows)
    return {
        "typed": {name: [hashed(text) for text in texts] for name, texts in selection.criteria.items()},
        "counts": selection.counts(),
        "rows": {
            row.id: [match.recorded() for match in one.matches] for row, one in zip(named, selection.found, strict=True)
        },
        "in_doubt": len(selection.doubtful),
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
