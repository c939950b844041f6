"""The user's own key for signing certificates: Ed25519 in PEM files, by `cryptography` (extra `sign`).

The private key is PKCS#8, encrypted where `UNWEAVE_SIGN_PASSPHRASE` holds a passphrase; the public key lies beside it, as `FILE.pub`, and is what verifies.
"""

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from unweave import progress
from unweave.errors import ConfigError, DataError, MissingExtraError
from unweave.files import write_text
from unweave.ledger.config import KeyConfig
from unweave.replacing import write_new_for_owner

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PASSPHRASE = "UNWEAVE_SIGN_PASSPHRASE"
LARGEST = 64 * 1024
"""Bytes of a key's file: a PEM file of an Ed25519 key has some two hundred."""


@dataclass(frozen=True)
class PublicKey:
    """What verifies a signature.

    Attributes:
        id: SHA-256 of the key in DER (SubjectPublicKeyInfo), in hexadecimal digits.
        key: The key.
    """

    id: str
    key: "Ed25519PublicKey"

    def accepts(self, signature: bytes, content: bytes) -> bool:
        """Whether a signature is of this key and of this content.

        Args:
            signature: The signature.
            content: What was signed.

        Returns:
            The answer.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """What signs.

    Attributes:
        public: The other half.
        key: The private key.
    """

    public: PublicKey
    key: "Ed25519PrivateKey"


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtraError("cryptography", extra="sign", purpose="A signature") from error
    return serialization


def make_signing_key(config: KeyConfig) -> dict[str, str]:
    """Make a pair of keys; nothing is ever overwritten.

    Args:
        config: Where.

    Returns:
        The two files, and the key's id.

    Raises:
        ConfigError: When there is such a key already.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path, public = config.output, config.output.with_name(f"{config.output.name}.pub")
    if public.exists() or (path.exists() and not path.is_file()):
        _refuse(public if public.exists() else path)
    # By way of the standard library's secret randomness; an Ed25519 key is any 32 bytes.
    key = Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32))
    secret = _passphrase()
    how = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    # A kill may have left a private key alone: it stays, and its other half is made of it.
    with contextlib.suppress(FileExistsError):
        write_new_for_owner(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    signing = read_signing_key(path)
    write_text(public, _pem_of(signing.public))
    return {"private": str(path), "public": str(public), "id": signing.public.id}


def _refuse(path: Path) -> NoReturn:
    raise ConfigError(
        "There is a file of that name already, and no key is ever overwritten.",
        where=str(path),
        remedy="give `output` another name",
    )


def _passphrase() -> bytes | None:
    text = os.environ.get(PASSPHRASE, "")
    return text.encode("utf-8", "surrogateescape") or None


def _pem_of(key: PublicKey) -> str:
    serialization = _serialization()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def _public(key: "Ed25519PublicKey") -> PublicKey:
    serialization = _serialization()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(der).hexdigest(), key)


def read_signing_key(path: Path, *, ledger: Path | None = None) -> SigningKey:
    """Read a private key.

    Args:
        path: A PEM file.
        ledger: The ledger that it is to sign: the key may not lie in it.

    Returns:
        The key.

    Raises:
        ConfigError: When it lies in the ledger, or its passphrase is missing or wrong.
        DataError: When it is no private Ed25519 key.
    """
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if ledger is not None and path.resolve().is_relative_to(ledger.resolve()):
        raise ConfigError(
            "The private key lies in the ledger: whoever can write the ledger could sign it.",
            where=str(path),
            remedy="give `sign` a file outside the ledger's folder",
        )
    content, secret = _content(path, "The private key"), _passphrase()
    encrypted = b"ENCRYPTED" in content
    if encrypted and secret is None:
        raise ConfigError(
            "The private key is encrypted, and there is no passphrase.", where=str(path), remedy=f"set {PASSPHRASE}"
        )
    try:
        key = serialization.load_pem_private_key(content, secret if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise ConfigError(
                f"The private key can't be decrypted: {PASSPHRASE} is not its passphrase, or the file is broken.",
                where=str(path),
                remedy=f"set {PASSPHRASE} to the right one",
            ) from error
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(
            "This is no private Ed25519 key in PEM.",
            where=str(path),
            remedy="make one with `unweave request key`, or `openssl genpkey -algorithm ed25519`",
        )
    if path.stat().st_mode & 0o077:
        progress.say(f"caution: others may read the private key; let only its owner: chmod 600 {path}")
    return SigningKey(_public(key.public_key()), key)


def read_public_key(path: Path) -> PublicKey:
    """Read a public key.

    Args:
        path: A PEM file.

    Returns:
        The key.

    Raises:
        DataError: When it is no public Ed25519 key.
    """
    serialization = _serialization()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = _content(path, "The public key")
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        private = b"PRIVATE KEY" in content
        raise DataError(
            "This is a private key: it is not needed here, and should not be handed on."
            if private
            else "This is no public Ed25519 key in PEM.",
            where=str(path),
            remedy="give the file that `unweave request key` calls .pub, or `openssl pkey -pubout` makes",
        )
    return _public(key)


def _content(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{what} can't be read: {reason}.", where=str(path), remedy="check the path") from error
    if len(content) > LARGEST:
        raise DataError(f"{what} is too large to be one.", where=str(path), remedy="check the path")
    return content
