"""The key of a ledger: without it nobody can try out which text a hash in the ledger belongs to.

A ledger must know its rows again without keeping them, and keeps hashes. Whoever holds a plain hash of a short answer, a year or a name, can hash all years
until one fits. So everything in a ledger that is made from texts of rows is hashed with a secret (keyed BLAKE2b) that lies outside the ledger's folder, in a
file that only its owner can read. The ledger names the key by an id and does not hold it.

Made with the key: hashes of rows and of their replacements, the fingerprint of the data, digests of files that hold rows, and names of rows whose ids are
hashes of their content. Without the key the rest can be checked: the journal's chain, files, models, and what was measured.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unweave import progress
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.files import read_record
from unweave.replacing import write_new_for_owner
from unweave.run.folder import rows_fingerprint

FORMAT, BYTES = 1, 32
CONTENT_ID = re.compile("[0-9a-f]{16}(-[0-9]+)?")
"""Ids that `unweave.data.rows.content_id` makes; a repeated content has a number behind it."""
NAMED = "keyed-"
"""How names that a ledger gives begin."""


@dataclass(frozen=True)
class Key:
    """The secret of a ledger.

    Attributes:
        id: Its name, a hash of the secret.
        secret: The secret; never shown.
    """

    id: str
    secret: bytes = field(repr=False)

    def digest(self, purpose: str, text: str) -> str:
        """A hash that can't be made without the secret.

        Args:
            purpose: What is hashed: the same text for another purpose has another hash.
            text: The text, or a plain digest of it.

        Returns:
            32 hexadecimal digits.
        """
        content = json.dumps([purpose, text]).encode()
        return hashlib.blake2b(content, digest_size=16, key=self.secret, person=b"unweave.ledger").hexdigest()


def row_hash(row: Row, key: Key | None) -> str:
    """A hash of what is to be forgotten, so that a ledger need not keep it.

    Args:
        row: The row, under the id that the ledger knows it by.
        key: The ledger's key; `None` for a ledger of before there were keys.

    Returns:
        32 hexadecimal digits.
    """
    return hidden(rows_fingerprint([row]), key, purpose="row")


def hidden(digest: str, key: Key | None, *, purpose: str) -> str:
    """A digest of something that holds rows, as a ledger may keep it.

    Args:
        digest: The plain one, which can be guessed.
        key: The ledger's key; without one the digest stays as it is.
        purpose: What it is of: `row`, `rows`, `file`, `inputs`.

    Returns:
        32 hexadecimal digits.
    """
    return digest if key is None else key.digest(purpose, digest)


def ledger_name(row_id: str, key: Key | None) -> str:
    """What a ledger calls a row: its id, unless that is a hash of its content, which can be guessed.

    Args:
        row_id: The row's id.
        key: The ledger's key.

    Returns:
        The name; giving it again gives the same.
    """
    if key is None or not CONTENT_ID.fullmatch(row_id):
        return row_id
    return f"{NAMED}{key.digest('id', row_id)[:16]}"


def under_ledger_names(rows: Sequence[Row], key: Key | None) -> list[Row]:
    """Rows as a ledger calls them.

    Args:
        rows: The rows.
        key: The ledger's key.

    Returns:
        The rows, in their order.
    """
    names = [ledger_name(row.id, key) for row in rows]
    return [row if row.id == name else replace(row, id=name) for row, name in zip(rows, names, strict=True)]


def key_path(ledger: Path, given: Path | None) -> Path:
    """Where a ledger's key lies.

    Args:
        ledger: The ledger's folder.
        given: What `--key` says; by default the key lies beside the folder, as `FOLDER.key`.

    Returns:
        The path.

    Raises:
        ConfigError: When that is inside the ledger: whoever holds one would hold the other.
    """
    folder = ledger.resolve()
    path = given if given is not None else folder.with_name(f"{folder.name}.key")
    if path.resolve().is_relative_to(folder):
        raise ConfigError(
            "The key lies in the ledger: whoever holds the ledger could try out what its hashes are of.",
            where=str(path),
            remedy="give `key` a file outside the ledger's folder",
        )
    return path


def make_key(path: Path) -> Key:
    """The key in a file, which is made where it is missing, for its owner's eyes only.

    Args:
        path: The file.

    Returns:
        The key.
    """
    secret = secrets.token_bytes(BYTES)
    key = Key(_id_of(secret), secret)
    content = json.dumps({"unweave ledger key": FORMAT, "id": key.id, "secret": secret.hex()}) + "\n"
    try:
        write_new_for_owner(path, content.encode())
    except FileExistsError:
        # Some ledger may need it.
        return read_key(path)
    progress.say(f"ledger: its key is {path}; keep it apart from the ledger, and keep a copy: the rows' hashes need it")
    return key


def read_key(path: Path, expected: str | None = None) -> Key:
    """Read a key.

    Args:
        path: The file.
        expected: The id that the ledger names.

    Returns:
        The key.

    Raises:
        DataError: When it is missing, broken, or another ledger's.
    """
    if not path.is_file():
        raise DataError(
            f"The ledger's key ({expected}) is missing: without it rows can't be recognised by their hashes.",
            where=str(path),
            remedy="give its file with `key`, or restore it from a backup; `unweave request verify --without-key` checks what needs no key",
        )
    record = read_record(path, what="The ledger's key")
    key = _of_record(record)
    # A file that was cut at its very end still holds the key, and is not what was written.
    if key is None or not path.read_bytes().endswith(b"\n"):
        raise DataError("This is no whole key of a ledger.", where=str(path), remedy="restore it from a backup")
    if expected is not None and key.id != expected:
        raise DataError(
            f"This is the key {key.id}; the ledger's is {expected}.",
            where=str(path),
            remedy="give the ledger's own with `key`",
        )
    if path.stat().st_mode & 0o077:
        progress.say(f"caution: others may read the ledger's key; let only its owner: chmod 600 {path}")
    return key


def _of_record(record: dict[str, Any]) -> Key | None:
    """The key that a file holds; `None` where that is none, or not a whole one."""
    try:
        secret = bytes.fromhex(record["secret"])
    except (KeyError, TypeError, ValueError):
        return None
    key = Key(_id_of(secret), secret)
    whole = record.get("unweave ledger key") == FORMAT and record.get("id") == key.id and len(secret) == BYTES
    return key if whole else None


def _id_of(secret: bytes) -> str:
    return hashlib.blake2b(secret, digest_size=8, person=b"unweave.key.id").hexdigest()
