"""Whether a request's certificate is signed with a key, and whether what was signed is what lies there now."""

from collections.abc import Iterator, Mapping
from typing import Any

from unweave.ledger.envelope import EnvelopeError, opened
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Request
from unweave.ledger.shown import named
from unweave.ledger.signing_keys import PublicKey
from unweave.ledger.statement import ENVELOPE, GONE, PREDICATE, STORE, TYPE, files_of_stores, statement_of
from unweave.ledger.verify_claims import differences
from unweave.ledger.verify_files import Check

NAME = "the signature"


def signature_checks(ledger: Ledger, request: Request, key: PublicKey | None) -> Iterator[Check]:
    """The signature of a request's certificate.

    Args:
        ledger: The ledger.
        request: A request that was carried out.
        key: The key that it must be signed with; `None` where none was given.

    Yields:
        The checks. Nothing is believed of what was signed, either: the statement is made again, and must come out the same.
    """
    path, signed = ledger.request_folder(request.id) / ENVELOPE, request.bound.signed
    if key is None:
        if path.exists() or signed is not None:
            yield Check("a signature is there, and was not checked: that needs `public_key`")
        return
    if not path.is_file():
        yield Check(NAME, "there is none: the certificate was never signed, or the signature was taken away")
        return
    try:
        statement = opened(path.read_bytes(), key)
    except EnvelopeError as error:
        yield Check(NAME, error.sentence)
        return
    yield Check(f"{NAME} is of the key {key.id}")
    if (statement.get("_type"), statement.get("predicateType")) != (TYPE, PREDICATE):
        yield Check(NAME, f"it is of a statement of another kind ({statement.get('predicateType')!r})")
        return
    if signed is None:
        yield Check(NAME, "the journal lacks the event of the signature: it was cut or rewritten")
    yield from _as_signed(ledger, request, statement)


def _as_signed(ledger: Ledger, request: Request, statement: Mapping[str, Any]) -> Iterator[Check]:
    """What was signed against what is there."""
    done, events = request.bound.done, ledger.journal.events()
    assert done is not None, "a request that is done says so"
    head = statement["predicate"]["ledger"]["head"]["number"]
    if isinstance(head, bool) or not isinstance(head, int) or not 1 <= head <= len(events):
        yield Check(NAME, f"it is of a journal of {head} events, and this one has {len(events)}: it was cut")
        return
    if head < done.number:
        yield Check(NAME, f"it is of the journal up to event {head}, before the request was done (event {done.number})")
        return
    signed = request.bound.signed
    if signed is not None and signed.content.get("head") != head:
        yield Check(
            NAME, f"the journal names event {signed.content.get('head')} as its head, and it is of event {head}"
        )
    expected = statement_of(ledger, request, head=head)
    stores, own = _parted(statement["subject"])
    wrong = list(differences(_plain(statement, own), _plain(expected, _parted(expected["subject"])[1]), skipped=set()))
    for place, _ in wrong:
        yield Check(f"as it was signed: {place}", "it is not what was signed")
    if not wrong:
        later = len(events) - head
        more = f"; {later} later event(s) are not covered by it" if later else ""
        yield Check(f"certificate, adapter and the journal's first {head} events are as they were signed{more}")
    yield from _stores(files_of_stores(ledger, request), stores)


def _parted(subjects: list[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """The files of stores and the others, each with its digest."""
    found = {one["name"]: one["digest"]["sha256"] for one in subjects}
    if len(found) < len(subjects):
        raise ValueError("a file is named twice")
    stores = {name: own for name, own in found.items() if name.split("/")[0].split(".")[0] == STORE and "/" in name}
    return stores, {name: own for name, own in found.items() if name not in stores}


def _plain(statement: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    rest = {name: value for name, value in statement.items() if name != "subject"}
    return {**rest, "files": {name: own for name, own in digests.items() if own != GONE}}


def _stores(now: Mapping[str, str], signed: Mapping[str, str]) -> Iterator[Check]:
    """Files of stores are never written twice; they go when a store is compacted, and come when rows are added."""
    if odd := sorted(name for name, digest in signed.items() if now.get(name, digest) != digest):
        yield Check("the store as it was signed", f"{named(odd)}: it has other bytes under the same name")
        return
    gone, new = sorted(set(signed) - set(now)), sorted(set(now) - set(signed))
    same = len(signed) - len(gone)
    others = (
        f"; {len(gone)} are gone and {len(new)} are new since, which the signature does not cover"
        if gone or new
        else ""
    )
    if signed or now:
        yield Check(f"{same} of the store's {len(signed)} files are as they were signed{others}")
