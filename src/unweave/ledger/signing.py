"""Signing the certificate of a request that was carried out, with a key of the user's own.

The envelope lies beside the certificate, and the journal names its digest in an event `signed`. Ed25519 has no randomness: what a kill has left without its
event, or what was lost since, comes out in the same bytes when it is made again.
"""

from pathlib import Path
from typing import Any

from unweave import progress
from unweave.errors import ConfigError, DataError
from unweave.files import file_digest, text_digest, write_text
from unweave.ledger.config import SignConfig, VerifyConfig
from unweave.ledger.envelope import sealed
from unweave.ledger.holding import alone
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Request
from unweave.ledger.signing_keys import SigningKey, read_signing_key
from unweave.ledger.statement import ENVELOPE, files_of_stores, statement_of, with_stores
from unweave.ledger.states import SIGN
from unweave.ledger.verify import verify_request
from unweave.replacing import remove


def sign_request(config: SignConfig) -> dict[str, Any]:
    """Sign a request that was carried out, after all of it was verified but the metrics. Signing again with the same key changes nothing.

    Args:
        config: Which request, and with which key.

    Returns:
        The request, the envelope's file, the key's id, and the event up to which the journal is signed.

    Raises:
        ConfigError: When it is signed with another key already.
        DataError: When the request was not carried out, or does not verify: nothing that is wrong is signed.
    """
    key = read_signing_key(config.sign, ledger=config.ledger)
    ledger = Ledger(config.ledger, key=config.key)
    with alone(ledger):
        request = ledger.request(config.request)
        if not request.is_done:
            raise DataError(
                f"The request '{request.id}' is {request.state}: there is no certificate to sign.",
                where=str(config.ledger),
                remedy="run it first",
            )
        path = ledger.request_folder(request.id) / ENVELOPE
        if request.bound.signed is not None:
            _again(ledger, request, key, path)
        else:
            # Without its event it is what a kill has left.
            remove(path)
            _require_verified(config, request)
            _sign(ledger, request, key, path)
        signed = ledger.request(request.id).bound.signed
        assert signed is not None, "it was just recorded"
    return {"request": request.id, "envelope": str(path), "key": key.public.id, "head": signed.content["head"]}


def _sign(ledger: Ledger, request: Request, key: SigningKey, path: Path) -> None:
    head = ledger.journal.events()[-1].number
    statement = with_stores(statement_of(ledger, request, head=head), files_of_stores(ledger, request))
    write_text(path, sealed(statement, key))
    ledger.record(SIGN, request.id, signature=file_digest(path), key=key.public.id, head=head)
    progress.say(f"request {request.id}: signed with the key {key.public.id[:16]}...")


def _again(ledger: Ledger, request: Request, key: SigningKey, path: Path) -> None:
    """See that what was signed is there, and make it again where it was lost."""
    signed = request.bound.signed
    assert signed is not None, "it was signed"
    if (
        not {"key": str, "head": int, "signature": str}.items()
        <= {name: type(own) for name, own in signed.content.items()}.items()
    ):
        raise DataError(
            f"Event {signed.number} of the ledger (signed) lacks or holds what can't be.",
            where=str(ledger.journal.path),
            remedy="restore it from a backup",
        )
    if signed.content["key"] != key.public.id:
        raise ConfigError(
            f"The request '{request.id}' is signed with another key ({signed.content['key'][:16]}...).",
            where="`sign`",
            remedy="a certificate has one signature: verify it with that key's public half",
        )
    if path.is_file() and file_digest(path) == signed.content["signature"]:
        progress.say(f"request {request.id} is signed with this key, nothing to do")
        return
    statement = statement_of(ledger, request, head=signed.content["head"])
    text = sealed(with_stores(statement, files_of_stores(ledger, request)), key)
    if text_digest(text) != signed.content["signature"]:
        raise DataError(
            "The envelope was lost or changed, and comes out otherwise when it is made again: ledger or store are not what they were when it was signed.",
            where=str(path),
            remedy="restore it from a backup",
        )
    write_text(path, text)


def _require_verified(config: SignConfig, request: Request) -> None:
    found = verify_request(VerifyConfig(request=request.id, ledger=config.ledger, key=config.key, metrics=False))
    wrong = [f"{check['check']}: {check['fault']}" for check in found["checks"] if not check["ok"]]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DataError(
            f"The request '{request.id}' does not verify, and is not signed: {wrong[0]}{more}.",
            where=str(config.ledger),
            remedy="see `unweave request verify`",
        )
