"""Names that people and data give to things: requests, tasks, entries of a comparison. A name is never a path.

What may be a name (`require_name`), whatever it names:

- letters and digits of any script, with the marks that belong to letters, and `.`, `_`, `-`;
- it begins with a letter, a digit or `_`, and does not end with a dot: no `..`, no hidden file, nothing that reads as an option;
- 64 characters at most, and 200 bytes of UTF-8, so that every file system takes it with an ending;
- none of the names that Windows keeps for devices (`con`, `nul`, `com1`, `lpt1` ...), with or without an ending;
- no letter that can't be seen, such as a Hangul filler or a variation selector; white space, control and format characters are no letters.

Names are kept in Unicode's composed form (NFC): an accent typed as a letter of its own is the same name. Two names that differ in case or width only are
not the same, but `alike` tells them, for a file system that does not tell them apart.

What comes from data and must become a file's name all the same, such as a column of a table, goes through `file_name`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from unweave.errors import ConfigError

PACKAGED_MODEL = "smollm2-135m"
"""The name of the packaged model, where a model is asked for."""

MOST_CHARACTERS, MOST_BYTES = 64, 200
RULE = f"use letters, digits, '.', '_' and '-', up to {MOST_CHARACTERS} of them; begin with a letter, a digit or '_', and do not end with a dot"
DEVICES = frozenset(
    ("con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)  # fmt: skip
# Letters and marks of Unicode that leave no ink: fillers, joiners, variation selectors (its property Default_Ignorable_Code_Point).
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")

MADE = re.compile("_.*-[0-9a-f]{16}")


def require_name(text: str, *, what: str, where: str | None = None) -> str:
    """A name that is one, in its composed form.

    Args:
        text: What was given.
        what: What it names, as a sentence begins: `The request's id`.
        where: The option or file that it came from.

    Returns:
        The name.

    Raises:
        ConfigError: When it is a path, empty, or holds what no name may.
    """
    name = unicodedata.normalize("NFC", text)
    if fault := fault_of(name):
        raise ConfigError(f"{what} is no name: {text!r} {fault}.", where=where, remedy=RULE)
    return name


def fault_of(name: str) -> str | None:
    """What keeps a text from being a name.

    Args:
        name: The text, in Unicode's composed form.

    Returns:
        The fault, as the end of a sentence; `None` when it is a name.
    """
    if not name:
        return "is empty"
    if odd := next((letter for letter in name if not _is_allowed(letter)), None):
        return f"holds {odd!r} (U+{ord(odd):04X})"
    if not (name[0] == "_" or unicodedata.category(name[0])[0] in "LN"):
        return f"begins with {name[0]!r}"
    if name.endswith("."):
        return "ends with a dot"
    if len(name) > MOST_CHARACTERS or len(name.encode()) > MOST_BYTES:
        return f"is longer than {MOST_CHARACTERS} characters, or {MOST_BYTES} bytes"
    if name.partition(".")[0].casefold() in DEVICES:
        return "is a device of Windows"
    return None


def _is_allowed(letter: str) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter in "._-"
    kind = unicodedata.category(letter)
    return (kind[0] in "LM" or kind == "Nd") and not UNSEEN.match(letter)


def alike(name: str, others: Iterable[str]) -> str | None:
    """A name that differs from another in case, width or composition only.

    Args:
        name: The name.
        others: Names that there are.

    Returns:
        The first of those that are written otherwise and can't be told from it everywhere, or `None`.
    """
    key = _key(name)
    return next((other for other in others if other != name and _key(other) == key), None)


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def file_name(text: str) -> str:
    """A file's name for what data calls anything: the text where it is a name, else what of it may stand in one, and a hash that tells it apart.

    Args:
        text: Any text, such as a column of a table.

    Returns:
        A name; other texts have other names.
    """
    name = unicodedata.normalize("NFC", text)
    # Of several texts that are the same name in their composed form, one only may take it as it is; and none the name made for another text.
    if name == text and fault_of(name) is None and not MADE.fullmatch(name):
        return name
    kept = "".join(letter if _is_allowed(letter) else "_" for letter in name).strip(".-_")[: MOST_CHARACTERS // 2]
    while len(kept.encode()) > MOST_BYTES // 2:
        kept = kept[:-1]
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"_{kept}-{digest}"


def inside(folder: Path, name: str, *, what: str) -> Path:
    """The place of a name in a folder; one that was recorded before names were checked may be any text.

    Args:
        folder: The folder.
        name: The name.
        what: What it names, as a sentence begins.

    Returns:
        A path right in the folder, and no link to another place.

    Raises:
        ConfigError: When it would lie elsewhere.
    """
    path = folder / name
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name or path.name != name:
        raise ConfigError(f"{what} is a path: {name!r}.", where=str(folder), remedy=f"give it another name: {RULE}")
    if path.is_symlink():
        raise ConfigError(f"{what} is a link to another place.", where=str(path), remedy="put the folder itself there")
    return path
