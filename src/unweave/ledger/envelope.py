"""A signed statement in one line of text: a DSSE envelope (github.com/secure-systems-lab/dsse, version 1) around canonical JSON.

One form only is read: the bytes that `sealed` writes. What another parser might read in another way (keys said twice, white space, other escapes, several
signatures) is refused, whatever it is signed with. The signature is looked at before anything of the payload is.
"""

import base64
import binascii
import json
from typing import Any

from unweave.errors import DataError
from unweave.ledger.signing_keys import PublicKey, SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST = 64 * 1024 * 1024
REMEDY = "restore the file as it was signed"


class EnvelopeError(DataError):
    """An envelope that says nothing: not signed with the key, or not in the form that is signed."""

    def __init__(self, what: str):
        super().__init__(what, remedy=REMEDY)


def canonical(value: Any) -> str:
    """The one text that stands for a JSON value here: keys sorted, no white space, ASCII, no NaN.

    Args:
        value: The value.

    Returns:
        The text.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def authenticated(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding, in which type and payload have their lengths before them.

    Args:
        payload_type: The type.
        payload: The bytes.

    Returns:
        The bytes to sign.
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sealed(statement: dict[str, Any], key: SigningKey) -> str:
    """Sign a statement. The same statement and key give the same bytes.

    Args:
        statement: As JSON holds it.
        key: The key.

    Returns:
        A line of text.
    """
    payload = canonical(statement).encode()
    signature = key.key.sign(authenticated(PAYLOAD_TYPE, payload))
    one = {"keyid": key.public.id, "sig": base64.b64encode(signature).decode()}
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": [one]}
    return canonical(envelope) + "\n"


def opened(content: bytes, key: PublicKey) -> dict[str, Any]:
    """The statement in an envelope.

    Args:
        content: The file's bytes.
        key: The key that it must be signed with.

    Returns:
        The statement.

    Raises:
        EnvelopeError: When it is not signed with this key, or is not exactly what `sealed` writes.
    """
    if len(content) > LARGEST:
        raise EnvelopeError("The envelope is too large to be one.")
    if content.count(b"\n") != 1 or not content.endswith(b"\n"):
        raise EnvelopeError("The file is not one line: one envelope is expected.")
    envelope = _strict(content[:-1], "The envelope")
    if set(envelope) != {"payload", "payloadType", "signatures"}:
        raise EnvelopeError("The envelope has other fields than payload, payloadType and signatures.")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise EnvelopeError(f"The payload is of the type {envelope['payloadType']!r}; {PAYLOAD_TYPE!r} is expected.")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        count = len(signatures) if isinstance(signatures, list) else "no list of"
        raise EnvelopeError(f"The envelope has {count} signatures; one is expected.")
    (one,) = signatures
    if not isinstance(one, dict) or set(one) != {"keyid", "sig"}:
        raise EnvelopeError("The signature has other fields than keyid and sig.")
    signature, payload = _bytes(one["sig"], "The signature"), _bytes(envelope["payload"], "The payload")
    if not signature:
        raise EnvelopeError("The signature is empty.")
    if one["keyid"] != key.id:
        raise EnvelopeError(f"It is signed with another key ({str(one['keyid'])[:16]}...); this is {key.id[:16]}...")
    if not key.accepts(signature, authenticated(PAYLOAD_TYPE, payload)):
        raise EnvelopeError("The signature is not of this key and this content.")
    return _strict(payload, "The payload")


def _bytes(text: Any, what: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise EnvelopeError(f"{what} is not base64.") from error
    # The last digit of base64 can hold bits that nobody reads.
    if base64.b64encode(found).decode() != text:
        raise EnvelopeError(f"{what} is base64 in another form than the usual one.")
    return found


def _strict(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object in its canonical form, and in no other."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            raise EnvelopeError(f"{what} has a key twice.")
        return made

    try:
        value = json.loads(content.decode("ascii"), object_pairs_hook=pairs)
        same = canonical(value).encode() == content
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"{what} is not valid JSON in ASCII.") from error
    if not isinstance(value, dict):
        raise EnvelopeError(f"{what} is not a JSON object.")
    if not same:
        raise EnvelopeError(f"{what} is not in its canonical form.")
    return value
