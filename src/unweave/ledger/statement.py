"""What a signature is of: an in-toto Statement (version 1) about a request's files, the journal up to an event, and the store.

It is made of what lies on the disk, when it is signed and when it is verified: whatever came out otherwise since is named.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave.files import read_record
from unweave.ledger.ledger import FILE, Ledger
from unweave.ledger.request import Request

ENVELOPE = "certificate.intoto.jsonl"
TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://unweave.dev/deletion-certificate/v1"
"""The name of what the predicate holds; it is never asked of a network."""

GONE = "missing"
STORE = "store"
IMMUTABLE = "shards", "commits"
"""Folders of a store whose files are written once: one of the same name has the same bytes, or was tampered with."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits; `missing` where there is no such file.
    """
    if not path.is_file():
        return GONE
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def statement_of(ledger: Ledger, request: Request, *, head: int) -> dict[str, Any]:
    """The statement about a request that was carried out, without its stores' files.

    Args:
        ledger: The ledger.
        request: The request.
        head: The number of the last event that it is about.

    Returns:
        A JSON object.
    """
    bound, folder = request.bound, ledger.request_folder(request.id)
    assert bound.done is not None, "a request that is done says so"
    names = {"certificate.json", "certificate.html", *(name for name in bound.files if not name.startswith("work/"))}
    digests = {name: sha256_of(folder / name) for name in names}
    digests[f"{FILE}#1-{head}"] = ledger.journal.digest(head)
    events = ledger.journal.events()
    certificate = read_record(folder / "certificate.json", what="The certificate")
    return {
        "_type": TYPE,
        "predicateType": PREDICATE,
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
        "predicate": {
            "request": {"id": request.id, "kind": request.kind, "rows": len(request.rows)},
            "ledger": {
                "created": {"time": events[0].time, "event": events[0].hash},
                "done": {"time": bound.done.time, "event": bound.done.hash, "number": bound.done.number},
                "head": {"event": events[head - 1].hash, "number": head},
            },
            "class": certificate.get("class"),
            "state": certificate.get("state"),
            "shown": certificate.get("shown"),
            "criteria": _criteria(certificate),
            "data": certificate.get("data"),
            "models": {part: _identity(model) for part, model in certificate["model"].items()},
            "method": certificate.get("method", {}).get("name"),
        },
    }


def _criteria(certificate: Mapping[str, Any]) -> dict[str, bool] | None:
    """Which criteria were named, and whether each was met."""
    if "criteria" not in certificate:
        return None
    return {name: one["met"] for name, one in certificate["criteria"]["outcomes"].items()}


def _identity(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: model[name] for name in ("fingerprint", "digest", "commit") if name in model}


def files_of_stores(ledger: Ledger, request: Request) -> dict[str, str]:
    """The immutable files of the stores that a request's rows have left, as they are now.

    Args:
        ledger: The ledger.
        request: The request.

    Returns:
        Name to SHA-256; a name begins with `store/`, of a further store with `store.2/` and so on.
    """
    record = read_record(ledger.request_folder(request.id) / "store.json", what="The record of the store")
    places = [*([record["store"]] if record.get("store") is not None else []), *record.get("stores", ())]
    found = {}
    for number, place in enumerate(places, start=1):
        prefix = STORE if number == 1 else f"{STORE}.{number}"
        for folder in IMMUTABLE:
            for path in sorted((Path(place) / folder).glob("*")):
                if path.is_file():
                    found[f"{prefix}/{folder}/{path.name}"] = sha256_of(path)
    return found


def with_stores(statement: dict[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """A statement that is about the stores' files too.

    Args:
        statement: From `statement_of`.
        files: Name to digest.

    Returns:
        The statement.
    """
    further = [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(files.items())]
    return {**statement, "subject": [*statement["subject"], *further]}
